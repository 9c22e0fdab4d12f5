/** A thread's row mirrors the state at its head, however its last run ended. */
import type { Client, Thread } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { startSlowRun } from "../support/slow-run.js";

let gateway: TestGateway;
let client: Client;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
});
afterAll(() => gateway?.stop());

async function newThread(): Promise<string> {
  const { thread_id: threadId } = await client.threads.create();
  return threadId;
}

/** The row, after checking that it says what the state says. */
async function mirrored(threadId: string): Promise<Thread> {
  const thread = await client.threads.get(threadId);
  const state = await client.threads.getState(threadId);
  expect(thread.values).toEqual(state.values);
  const asked = state.tasks.filter(({ interrupts }) => interrupts.length > 0);
  expect(thread.interrupts).toEqual(Object.fromEntries(asked.map(({ id, interrupts }) => [id, interrupts])));
  const changed = (thread as { state_updated_at?: string }).state_updated_at ?? "";
  expect(Date.parse(changed)).toBeGreaterThanOrEqual(Date.parse(state.created_at ?? "") - 1);
  return thread;
}

describe("after a run", () => {
  it("that succeeded the thread is idle with its values", async () => {
    const threadId = await newThread();
    const values = await client.runs.wait(threadId, "counter", { input: { count: 2 } });
    expect(await mirrored(threadId)).toMatchObject({ status: "idle", values, interrupts: {}, error: null });
    expect(values).toMatchObject({ count: 3 });
  });

  it("the thread names the graph and assistant that ran, and nothing of the run's configuration", async () => {
    const { thread_id: threadId } = await client.threads.create({ metadata: { owner: "ada" } });
    await client.runs.wait(threadId, "counter", {
      input: {},
      metadata: { of: "the run" },
      config: { configurable: { secret: "x" }, tags: ["t"] },
    });
    const thread = await mirrored(threadId);
    const { assistant_id: assistantId } = await client.assistants.get("counter");
    expect(thread.metadata).toEqual({ owner: "ada", graph_id: "counter", assistant_id: assistantId });
    expect((thread as { config?: unknown }).config).toEqual({});
  });

  it("that paused the thread is interrupted and holds the question", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "Sure?" } });
    const thread = await mirrored(threadId);
    expect(thread).toMatchObject({ status: "interrupted", values: { question: "Sure?", answers: [] } });
    expect(Object.values(thread.interrupts)).toEqual([[{ id: expect.any(String), value: { question: "Sure?" } }]]);
  });

  it("that answered one of two questions the other stays", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "twoApprovals", { input: {} });
    const questions = Object.values((await mirrored(threadId)).interrupts).flat();
    const b = questions.find(({ value }) => value === "b1");
    await client.runs.wait(threadId, "twoApprovals", { command: { resume: { [b?.id ?? ""]: "yes" } } });
    const left = Object.values((await mirrored(threadId)).interrupts).flat();
    expect(left.map(({ value }) => value)).toEqual(["a1"]);
  });

  it("that stopped at a breakpoint the thread is interrupted without a question", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "breakpoints", { input: {}, interruptBefore: ["two"] });
    expect(await mirrored(threadId)).toMatchObject({
      status: "interrupted",
      values: { steps: ["one"] },
      interrupts: {},
    });
    await client.runs.wait(threadId, "breakpoints", { input: null });
    expect(await mirrored(threadId)).toMatchObject({ status: "idle", values: { steps: ["one", "two", "three"] } });
  });

  it("that failed the thread says how, and keeps what was done before", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "failing", { input: {}, raiseError: false });
    const failed = { status: "error", error: { error: "RangeError", message: "out of range" } };
    expect(await mirrored(threadId)).toMatchObject({ ...failed, values: { steps: ["first"] } });
    await client.runs.wait(threadId, "echo", { input: { messages: [] }, raiseError: false });
    expect(await mirrored(threadId)).toMatchObject({ status: "idle", error: null });
  });

  it("that was cancelled the thread waits where it stopped", async () => {
    const threadId = await newThread();
    const runId = await startSlowRun(client, threadId);
    expect(await client.threads.get(threadId)).toMatchObject({ status: "busy" });
    await client.runs.cancel(threadId, runId, true);
    expect(await mirrored(threadId)).toMatchObject({ status: "interrupted", values: { steps: ["first"] } });
    expect(await client.runs.get(threadId, runId)).toMatchObject({ status: "interrupted" });
  });

  it("that was cancelled before it started the thread is as it was", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "counter", { input: {} });
    const before = await client.threads.get(threadId);
    const { run_id: runId } = await client.runs.create(threadId, "counter", { input: {}, afterSeconds: 3_600 });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "busy", values: before.values });
    await client.runs.cancel(threadId, runId, true);
    expect(await mirrored(threadId)).toMatchObject({ status: "idle", values: before.values });
  });

  it("that was rolled back the thread is as it was", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "counter", { input: {} });
    const before = await mirrored(threadId);
    const history = await client.threads.getHistory(threadId);
    const runId = await startSlowRun(client, threadId);
    await client.runs.cancel(threadId, runId, true, "rollback");
    expect(await client.threads.get(threadId)).toEqual(before);
    expect(await client.threads.getHistory(threadId)).toEqual(history);
  });

  it("whose successor waits the thread stays busy", async () => {
    const threadId = await newThread();
    const first = await startSlowRun(client, threadId);
    const second = await startQueuedSlowRun(threadId);
    await client.runs.cancel(threadId, first, true);
    expect(await client.threads.get(threadId)).toMatchObject({ status: "busy", values: { steps: ["first"] } });
    await client.runs.cancel(threadId, second, true);
    expect(await client.threads.get(threadId)).toMatchObject({ status: "interrupted" });
  });
});

async function startQueuedSlowRun(threadId: string): Promise<string> {
  const { run_id: runId } = await client.runs.create(threadId, "slow", { input: {}, multitaskStrategy: "enqueue" });
  return runId;
}
