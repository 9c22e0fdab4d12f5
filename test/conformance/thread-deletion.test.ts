/** What is left of a thread that was deleted: nothing, in any table of any database, nor in any log. */
import { join } from "node:path";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSqlite } from "../../src/storage/sqlite.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { startSlowRun } from "../support/slow-run.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway({ storage: "sqlite" });
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

/** Counters, and keys that stay used for a day so that a late repetition makes no second run. */
const KEPT = ["sqlite_sequence", "sync_marks", "idempotency_keys"];

/** The rows of every other table as text. */
function tables(): Map<string, string[]> {
  const found = ["heddle.db", "checkpoints.db"].flatMap((file) => {
    const database = openSqlite(join(gateway.dataDir, file), "FULL");
    try {
      const names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[];
      return names.map((name): [string, string[]] => [
        name,
        database.prepare(`SELECT * FROM "${name}"`).all().map(textOf),
      ]);
    } finally {
      database.close();
    }
  });
  return new Map(found.filter(([name]) => !KEPT.includes(name)));
}

function textOf(row: unknown): string {
  const values = Object.values(row as object);
  return JSON.stringify(values.map((value) => (Buffer.isBuffer(value) ? value.toString("latin1") : value)));
}

const mentions = (words: readonly string[]): string[] =>
  [...tables()].flatMap(([name, rows]) => (rows.some((row) => words.some((word) => row.includes(word))) ? [name] : []));

const sizes = (): Record<string, number> =>
  Object.fromEntries([...tables()].map(([name, { length }]) => [name, length]));

/** A thread with everything that a thread can have, and a run in flight with others behind it. */
async function fullThread(): Promise<{ threadId: string; runIds: string[] }> {
  const { thread_id: threadId } = await client.threads.create({ metadata: { secret: "s3cret" }, ttl: 60 });
  await client.runs.wait(threadId, "nested", { input: { input: "ask" } });
  await client.runs.wait(threadId, "approval", { input: { question: "s3cret?" } });
  await send(
    "POST",
    `/threads/${threadId}/runs/wait`,
    { assistant_id: "counter", input: {} },
    { "idempotency-key": threadId },
  );
  await client.runs.create(threadId, "echo", { input: { messages: [] }, afterSeconds: 3_600 });
  await startSlowRun(client, threadId);
  await client.runs.create(threadId, "echo", { input: { messages: [] } });
  const runs = await client.runs.list(threadId, { limit: 100 });
  expect(runs.map(({ status }) => status)).toEqual(expect.arrayContaining(["pending", "running", "success"]));
  return { threadId, runIds: runs.map(({ run_id: runId }) => runId) };
}

describe.each([
  ["client.threads.delete", (threadId: string) => client.threads.delete(threadId)],
  [
    "client.threads.prune",
    async (threadId: string) => {
      for (const run of await client.runs.list(threadId, { limit: 100 })) {
        if (run.status === "pending" || run.status === "running") await client.runs.cancel(threadId, run.run_id, true);
      }
      expect(await client.threads.prune([threadId])).toEqual({ pruned_count: 1 });
    },
  ],
  [
    "client.assistants.delete with its threads",
    async (threadId: string) => {
      const { assistant_id: assistantId } = await client.assistants.create({ graphId: "echo" });
      await client.threads.update(threadId, { metadata: { assistant_id: assistantId } });
      await client.assistants.delete(assistantId, { deleteThreads: true });
    },
  ],
])("%s", (_, remove) => {
  it("leaves no row and no log", async () => {
    const before = sizes();
    const { threadId, runIds } = await fullThread();
    expect(mentions([threadId, "s3cret"])).toEqual(
      expect.arrayContaining(["checkpoints", "runs", "thread_terms", "threads", "writes"]),
    );
    await remove(threadId);
    expect(sizes()).toEqual(before);
    expect(mentions([threadId, ...runIds, "s3cret"])).toEqual([]);
    for (const runId of runIds) {
      for (const path of [`/threads/${threadId}/runs/${runId}`, `/runs/${runId}`]) {
        expect(await send("GET", `${path}/stream`)).toMatchObject({ status: 404 });
      }
    }
  });
});

describe("client.threads.copy", () => {
  it("outlives its source", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "nested", { input: { input: "ask" } });
    const copy = await client.threads.copy(threadId);
    await client.threads.delete(threadId);
    expect(mentions([threadId])).toEqual([]);
    const done = await client.runs.wait(copy.thread_id, "nested", { command: { resume: "yes" } });
    expect(done).toMatchObject({ steps: expect.arrayContaining(["inner:yes"]) });
  });
});
