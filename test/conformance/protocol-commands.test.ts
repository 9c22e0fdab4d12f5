/** Commands of the protocol over HTTP: what they answer, how they are refused, and what becomes of runs and questions. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { isEnd, outline, type WireEvent } from "../support/protocol-client.js";
import { type Command, commander, openEvents, type WireStream } from "../support/protocol-wire.js";

const PROTOCOL_GRAPHS = ["transcript", "nestedQuestion", "questions", "hasty", "patient"];
const graphs = {
  ...Object.fromEntries(PROTOCOL_GRAPHS.map((name) => [name, `./test/support/protocol-graphs.ts:${name}`])),
  gated: "./test/support/run-graphs.ts:gated",
  echo: "./test/support/graphs.ts:echo",
};
const isolation = process.env.HEDDLE_TEST_ISOLATION === "thread" ? "thread" : "inline";

let gateway: TestGateway;
let command: Command;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { graphs: { isolation, ...graphs } } });
  command = commander(gateway.url);
});
afterAll(() => gateway.stop());

const HELLO = { messages: [{ role: "user", content: "hi", id: "h1" }] };
const gatedBy = (gate: string) => ({ config: { configurable: { gate } } });
const isQuestion = ({ method }: WireEvent): boolean => method === "input.requested";

/** A thread that waits with what the graph asked. */
async function asked(assistantId: string, fields: object = {}) {
  const threadId = randomUUID();
  const stream = await openEvents(gateway.url, threadId);
  await command(threadId, "run.start", { assistant_id: assistantId, input: {}, ...fields });
  const events = await stream.until(isEnd);
  return { threadId, stream, events, ids: questionsIn(events) };
}

function questionsIn(events: readonly WireEvent[]): readonly string[] {
  return events.filter(isQuestion).map(({ params }) => String(params.data.interrupt_id));
}

async function endOf(stream: WireStream): Promise<unknown> {
  return (await stream.until(isEnd)).at(-1)?.params.data.event;
}

const stateOf = async (threadId: string) => (await gateway.client.threads.getState(threadId)).values;
const answer = (id: string | undefined, response: unknown) => ({ namespace: [], interrupt_id: id, response });
const unknownId = "f".repeat(32);

describe("a command is refused", () => {
  let threadId: string;
  let waiting: string;
  beforeAll(async () => {
    threadId = randomUUID();
    await command(threadId, "run.start", { assistant_id: "echo", input: HELLO });
    await gateway.client.runs.list(threadId).then(([run]) => gateway.client.runs.join(threadId, run?.run_id ?? ""));
    waiting = (await asked("questions")).threadId;
  });

  it.each<[string, string, object]>([
    ["unknown_command", "run.dance", {}],
    ["invalid_argument", "run.start", {}],
    ["invalid_argument", "run.start", { assistant_id: "nobody", input: {} }],
    ["invalid_argument", "run.start", { assistant_id: "echo", multitask_strategy: "dance" }],
    ["invalid_argument", "run.start", { assistant_id: "echo", config: { configurable: { checkpoint_id: unknownId } } }],
    ["not_supported", "run.start", { assistant_id: "echo", langsmith_tracer: { project_name: "p" } }],
    ["no_such_run", "input.respond", answer(unknownId, 1)],
    ["invalid_argument", "input.respond", {}],
    ["invalid_argument", "input.respond", { namespace: [], interrupt_id: unknownId }],
    ["invalid_argument", "input.respond", { responses: [] }],
    ["invalid_argument", "input.respond", { responses: [answer(unknownId, 1), answer(unknownId, 2)] }],
    ["not_supported", "input.inject", { namespace: [], message: { role: "user", content: "psst" } }],
    ["no_such_namespace", "state.get", { namespace: ["nowhere:1"] }],
    ["invalid_argument", "state.get", { namespace: "nowhere" }],
    ["invalid_argument", "state.listCheckpoints", { limit: 0 }],
    ["no_such_checkpoint", "state.fork", { checkpoint_id: randomUUID() }],
    ["invalid_argument", "state.fork", {}],
    ["no_such_run", "agent.getTree", { run_id: randomUUID() }],
    ["not_supported", "subscription.subscribe", { channels: ["values"] }],
    ["not_supported", "subscription.unsubscribe", { subscription_id: "s" }],
    ["not_supported", "subscription.reconnect", { run_id: randomUUID() }],
  ])("with %s: %s %j", async (code, method, params) => {
    const refused = await command(threadId, method, params);
    expect(refused).toMatchObject({ status: 200, type: "error", error: code, message: expect.any(String) });
    expect(await gateway.client.runs.list(threadId)).toHaveLength(1);
  });

  it("with no_such_interrupt, strictly or not, for what the thread does not wait for", async () => {
    for (const strict_resume of [undefined, true, false]) {
      const refused = await command(waiting, "input.respond", { ...answer(unknownId, 1), strict_resume });
      expect(refused).toMatchObject({ type: "error", error: "no_such_interrupt" });
    }
    expect(await gateway.client.runs.list(waiting)).toHaveLength(1);
  });

  it.each([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["no id", '{"method":"state.get"}'],
    ["an id below zero", '{"id":-1,"method":"state.get"}'],
    ["no method", '{"id":1}'],
    ["parameters that are none", '{"id":1,"method":"state.get","params":[]}'],
  ])("by HTTP when it is %s", async (_, body) => {
    const url = `${gateway.url}/threads/${threadId}/commands`;
    const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: "bad_request", detail: expect.any(String) });
  });

  it.each<[string, object]>([
    ["input.respond", answer(unknownId, 1)],
    ["state.get", { namespace: [] }],
    ["state.listCheckpoints", {}],
    ["state.fork", { checkpoint_id: randomUUID() }],
    ["agent.getTree", {}],
    ["agent.getTree", { run_id: randomUUID() }],
  ])("by HTTP with 404 when there is no such thread: %s %j", async (method, params) => {
    expect(await command(randomUUID(), method, params)).toMatchObject({ status: 404, code: "not_found" });
  });
});

describe("run.start", () => {
  it("creates the thread, and keeps metadata", async () => {
    const threadId = randomUUID();
    const { result } = await command(threadId, "run.start", { assistant_id: "echo", input: HELLO, metadata: { a: 1 } });
    const run = await gateway.client.runs.get(threadId, String(result?.run_id));
    expect(run).toMatchObject({ metadata: { a: 1 }, multitask_strategy: "enqueue" });
    expect(await gateway.client.threads.get(threadId)).toMatchObject({ metadata: { graph_id: "echo" } });
  });

  describe.each(["multitask_strategy", "multitaskStrategy"])("with %s, while a run is in flight,", (spelling) => {
    async function second(strategy: string) {
      const [threadId, gate] = [randomUUID(), randomUUID()];
      const start = (fields: object) => command(threadId, "run.start", { assistant_id: "gated", input: {}, ...fields });
      const first = await start(gatedBy(gate));
      await arrivedAt(gate);
      const answered = await start({ [spelling]: strategy });
      openGate(gate);
      const firstId = String(first.result?.run_id);
      const secondId = String(answered.result?.run_id);
      if (answered.type === "success") await gateway.client.runs.join(threadId, secondId);
      const runs = await gateway.client.runs.list(threadId);
      const statusOf = (runId: string) => runs.find((run) => run.run_id === runId)?.status;
      return { answered, runs, first: statusOf(firstId), second: statusOf(secondId) };
    }

    it("reject refuses", async () => {
      const { answered, runs } = await second("reject");
      expect(answered).toMatchObject({ status: 200, type: "error", error: "invalid_argument" });
      expect(answered.message).toContain("running");
      expect(runs).toHaveLength(1);
    });

    it("interrupt stops it", async () => {
      expect(await second("interrupt")).toMatchObject({ first: "interrupted", second: "success" });
    });

    it("rollback takes it back", async () => {
      expect(await second("rollback")).toMatchObject({ first: undefined, second: "success" });
    });

    it("enqueue waits for it", async () => {
      expect(await second("enqueue")).toMatchObject({ first: "success", second: "success" });
    });
  });

  it("answers with its input the one question that waits", async () => {
    const { threadId, stream } = await asked("nestedQuestion");
    await command(threadId, "run.start", { assistant_id: "nestedQuestion", input: "as input" });
    expect(await endOf(stream)).toBe("completed");
    expect(await stateOf(threadId)).toEqual({ answers: ["as input"] });
    await stream.close();
  });

  it("does not guess which of several questions its input answers", async () => {
    const { threadId, stream } = await asked("questions");
    const refused = await command(threadId, "run.start", { assistant_id: "questions", input: "which?" });
    expect(refused).toMatchObject({
      type: "error",
      error: "invalid_argument",
      message: expect.stringContaining("input.respond"),
    });
    expect(await gateway.client.runs.list(threadId)).toHaveLength(1);
    await stream.close();
  });

  it("begins anew on a thread whose run was cancelled", async () => {
    const [threadId, gate] = [randomUUID(), randomUUID()];
    const stream = await openEvents(gateway.url, threadId);
    const { result } = await command(threadId, "run.start", { assistant_id: "hasty", input: {}, ...gatedBy(gate) });
    await Promise.all([arrivedAt(gate), stream.until(isQuestion)]);
    await gateway.client.runs.cancel(threadId, String(result?.run_id), true);
    expect(await endOf(stream)).toBe("interrupted");
    const fields = { assistant_id: "hasty", input: { answers: ["anew"] } };
    await command(threadId, "run.start", fields);
    expect(await endOf(stream)).toBe("interrupted"); // it asks
    expect(await stateOf(threadId)).toEqual({ answers: ["anew", "busy"] });
    await stream.close();
  });

  it("begins at another checkpoint while a question waits, and answers nothing", async () => {
    const { threadId, stream, events } = await asked("nestedQuestion", { input: { answers: ["first"] } });
    const checkpoint = events.find(({ method }) => method === "checkpoints")?.params.data.id;
    const config = { configurable: { checkpoint_id: checkpoint } };
    await command(threadId, "run.start", { assistant_id: "nestedQuestion", input: { answers: ["forked"] }, config });
    const [running, next] = await stream.until(isEnd);
    expect([running, next].map((event) => outline(event as WireEvent))).toEqual(["lifecycle running", "checkpoints"]);
    expect(await stateOf(threadId)).toEqual({ answers: ["first", "forked"] });
    await stream.close();
  });
});

describe("input.respond", () => {
  it("that comes before the run that asked has ended waits for that", async () => {
    const [threadId, gate] = [randomUUID(), randomUUID()];
    const stream = await openEvents(gateway.url, threadId);
    await command(threadId, "run.start", { assistant_id: "hasty", input: {}, ...gatedBy(gate) });
    const [id] = questionsIn(await stream.until(isQuestion));
    await arrivedAt(gate);
    const answered = command(threadId, "input.respond", answer(id, "at once"));
    openGate(gate);
    expect(await answered).toMatchObject({ type: "success", result: { run_id: expect.any(String) } });
    expect(await endOf(stream)).toBe("interrupted");
    expect(await endOf(stream)).toBe("completed");
    expect(((await stateOf(threadId)) as { answers: string[] }).answers.toSorted()).toEqual(["at once", "busy"]);
    await stream.close();
  });

  it("with an answer to one of two leaves the other, which is asked again", async () => {
    const { threadId, stream, ids } = await asked("questions");
    const [first, second] = ids;
    await command(threadId, "input.respond", answer(first, "one"));
    const events = await stream.until(isEnd);
    expect(questionsIn(events)).toEqual([second]);
    expect(events.at(-1)?.params.data.event).toBe("interrupted");
    expect(await command(threadId, "input.respond", answer(first, "again"))).toMatchObject({
      error: "no_such_interrupt",
    });
    await command(threadId, "input.respond", answer(second, "two"));
    expect(await endOf(stream)).toBe("completed");
    expect(((await stateOf(threadId)) as { answers: string[] }).answers).toHaveLength(2);
    await stream.close();
  });

  it("answers what a run of REST asked, with an update beside", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    await gateway.client.runs.wait(threadId, "nestedQuestion", { input: {} });
    const { interrupts } = await gateway.client.threads.get(threadId);
    const [question] = Object.values(interrupts).flat();
    const stream = await openEvents(gateway.url, threadId, { channels: ["lifecycle"], namespaces: [[]], depth: 0 });
    await stream.until(isEnd);
    await command(threadId, "input.respond", { ...answer(question?.id, "late"), update: { answers: ["beside"] } });
    expect(await endOf(stream)).toBe("completed");
    expect(await stateOf(threadId)).toEqual({ answers: ["beside", "late"] });
    await stream.close();
  });
});

describe("applied_through_seq", () => {
  const barrier = async (threadId: string) =>
    (await command(threadId, "state.listCheckpoints")).meta?.applied_through_seq ?? Number.NaN;

  it("is behind what was said, and before all that follows", async () => {
    const { threadId, stream, events, ids } = await asked("nestedQuestion");
    const before = await barrier(threadId);
    expect(before).toBeGreaterThanOrEqual(events.at(-1)?.seq ?? Number.NaN);
    const { meta } = await command(threadId, "input.respond", answer(ids[0], "a"));
    expect(meta).toEqual({ thread_id: threadId, applied_through_seq: before });
    const [running] = await stream.until(isEnd);
    expect(running?.seq).toBeGreaterThan(before);
    await stream.close();
  });

  it("is before the question of a run that was in flight", async () => {
    const [threadId, gate] = [randomUUID(), randomUUID()];
    const stream = await openEvents(gateway.url, threadId);
    const start = (fields: object) => command(threadId, "run.start", { assistant_id: "patient", input: {}, ...fields });
    const first = await start(gatedBy(gate));
    await arrivedAt(gate);
    const { meta } = await start({});
    expect(meta?.applied_through_seq).toBeGreaterThan(first.meta?.applied_through_seq ?? Number.NaN);
    openGate(gate);
    const events = await stream.until(isQuestion);
    expect(events.at(-1)?.seq).toBeGreaterThan(meta?.applied_through_seq ?? Number.NaN);
    await stream.close();
  });

  it("of commands that come at once is before all that their runs say", async () => {
    const threadId = randomUUID();
    const stream = await openEvents(gateway.url, threadId);
    const started = await Promise.all(
      [1, 2, 3, 4].map(() => command(threadId, "run.start", { assistant_id: "echo", input: HELLO })),
    );
    for (const { result, meta } of started) {
      expect(meta?.applied_through_seq).toBeGreaterThanOrEqual(0);
      expect(result?.run_id).toEqual(expect.any(String));
    }
    const seqs = new Map<string, number>();
    for (const _ of started) {
      const [running] = await stream.until(isEnd);
      seqs.set(running?.event_id ?? "", running?.seq ?? 0);
    }
    for (const { result, meta } of started) {
      expect(seqs.get(`synth:${result?.run_id}:running`)).toBeGreaterThan(meta?.applied_through_seq ?? Number.NaN);
    }
    await stream.close();
  });
});

it("agent.getTree tells of a run while it executes", async () => {
  const [threadId, gate] = [randomUUID(), randomUUID()];
  await command(threadId, "run.start", { assistant_id: "gated", input: {}, ...gatedBy(gate) });
  await arrivedAt(gate);
  const { result } = await command(threadId, "agent.getTree");
  expect(result).toEqual({ tree: { namespace: [], graph_name: "gated", status: "running" } });
  openGate(gate);
});
