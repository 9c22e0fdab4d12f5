/** Event streaming as the SDK's thread streams see it, over both transports. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import {
  isEnd,
  outline,
  subscriber,
  TRANSPORTS,
  type Transport,
  threadStream,
  type WireEvent,
} from "../support/protocol-client.js";

const PROTOCOL_GRAPHS = ["transcript", "nestedQuestion", "questions", "fan", "transformed"];
const RUN_GRAPHS = ["gated", "talk", "toolbox", "recital"];

const graphs = {
  ...Object.fromEntries(PROTOCOL_GRAPHS.map((name) => [name, `./test/support/protocol-graphs.ts:${name}`])),
  ...Object.fromEntries(RUN_GRAPHS.map((name) => [name, `./test/support/run-graphs.ts:${name}`])),
  failing: "./test/support/graphs.ts:failing",
};

let gateway: TestGateway;
beforeAll(async () => {
  const isolation = process.env.HEDDLE_TEST_ISOLATION === "thread" ? "thread" : "inline";
  gateway = await startTestGateway({ storage: "sqlite", config: { graphs: { isolation, ...graphs } } });
});
afterAll(() => gateway.stop());

const HELLO = { messages: [{ role: "user", content: "hi", id: "h1" }] };

describe.each(TRANSPORTS)("over %s", (transport: Transport) => {
  async function open(assistantId: string, threadId: string = randomUUID()) {
    const thread = threadStream(gateway.client, threadId, { assistantId, transport });
    return { thread, threadId, seen: await subscriber(thread) };
  }

  it("tells a run as it is: begin, checkpoints before states, tokens, subgraphs, words, question, end", async () => {
    const { thread, threadId, seen } = await open("transcript");
    const { run_id: runId } = await thread.run.start({ input: HELLO });
    const first = await seen.until(isEnd);
    expect(first.map(outline)).toEqual([
      "lifecycle running",
      "checkpoints",
      "values",
      "tasks start",
      "lifecycle llm started",
      "messages llm message-start",
      "messages llm content-block-start",
      ...Array.from("hello", () => "messages llm content-block-delta"),
      "messages llm content-block-finish",
      "messages llm message-finish",
      "updates",
      "tasks result",
      "lifecycle llm completed",
      "checkpoints",
      "values",
      "tasks start",
      "lifecycle sub started",
      "checkpoints sub",
      "values sub",
      "tasks sub start",
      "updates sub",
      "tasks sub result",
      "checkpoints sub",
      "values sub",
      "updates",
      "tasks result",
      "lifecycle sub completed",
      "checkpoints",
      "values",
      "tasks start",
      "custom",
      "input.requested",
      "tasks result",
      "lifecycle interrupted",
    ]);
    expect(first[0]?.event_id).toBe(`synth:${runId}:running`);
    expect(first.at(-1)?.event_id).toBe(`synth:${runId}:interrupted`);
    expectOrdered(first);

    const question = first.find(({ method }) => method === "input.requested")?.params.data;
    expect(question).toMatchObject({ payload: { q: "go on?" }, value: { q: "go on?" } });
    const state = await gateway.client.threads.getState(threadId);
    const [asked] = state.tasks.flatMap(({ interrupts }) => interrupts);
    expect(question?.interrupt_id).toBe(asked?.id);

    await thread.input.respond({ namespace: [], interrupt_id: String(question?.interrupt_id), response: "yes" });
    const second = await seen.until(isEnd);
    expect(second.map(outline)).toEqual([
      "lifecycle running",
      "checkpoints",
      "values",
      "tasks start",
      "custom",
      "lifecycle ask started",
      "messages ask message-start",
      "messages ask content-block-start",
      "messages ask content-block-delta",
      "messages ask content-block-finish",
      "messages ask message-finish",
      "updates",
      "tasks result",
      "lifecycle ask completed",
      "checkpoints",
      "values",
      "lifecycle completed",
    ]);
    expectOrdered([...first, ...second]);
    await seen.close();
  });

  it("streams messages under the ids that the state has them under", async () => {
    const { thread, threadId, seen } = await open("transcript");
    await thread.run.start({ input: HELLO });
    const events = await seen.until(isEnd);
    const streamed = events
      .filter(({ params }) => params.data?.event === "message-start")
      .map(({ params }) => params.data.id);
    const state = await gateway.client.threads.getState<{ messages: { id: string }[] }>(threadId);
    expect(state.values.messages.map(({ id }) => id)).toEqual(["h1", ...streamed]);
    await seen.close();
  });

  it("tells who comes late the same events, and two who are there the same", async () => {
    const { thread, threadId, seen } = await open("transcript");
    const other = await open("transcript", threadId);
    await thread.run.start({ input: HELLO });
    const live = await seen.until(isEnd);
    const late = await open("transcript", threadId);
    expect(await other.seen.until(isEnd)).toEqual(live);
    expect(await late.seen.until(isEnd)).toEqual(live);
    for (const each of [seen, other.seen, late.seen]) await each.close();
  });

  it("narrows to channels, namespaces and depths", async () => {
    const threadId = randomUUID();
    const thread = threadStream(gateway.client, threadId, { assistantId: "transcript", transport });
    const inSub = await subscriber(thread, { channels: ["lifecycle", "values", "tasks"], namespaces: [["sub"]] });
    const root = await subscriber(threadStream(gateway.client, threadId, { assistantId: "transcript", transport }), {
      channels: ["lifecycle", "values", "messages"],
      namespaces: [[]],
      depth: 0,
    });
    await thread.run.start({ input: HELLO });
    const isSubEnd = ({ params }: WireEvent) =>
      params.data.event === "completed" && params.namespace[0]?.startsWith("sub:") === true;
    expect((await inSub.until(isSubEnd)).map(outline)).toEqual([
      "lifecycle sub started",
      "values sub",
      "tasks sub start",
      "tasks sub result",
      "values sub",
      "lifecycle sub completed",
    ]);
    const atRoot = await root.until(isEnd);
    expect(new Set(atRoot.flatMap(({ params }) => params.namespace))).toEqual(new Set());
    await inSub.close();
    await root.close();
  });

  it("asks from a graph inside, and takes the answer after a restart", async () => {
    const { thread, threadId, seen } = await open("nestedQuestion");
    await thread.run.start({ input: {} });
    const before = await seen.until(isEnd);
    await seen.close();
    gateway = await gateway.restart();
    const { thread: again, seen: after } = await open("nestedQuestion", threadId);
    expect(await after.until(isEnd)).toEqual(before);
    const { interrupt_id: id } = before.find(({ method }) => method === "input.requested")?.params.data ?? {};
    await again.input.respond({ namespace: ["outside"], interrupt_id: String(id), response: "fine" });
    const events = await after.until(isEnd);
    expect(events.at(-1)?.params.data.event).toBe("completed");
    expectOrdered([...before, ...events]);
    expect((await gateway.client.threads.getState(threadId)).values).toEqual({ answers: ["fine"] });
    await after.close();
  });

  it("takes several answers at once, and no answer to what was not asked", async () => {
    const { thread, threadId, seen } = await open("questions");
    await thread.run.start({ input: {} });
    const asked = (await seen.until(isEnd)).filter(({ method }) => method === "input.requested");
    expect(asked.map(({ params }) => params.data.payload).sort()).toEqual(["left?", "right?"]);
    await expect(thread.input.respond({ namespace: [], interrupt_id: "f".repeat(32), response: 1 })).rejects.toThrow(
      /wait/,
    );
    const responses = asked.map(({ params: { namespace, data } }) => ({
      namespace: [...namespace],
      interrupt_id: String(data.interrupt_id),
      response: `to ${data.payload}`,
    }));
    await thread.input.respond({ responses });
    expect((await seen.until(isEnd)).at(-1)?.params.data.event).toBe("completed");
    const { answers } = (await gateway.client.threads.getState<{ answers: string[] }>(threadId)).values;
    expect([...answers].sort()).toEqual(["left to left?", "right to right?"]);
    await seen.close();
  });

  it("forks, by a checkpoint in the config and by command", async () => {
    const { thread, threadId, seen } = await open("transcript");
    await thread.run.start({ input: HELLO });
    const checkpoint = (await seen.until(isEnd)).find(({ method }) => method === "checkpoints")?.params.data.id;
    const config = { configurable: { checkpoint_id: checkpoint } };
    await thread.run.start({ input: { messages: [{ role: "user", content: "other", id: "h2" }] }, config });
    await seen.until(isEnd);
    const state = await gateway.client.threads.getState<{ messages: { id: string }[] }>(threadId);
    expect(state.values.messages.map(({ id }) => id).slice(0, 2)).toEqual(["h1", "h2"]);
    const forked = await thread.state.fork({ checkpoint_id: String(checkpoint) });
    expect(forked).toEqual({ run_id: expect.any(String), thread_id: threadId });
    await gateway.client.runs.join(threadId, forked.run_id);
    const again = await gateway.client.threads.getState<{ messages: { id: string }[] }>(threadId);
    expect(again.values.messages.map(({ id }) => id)).toHaveLength(2);
    await expect(thread.state.fork({ checkpoint_id: randomUUID() })).rejects.toThrow(/checkpoint/);
    await seen.close();
  });

  it("reads states, checkpoints and the tree of a run's graphs", async () => {
    const { thread, threadId, seen } = await open("transcript");
    await thread.run.start({ input: HELLO });
    await seen.until(isEnd);
    const head = await gateway.client.threads.getState(threadId);
    expect(await thread.state.get({ namespace: [], keys: ["n"] })).toEqual({
      values: { n: 1 },
      checkpoint: { id: head.checkpoint.checkpoint_id, ns: "" },
    });
    await expect(thread.state.get({ namespace: ["nowhere"] })).rejects.toThrow(/nowhere/);
    const { checkpoints } = await thread.state.listCheckpoints({ limit: 2 });
    expect(checkpoints).toHaveLength(2);
    expect(checkpoints[0]).toMatchObject({ id: head.checkpoint.checkpoint_id, step: 2, node_name: "ask" });
    const { tree } = await thread.agent.getTree();
    expect(tree).toMatchObject({ namespace: [], graph_name: "transcript", status: "interrupted" });
    expect(tree.children?.map(({ graph_name: name, status }) => [name, status])).toEqual([
      ["llm", "completed"],
      ["sub", "completed"],
    ]);
    await seen.close();
  });

  it("ends a run that is stopped as interrupted, and one that fails with what it failed of", async () => {
    const gate = randomUUID();
    const { thread, threadId, seen } = await open("gated");
    const { run_id: runId } = await thread.run.start({ input: { input: 1 }, config: { configurable: { gate } } });
    await arrivedAt(gate);
    await gateway.client.runs.cancel(threadId, String(runId));
    expect((await seen.until(isEnd)).at(-1)?.params.data.event).toBe("interrupted");
    openGate(gate);
    await seen.close();

    const failing = await open("failing");
    await failing.thread.run.start({ input: {} });
    const end = (await failing.seen.until(isEnd)).at(-1);
    const { error } = await gateway.client.threads
      .get(failing.threadId)
      .then((thread) => thread as unknown as { error: { message: string } });
    expect(end?.params.data).toEqual({ event: "failed", graph_name: "failing", error: error.message });
    await failing.seen.close();
  });

  it("tells graphs side by side apart, and what they say on channels of their own", async () => {
    const { thread, seen } = await open("fan");
    await thread.run.start({ input: {} });
    const events = await seen.until(isEnd);
    const workers = new Set(
      events.flatMap(({ params }) => params.namespace.filter((segment) => segment.startsWith("worker:"))),
    );
    expect(workers.size).toBe(3);
    for (const worker of workers) {
      const life = events.filter(({ method, params }) => method === "lifecycle" && params.namespace.join() === worker);
      expect(life.map(({ params }) => params.data.event)).toEqual(["started", "completed"]);
    }
    const said = events.filter(({ method }) => method === "custom").map(({ params }) => params.data);
    expect(said.map(({ payload }) => payload).sort()).toEqual(["a", "b", "c"]);
    expect(new Set(said.map(({ name }) => name))).toEqual(new Set(["step"]));
    await seen.close();
  });
});

it("tells what a graph's own stream transformers say, behind what made them say it, and goes on without one that fails", async () => {
  const threadId = randomUUID();
  const thread = threadStream(gateway.client, threadId, { assistantId: "transformed", transport: "sse" });
  const seen = await subscriber(thread, { channels: ["messages", "custom:counts", "custom:sum", "lifecycle"] });
  await thread.run.start({ input: HELLO });
  const events = await seen.until(isEnd);
  const messages = events.filter(({ method }) => method === "messages");
  const counts = events.filter(({ params }) => params.data.name === "counts");
  expect(counts.map(({ params }) => params.data.payload)).toEqual(messages.map((_, index) => index + 1));
  expect(events.find(({ params }) => params.data.name === "sum")?.params.data).toEqual({
    name: "sum",
    payload: messages.length,
  });
  expect(events.at(-1)?.params.data.event).toBe("completed");
  await seen.close();
});

/** Numbers that only grow, ids that are there once. */
function expectOrdered(events: readonly WireEvent[]): void {
  const numbers = events.map(({ seq }) => seq);
  expect(numbers.every((seq, index) => Number.isSafeInteger(seq) && seq > (numbers[index - 1] ?? 0))).toBe(true);
  expect(new Set(events.map(({ event_id: id }) => id)).size).toBe(events.length);
}
