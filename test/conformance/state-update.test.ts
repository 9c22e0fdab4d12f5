/** Writing to a thread's state outside of runs (T1 supersteps, T10, T11): updates, forks, imports, dismissals. */
import type { Client, ThreadState } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { startSlowRun } from "../support/slow-run.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

async function threadAfter(graphId: string, input: Record<string, unknown> = {}): Promise<string> {
  const { thread_id: threadId } = await client.threads.create();
  await client.runs.wait(threadId, graphId, { input, raiseError: false });
  return threadId;
}

const historyOf = (threadId: string) => client.threads.getHistory<{ steps: string[] }>(threadId, { limit: 100 });
const idOf = (state: ThreadState | undefined): string => state?.checkpoint.checkpoint_id ?? "";

/** What must stay as it is when an update is refused. */
async function everything(threadId: string) {
  return [await client.threads.get(threadId), await historyOf(threadId)];
}

describe("client.threads.updateState", () => {
  it("writes a new checkpoint, and the thread shows it", async () => {
    const threadId = await threadAfter("breakpoints");
    const before = await client.threads.get(threadId);
    const head = await client.threads.getState(threadId);
    const answer = await client.threads.updateState(threadId, { values: { steps: ["mine"] }, asNode: "three" });
    const state = await client.threads.getState<{ steps: string[] }>(threadId);
    expect(answer).toEqual({
      checkpoint: state.checkpoint,
      configurable: state.checkpoint,
      checkpoint_id: state.checkpoint.checkpoint_id,
    });
    expect(state).toMatchObject({
      values: { steps: ["one", "two", "three", "mine"] },
      next: [],
      parent_checkpoint: head.checkpoint,
      metadata: { source: "update", step: 4 },
    });
    const after = await client.threads.get(threadId);
    expect(after).toMatchObject({ status: "idle", values: state.values });
    for (const member of ["updated_at", "state_updated_at"] as const) {
      expect(Date.parse(String(Reflect.get(after, member)))).toBeGreaterThanOrEqual(Date.parse(before.updated_at));
    }
  });

  it("goes on where the node would have gone on", async () => {
    const threadId = await threadAfter("breakpoints");
    await client.threads.updateState(threadId, { values: { steps: ["again"] }, asNode: "one" });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "interrupted", interrupts: {} });
    expect(await client.threads.getState(threadId)).toMatchObject({ next: ["two"] });
    await client.runs.wait(threadId, "breakpoints", { input: null });
    const { values } = await client.threads.getState<{ steps: string[] }>(threadId);
    expect(values.steps).toEqual(["one", "two", "three", "again", "two", "three"]);
  });

  it("needs no node where the last one is known", async () => {
    const threadId = await threadAfter("breakpoints");
    await client.threads.updateState(threadId, { values: { input: "mine" } });
    expect(await client.threads.getState(threadId)).toMatchObject({ values: { input: "mine" }, next: [] });
  });

  it("forks at an older checkpoint, which becomes the head; the other branch stays", async () => {
    const threadId = await threadAfter("breakpoints");
    const states = await historyOf(threadId);
    const afterOne = states.find(({ metadata }) => metadata?.step === 1);
    for (const pointer of [{ checkpoint: afterOne?.checkpoint }, { checkpointId: idOf(afterOne) }]) {
      await client.threads.updateState(threadId, { values: { steps: ["fork"] }, asNode: "one", ...pointer });
      const head = await client.threads.getState<{ steps: string[] }>(threadId);
      expect(head).toMatchObject({ next: ["two"], parent_checkpoint: afterOne?.checkpoint });
      expect(head.values.steps).toEqual(["one", "fork"]);
      expect(await client.threads.get(threadId)).toMatchObject({ status: "interrupted", values: head.values });
    }
    expect((await historyOf(threadId)).map(idOf)).toEqual(expect.arrayContaining(states.map(idOf)));
    const done = await client.runs.wait(threadId, "breakpoints", { input: null });
    expect(done).toMatchObject({ steps: ["one", "fork", "two", "three"] });
  });

  it("dismisses a pending approval, and the thread says so", async () => {
    const threadId = await threadAfter("approval", { question: "Sure?" });
    await client.threads.updateState(threadId, { values: { answers: ["by hand"] }, asNode: "ask" });
    expect(await client.threads.get(threadId)).toMatchObject({
      status: "idle",
      interrupts: {},
      values: { question: "Sure?", answers: ["by hand"] },
    });
    expect(await client.threads.getState(threadId)).toMatchObject({ next: [], tasks: [], interrupts: [] });
    const later = await client.runs.wait(threadId, "approval", { input: { question: "And now?" } });
    expect(later).toMatchObject({ answers: ["by hand"], __interrupt__: [{ value: { question: "And now?" } }] });
  });

  it("dismisses a question without answering it: the node is due again", async () => {
    const threadId = await threadAfter("approval", { question: "Sure?" });
    await client.threads.updateState(threadId, { values: { question: "Really?" }, asNode: "__start__" });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "interrupted", interrupts: {} });
    const again = await client.runs.wait(threadId, "approval", { input: null });
    expect(again).toMatchObject({ __interrupt__: [{ value: { question: "Really?" } }] });
  });

  it("ends a paused thread with as_node __end__", async () => {
    const threadId = await threadAfter("approval", { question: "Sure?" });
    await client.threads.updateState(threadId, { values: null, asNode: "__end__" });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", interrupts: {} });
    expect(await client.threads.getState(threadId)).toMatchObject({ next: [] });
  });

  it("clears the error of a failed thread", async () => {
    const threadId = await threadAfter("failing");
    expect(await client.threads.get(threadId)).toMatchObject({ status: "error" });
    await client.threads.updateState(threadId, { values: { steps: ["mended"] }, asNode: "fail" });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", error: null });
  });

  it("is refused while a run is in flight, with the run that occupies the thread", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const runId = await startSlowRun(client, threadId);
    const before = await everything(threadId);
    const update = { values: { steps: ["mine"] }, asNode: "first" };
    await expect(client.threads.updateState(threadId, update)).rejects.toMatchObject({ status: 409 });
    expect(await send("POST", `/threads/${threadId}/state`, { values: {} })).toMatchObject({
      status: 409,
      body: { code: "thread_busy", active_run: { run_id: runId, status: "running", created_at: expect.any(String) } },
    });
    expect(await everything(threadId)).toEqual(before);
    await client.runs.cancel(threadId, runId, true);
    const { run_id: delayed } = await client.runs.create(threadId, "slow", { input: {}, afterSeconds: 3_600 });
    await expect(client.threads.updateState(threadId, update)).rejects.toMatchObject({ status: 409 });
    await client.runs.cancel(threadId, delayed, true);
    await client.threads.updateState(threadId, update);
  });

  it("is refused for a missing thread, and for one without a graph", async () => {
    await expect(client.threads.updateState("missing", { values: {} })).rejects.toMatchObject({ status: 404 });
    const { thread_id: bare } = await client.threads.create();
    expect(await send("POST", `/threads/${bare}/state`, { values: {} })).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining("graph") },
    });
    const { thread_id: foreign } = await client.threads.create({ graphId: "unknown" });
    expect(await send("POST", `/threads/${foreign}/state`, { values: {} })).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('"unknown"') },
    });
  });

  it.each<[string, Record<string, unknown>]>([
    ["for a node that is not there", { values: { steps: ["x"] }, as_node: "nope" }],
    ["that is no object", { values: 5, as_node: "one" }],
    ["at a checkpoint that is not there", { values: {}, checkpoint_id: "1ef00000-0000-6000-8000-000000000000" }],
    ["at an id out of grammar", { values: {}, checkpoint_id: "a/b" }],
    ["with a pointer that is a list", { values: {}, checkpoint: [] }],
    ["with values and a command", { values: {}, command: { goto: "two" } }],
    ["with a namespace that is not there", { values: {}, checkpoint: { checkpoint_ns: "nope:1" } }],
  ])("refuses an update %s and changes nothing", async (_, body) => {
    const threadId = await threadAfter("breakpoints");
    const before = await everything(threadId);
    const { status } = await send("POST", `/threads/${threadId}/state`, body);
    expect([404, 422]).toContain(status);
    expect(await everything(threadId)).toEqual(before);
  });

  it("of many at once loses none: each is written, or refused", async () => {
    const threadId = await threadAfter("breakpoints");
    const before = (await historyOf(threadId)).length;
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        send("POST", `/threads/${threadId}/state`, { values: { steps: [`u${index}`] }, as_node: "three" }),
      ),
    );
    const written = answers.filter(({ status }) => status === 200).length;
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
    expect(await historyOf(threadId)).toHaveLength(before + written);
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle" });
  });
});

describe("importing a history", () => {
  const supersteps = [
    { updates: [{ values: { steps: [] }, asNode: "__start__" }] },
    { updates: [{ values: { steps: ["first"] }, asNode: "one" }] },
    { updates: [{ values: { steps: ["second"] }, asNode: "two" }] },
  ];

  it("makes a checkpoint of every superstep and goes on from there", async () => {
    const created = await client.threads.create({ graphId: "breakpoints", supersteps });
    expect(created).toMatchObject({ status: "interrupted", values: { steps: ["first", "second"] } });
    const { thread_id: threadId } = created;
    expect(await historyOf(threadId)).toHaveLength(3);
    expect(await client.threads.getState(threadId)).toMatchObject({ next: ["three"] });
    const done = await client.runs.wait(threadId, "breakpoints", { input: null });
    expect(done).toMatchObject({ steps: ["first", "second", "three"] });
  });

  it("imports commands", async () => {
    const { thread_id: threadId } = await client.threads.create({
      graphId: "breakpoints",
      supersteps: [
        { updates: [{ values: {}, asNode: "__start__" }] },
        { updates: [{ values: null, command: { update: { steps: ["sent"] }, goto: "three" }, asNode: "one" }] },
      ],
    });
    const { values, next } = await client.threads.getState<{ steps: string[] }>(threadId);
    expect(values.steps).toEqual(["sent"]);
    expect(next).toContain("three");
  });

  it.each<[string, Record<string, unknown>, number]>([
    ["no graph", { supersteps: [{ updates: [{ values: {}, as_node: "__start__" }] }] }, 400],
    ["an unknown graph", { metadata: { graph_id: "nope" }, supersteps: [{ updates: [{ values: {} }] }] }, 400],
    ["no updates", { metadata: { graph_id: "breakpoints" }, supersteps: [{ updates: [] }] }, 422],
    ["no superstep", { metadata: { graph_id: "breakpoints" }, supersteps: [{}] }, 422],
    [
      "an unknown node in the last superstep",
      {
        metadata: { graph_id: "breakpoints" },
        supersteps: [
          { updates: [{ values: {}, as_node: "__start__" }] },
          { updates: [{ values: {}, as_node: "nope" }] },
        ],
      },
      422,
    ],
  ])("with %s is refused and leaves no thread", async (_, body, status) => {
    const threadId = `import-${crypto.randomUUID()}`;
    expect(await send("POST", "/threads", { ...body, thread_id: threadId })).toMatchObject({ status });
    await expect(client.threads.get(threadId)).rejects.toMatchObject({ status: 404 });
  });

  it("leaves a thread that exists alone", async () => {
    const threadId = await threadAfter("breakpoints");
    const before = await everything(threadId);
    await client.threads.create({ threadId, graphId: "breakpoints", supersteps, ifExists: "do_nothing" });
    await expect(client.threads.create({ threadId, graphId: "breakpoints", supersteps })).rejects.toMatchObject({
      status: 409,
    });
    expect(await everything(threadId)).toEqual(before);
  });
});

describe("client.threads.patchState", () => {
  it("merges metadata into the thread", async () => {
    const { thread_id: threadId } = await client.threads.create({ metadata: { a: 1 } });
    await client.threads.patchState(threadId, { b: 2 });
    await client.threads.patchState({ configurable: { thread_id: threadId } }, { c: 3 });
    expect(await client.threads.get(threadId)).toMatchObject({ metadata: { a: 1, b: 2, c: 3 } });
    await expect(client.threads.patchState("missing", {})).rejects.toMatchObject({ status: 404 });
    expect(await send("PATCH", `/threads/${threadId}/state`, {})).toMatchObject({ status: 422 });
  });
});
