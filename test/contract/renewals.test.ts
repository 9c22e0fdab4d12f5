/** Leases on PostgreSQL while all connections are taken. */
import { expect, it, onTestFinished } from "vitest";
import { openStorage } from "../../src/composition/storage.js";
import { configSchema } from "../../src/config/schema.js";
import { systemClock } from "../../src/core/clock.js";
import { silentLog } from "../../src/core/log.js";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";
import { admission, LEASE_MS, leaseOf } from "../support/sql-stores.js";

it.skipIf(POSTGRES_MISSING !== undefined)("are renewed although readers have every connection", async () => {
  const closing: (() => void | Promise<void>)[] = [];
  onTestFinished(async () => {
    for (const close of closing.reverse()) await close();
  });
  const config = configSchema(".").parse({
    graphs: { agent: "./agent.ts:graph" },
    database: { type: "postgres", url: await makeDatabase(), pool_size: 2, timeout_seconds: 5 },
  });
  const embed = () => Promise.reject(new Error("nothing is embedded here"));
  const deps = { config, isolation: "inline", shownClock: systemClock, embed, log: silentLog } as const;
  const { runs, database } = await openStorage(deps, (close) => void closing.push(close));
  await runs.admit(admission({ runId: "r1" }));
  const run = await runs.claim("w1", LEASE_MS);
  if (run === undefined) throw new Error("nothing to claim");

  let leave = (): void => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const readers = [1, 2].map(() => database.transaction().execute(() => left));
  try {
    expect(await runs.renew(leaseOf(run), LEASE_MS)).toEqual({ held: true, cancel: null });
  } finally {
    leave();
    await Promise.all(readers);
  }
});
