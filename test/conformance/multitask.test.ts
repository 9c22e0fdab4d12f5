/** Double texting: what a second run on a busy thread does. */
import { randomUUID } from "node:crypto";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { names, openSse } from "../support/sse-client.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { runs: { max_pending_per_thread: 5 } } });
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway.stop());

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

/** A run that waits at its gate. */
async function startGated(threadId: string, strategy?: "interrupt" | "rollback") {
  const gate = randomUUID();
  const run = await client.runs.create(threadId, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    ...(strategy === undefined ? {} : { multitaskStrategy: strategy }),
  });
  await arrivedAt(gate);
  return { runId: run.run_id, gate };
}

const step = (threadId: string, input: number, payload: Record<string, unknown> = {}) =>
  client.runs.create(threadId, "custom", { input: { input }, multitaskStrategy: "enqueue", ...payload });

describe("reject", () => {
  it("lets exactly one of 300 in that come at once", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const body = {
      assistant_id: "gated",
      input: { input: 1 },
      config: { configurable: { gate } },
      multitask_strategy: "reject",
    };
    const answers = await Promise.all(
      Array.from({ length: 300 }, () => send("POST", `/threads/${threadId}/runs`, body)),
    );
    const admitted = answers.filter(({ status }) => status === 200);
    expect(admitted).toHaveLength(1);
    const runId = (admitted[0]?.body as { run_id: string } | undefined)?.run_id ?? "";
    for (const { status, body: refusal } of answers.filter((answer) => answer !== admitted[0])) {
      expect(status).toBe(409);
      expect(refusal).toMatchObject({
        code: "thread_busy",
        detail: expect.stringContaining("already running"),
        active_run: {
          run_id: runId,
          status: expect.stringMatching(/^(pending|running)$/),
          created_at: expect.any(String),
        },
      });
    }
    expect(await client.runs.list(threadId)).toHaveLength(1);
    openGate(gate);
    expect(await client.runs.join(threadId, runId)).toMatchObject({ steps: ["before", "gate", "after"] });
  });

  it("leaves no trace of the run that it refuses", async () => {
    const threadId = await newThread();
    const { runId, gate } = await startGated(threadId);
    const before = await send("GET", `/threads/${threadId}`);
    const refused = await send("POST", `/threads/${threadId}/runs/stream`, {
      assistant_id: "echo",
      input: {},
      multitask_strategy: "reject",
    });
    expect(refused.status).toBe(409);
    expect((await send("GET", `/threads/${threadId}`)).body).toEqual(before.body);
    openGate(gate);
    await client.runs.join(threadId, runId);
  });

  it("admits again when the thread is free", async () => {
    const threadId = await newThread();
    const { runId, gate } = await startGated(threadId);
    openGate(gate);
    await client.runs.join(threadId, runId);
    await client.runs.wait(threadId, "custom", { input: {}, multitaskStrategy: "reject" });
  });

  it("answers as the JS dev server does, when it is told to", async () => {
    const strict = await startTestGateway({
      config: { compat: { reject_status: 422 }, runs: { default_multitask_strategy: "reject" } },
    });
    try {
      const { thread_id: threadId } = await strict.client.threads.create();
      const gate = randomUUID();
      const config = { configurable: { gate } };
      const run = await strict.client.runs.create(threadId, "gated", { input: { input: 1 }, config });
      await expect(strict.client.runs.create(threadId, "custom", { input: {} })).rejects.toMatchObject({ status: 422 });
      openGate(gate);
      await strict.client.runs.join(threadId, run.run_id);
    } finally {
      await strict.stop();
    }
  });
});

describe("enqueue", () => {
  it("is what happens without a strategy, in strict order", async () => {
    const threadId = await newThread();
    const { runId, gate } = await startGated(threadId);
    const queued = [];
    for (const input of [1, 2, 3, 4]) {
      const create = { input: { input }, metadata: { input } };
      queued.push(await client.runs.create(threadId, "counter", create));
    }
    expect((await client.runs.list(threadId, { status: "pending" })).map(({ metadata }) => metadata?.input)).toEqual([
      4, 3, 2, 1,
    ]);
    const joined = queued.map(({ run_id }) => client.runs.join(threadId, run_id));
    openGate(gate);
    await client.runs.join(threadId, runId);
    const counts = (await Promise.all(joined)).map((values) => (values as { count: number }).count);
    expect(counts).toEqual([1, 2, 3, 4]);
    const updated = (await client.runs.list(threadId)).map(({ updated_at }) => updated_at);
    expect(updated).toEqual([...updated].sort().reverse());
  });

  it("lets clients follow what has not begun (W11)", async () => {
    const threadId = await newThread();
    const { gate } = await startGated(threadId);
    const pending = await step(threadId, 2, { streamMode: ["values"], streamResumable: true });
    const url = `${gateway.url}/threads/${threadId}/runs/${pending.run_id}/stream`;
    const stream = await openSse(url, { headers: { "last-event-id": "-1" } });
    openGate(gate);
    expect(names(await stream.rest())).toEqual(["metadata", "values", "values", "end"]);
  });

  it("has an end: too many that wait are refused", async () => {
    const threadId = await newThread();
    const { gate } = await startGated(threadId);
    for (let index = 0; index < 5; index++) await step(threadId, index);
    const refused = await send("POST", `/threads/${threadId}/runs`, { assistant_id: "custom", input: {} });
    expect(refused).toMatchObject({ status: 429, body: { code: "too_many_requests" } });
    expect(refused.headers.get("retry-after")).toBe("1");
    openGate(gate);
    await expect.poll(async () => (await client.threads.get(threadId)).status).toBe("idle");
  });

  it("keeps other threads free", async () => {
    const { gate, runId } = await startGated(await newThread());
    expect(await client.runs.wait(await newThread(), "custom", { input: {} })).toMatchObject({ steps: ["worked"] });
    openGate(gate);
    expect(runId).toBeTruthy();
  });
});

describe("interrupt", () => {
  it("stops what runs and what waits, keeps what they did, then runs", async () => {
    const threadId = await newThread();
    const { runId } = await startGated(threadId);
    const waiting = await step(threadId, 2);
    const values = await client.runs.wait(threadId, "custom", { input: { input: 3 }, multitaskStrategy: "interrupt" });
    expect(values).toEqual({ input: 3, steps: ["before", "worked"] });
    const statuses = (await client.runs.list(threadId)).map(({ run_id, status }) => [run_id, status]);
    expect(statuses.slice(1)).toEqual([
      [waiting.run_id, "interrupted"],
      [runId, "interrupted"],
    ]);
  });

  it("starts only when the other has stopped writing", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    await client.runs.create(threadId, "deaf", { input: { input: 1 }, config: { configurable: { gate } } });
    await arrivedAt(gate);
    const values = client.runs.wait(threadId, "custom", { input: { input: 2 }, multitaskStrategy: "interrupt" });
    expect(await values).toMatchObject({ input: 2 });
    openGate(gate);
    expect((await client.threads.getState<{ steps: string[] }>(threadId)).values.steps).not.toContain("deaf");
  });

  it("on a thread that is free only runs", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "custom", { input: {}, multitaskStrategy: "interrupt" });
    expect((await client.runs.list(threadId)).map(({ status }) => status)).toEqual(["success"]);
  });

  it("supersedes a question that nobody answered", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    expect((await client.threads.get(threadId)).status).toBe("interrupted");
    const values = await client.runs.wait(threadId, "custom", { input: { input: 1 }, multitaskStrategy: "interrupt" });
    expect(values).not.toHaveProperty("__interrupt__");
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", interrupts: {} });
  });
});

describe("rollback", () => {
  it("takes back what runs and what waits, then runs as if they had never been", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "custom", { input: { input: 0 } });
    const { runId } = await startGated(threadId);
    const waiting = await step(threadId, 2);
    const values = await client.runs.wait(threadId, "custom", { input: { input: 3 }, multitaskStrategy: "rollback" });
    expect(values).toEqual({ input: 3, steps: ["worked", "worked"] });
    expect((await client.runs.list(threadId)).map(({ status }) => status)).toEqual(["success", "success"]);
    for (const gone of [runId, waiting.run_id]) {
      await expect(client.runs.get(threadId, gone)).rejects.toMatchObject({ status: 404 });
    }
    const history = await client.threads.getHistory(threadId, { limit: 50 });
    expect(history.flatMap(({ values }) => (values as { steps: string[] }).steps)).not.toContain("before");
    expect(history.map(({ next }) => next.join())).toEqual(["", "work", "__start__", "", "work", "__start__"]);
  });
});

describe("after_seconds", () => {
  it("delays the start, and the thread is busy meanwhile", async () => {
    const threadId = await newThread();
    const startedAt = Date.now();
    const run = await client.runs.create(threadId, "custom", { input: { input: 1 }, afterSeconds: 0.3 });
    expect((await client.threads.get(threadId)).status).toBe("busy");
    expect((await client.runs.get(threadId, run.run_id)).status).toBe("pending");
    await expect(
      client.runs.create(threadId, "custom", { input: {}, multitaskStrategy: "reject" }),
    ).rejects.toMatchObject({ status: 409 });
    await expect(client.threads.updateState(threadId, { values: { input: 9 } })).rejects.toMatchObject({ status: 409 });
    await client.runs.join(threadId, run.run_id);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(300);
  });

  it("orders by the time that runs are due", async () => {
    const threadId = await newThread();
    const delayed = await step(threadId, 1, { afterSeconds: 0.2 });
    const prompt = await step(threadId, 2);
    expect(await client.runs.join(threadId, prompt.run_id)).toEqual({ input: 2, steps: ["worked"] });
    expect(await client.runs.join(threadId, delayed.run_id)).toEqual({ input: 1, steps: ["worked", "worked"] });
  });

  it("is forgotten when the run is cancelled", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "custom", { input: {}, afterSeconds: 3_600 });
    const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/${run.run_id}/stream`);
    await client.runs.wait(threadId, "custom", { input: { input: 2 }, multitaskStrategy: "interrupt" });
    expect((await stream.rest()).at(-1)).toMatchObject({ event: "end", data: { status: "interrupted" } });
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });
});
