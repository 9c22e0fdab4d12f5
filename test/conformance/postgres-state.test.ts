/** A whole gateway whose threads, runs and states are on PostgreSQL. */
import type { Client } from "@langchain/langgraph-sdk";
import pg from "pg";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";

describe.skipIf(POSTGRES_MISSING !== undefined)("a gateway on PostgreSQL", () => {
  let url: string;

  beforeAll(async () => {
    url = await makeDatabase();
  });

  async function open(checkpointer: Record<string, unknown> = {}): Promise<TestGateway> {
    const gateway = await startTestGateway({
      config: { database: { type: "postgres", url, pool_size: 5 }, checkpointer: { pool_size: 3, ...checkpointer } },
    });
    onTestFinished(() => gateway.stop());
    return gateway;
  }

  async function stored(threadId: string): Promise<number> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const { rows } = await client.query("SELECT 1 FROM state_checkpoints WHERE thread_id = $1", [threadId]);
      return rows.length;
    } finally {
      await client.end();
    }
  }

  it("asks, is answered by the process that comes after it, and goes on from what was stored", async () => {
    const one = await open();
    const { thread_id: threadId } = await one.client.threads.create();
    await one.client.runs.wait(threadId, "approval", { input: {} });
    expect((await one.client.threads.get(threadId)).status).toBe("interrupted");
    const history = await one.client.threads.getHistory(threadId);
    await one.stop(); // without Redis it is alone
    const other = await open();
    expect(await other.client.threads.getHistory(threadId)).toEqual(history);
    const asked = await other.client.threads.getState(threadId);
    expect(asked.tasks.flatMap((task) => task.interrupts)).toHaveLength(1);
    await other.client.runs.wait(threadId, "approval", { command: { resume: "yes" } });
    expect((await other.client.threads.get(threadId)).status).toBe("idle");
    expect((await other.client.threads.getHistory(threadId)).length).toBe(await stored(threadId));
  });

  it("updates, copies, prunes and deletes the state of threads", async () => {
    const { client } = await open();
    const threadId = await talked(client);
    await client.threads.updateState(threadId, { values: { messages: [{ type: "human", content: "edited" }] } });
    const { values } = await client.threads.getState(threadId);
    const copy = await client.threads.copy(threadId);
    expect((await client.threads.getState(copy.thread_id)).values).toEqual(values);
    expect(await stored(copy.thread_id)).toBe(await stored(threadId));
    expect(await client.threads.prune([threadId], { strategy: "keep_latest" })).toEqual({ pruned_count: 1 });
    expect(await stored(threadId)).toBe(1);
    expect((await client.threads.getState(threadId)).values).toEqual(values);
    await client.threads.delete(threadId);
    expect(await stored(threadId)).toBe(0);
    expect((await client.threads.getState(copy.thread_id)).values).toEqual(values);
  });

  it("takes back what a run stored when it is rolled back", async () => {
    const { client } = await open();
    const threadId = await talked(client);
    const before = await stored(threadId);
    const { run_id: runId } = await client.runs.create(threadId, "slow", { input: { messages: [] } });
    await client.runs.cancel(threadId, runId, true, "rollback");
    await expect(client.runs.get(threadId, runId)).rejects.toThrow();
    expect(await stored(threadId)).toBe(before);
  });

  it("refuses a checkpointer that leads elsewhere than to its runs", async () => {
    const elsewhere = await makeDatabase();
    await expect(open({ url: elsewhere })).rejects.toThrow("checkpointer.url leads to another database");
    await open({ url }); // the same, by an address of its own
  });
});

async function talked(client: Client): Promise<string> {
  const { thread_id: threadId } = await client.threads.create();
  await client.runs.wait(threadId, "echo", { input: { messages: [{ type: "human", content: "hi" }] } });
  return threadId;
}
