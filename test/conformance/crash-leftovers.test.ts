/** What a start makes of writes to threads that the death of the process cut short. */
import { join } from "node:path";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { openSqlite } from "../../src/storage/sqlite.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";

let gateway: TestGateway;
let client: Client;

beforeAll(async () => {
  gateway = await startTestGateway({ storage: "sqlite" });
  client = gateway.client;
});
afterAll(() => gateway?.stop());

/** The gateway that comes after the death of this one's process. */
async function revive(change: Parameters<TestGateway["revive"]>[0]): Promise<TestGateway> {
  const revived = await gateway.revive(change);
  onTestFinished(() => revived.stop());
  return revived;
}

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

describe("after the process died", () => {
  it("a state update is shown whose checkpoint is there, although its thread did not show it yet", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "breakpoints", { input: {} });
    await client.threads.updateState(threadId, { values: { steps: ["mine"] }, asNode: "one" });
    const thread = await client.threads.get(threadId);
    const revived = await revive((database) => {
      database.exec(`UPDATE threads SET reserved_by = 'dead', status = 'idle', next = '[]'; DELETE FROM thread_values`);
    });
    const { values, status } = await revived.client.threads.get(threadId);
    expect({ values, status }).toEqual({ values: thread.values, status: "interrupted" });
    expect(await revived.client.runs.wait(threadId, "breakpoints", { input: null })).toMatchObject({
      steps: expect.arrayContaining(["mine"]),
    });
  });

  it("nothing is left of a copy that was not finished", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "counter", { input: {} });
    const { thread_id: copyId } = await client.threads.copy(threadId);
    const revived = await revive((database) => {
      database.prepare("UPDATE threads SET deleting = 1 WHERE thread_id = ?").run(copyId);
      database.prepare("UPDATE threads SET reserved_by = 'dead' WHERE thread_id = ?").run(threadId);
    });
    await expect(revived.client.threads.get(copyId)).rejects.toMatchObject({ status: 404 });
    const checkpoints = openSqlite(join(revived.dataDir, "checkpoints.db"), "NORMAL");
    onTestFinished(() => void checkpoints.close());
    const count = checkpoints.prepare("SELECT count(*) FROM checkpoints WHERE thread_id = ?").pluck();
    expect([count.get(copyId), count.get(threadId)]).toEqual([0, 3]);
    await revived.client.threads.copy(threadId);
  });
});
