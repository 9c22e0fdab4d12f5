/** What a test asked PostgreSQL with ends no test that comes later: an error that nobody hears would. */
import { describe, expect, it, onTestFinished } from "vitest";
import { CLEAR, startFaultProxy } from "../support/fault-proxy.js";
import { dropDatabases, makeDatabase, openTestPool, POSTGRES_MISSING } from "../support/postgres-server.js";

describe.skipIf(POSTGRES_MISSING !== undefined)("a pool whose end has not reached the server", () => {
  it("is quiet when its database is dropped", async () => {
    const url = new URL(await makeDatabase());
    const proxy = await startFaultProxy(url.href);
    onTestFinished(() => proxy.close());
    url.host = proxy.host;
    const pool = openTestPool(url.href);
    const client = await pool.connect();
    const gone = new Promise<void>((resolve) => client.on("end", resolve)); // `once` would hear errors, too
    client.release();
    await proxy.become({ kind: "silent", way: "to-target" });
    const heard: string[] = [];
    client.on("error", ({ message }) => heard.push(message));
    await pool.end();
    await dropDatabases();
    await proxy.become(CLEAR);
    await gone;
    expect(heard).toEqual(["terminating connection due to administrator command"]);
  });
});
