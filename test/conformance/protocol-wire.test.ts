/** Event streams of threads as they stand on the wire: frames, order, filters, and runs that REST started. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { ALL_CHANNELS, isEnd, outline, type WireEvent } from "../support/protocol-client.js";
import { type Command, commander, disorderOf, openEvents, type WireFilter } from "../support/protocol-wire.js";

const graphs = {
  ...graphsOf("protocol-graphs", ["transcript", "nestedQuestion", "fan", "stumble"]),
  ...graphsOf("run-graphs", ["gated", "toolbox"]),
  ...graphsOf("graphs", ["echo", "custom"]),
};

function graphsOf(file: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, `./test/support/${file}.ts:${name}`]));
}

const isolation = process.env.HEDDLE_TEST_ISOLATION === "thread" ? "thread" : "inline";

type RunsStreamOptions = Omit<NonNullable<Parameters<TestGateway["client"]["runs"]["stream"]>[2]>, "input">;

let gateway: TestGateway;
let command: Command;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { graphs: { isolation, ...graphs } } });
  command = commander(gateway.url);
});
afterAll(() => gateway.stop());

const HELLO = { messages: [{ role: "user", content: "hi", id: "h1" }] };

/** Two runs of the same graph, in the words that do not name one. */
const outlines = (events: readonly WireEvent[]): readonly string[] => events.map(outline);

async function eventsOf(threadId: string, filter?: WireFilter): Promise<readonly WireEvent[]> {
  const stream = await openEvents(gateway.url, threadId, filter);
  const events = await stream.until(isEnd);
  await stream.close();
  return events;
}

describe.each(["", "/api"])("under %j", (base) => {
  it("the headers of a thread that does not exist come at once, then its first run", async () => {
    const threadId = randomUUID();
    const stream = await openEvents(`${gateway.url}${base}`, threadId);
    expect(stream.status).toBe(200);
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
    expect(stream.headers.get("x-accel-buffering")).toBe(ON_CLUSTER ? null : "no"); // nginx keeps it to itself
    expect(stream.raw()).toBe("");
    const started = await commander(`${gateway.url}${base}`)(threadId, "run.start", {
      assistant_id: "echo",
      input: HELLO,
    });
    expect(started).toMatchObject({
      status: 200,
      type: "success",
      result: { run_id: expect.any(String) },
      meta: { thread_id: threadId, applied_through_seq: 0 },
    });
    const events = await stream.until(isEnd);
    expect(events[0]).toEqual({
      type: "event",
      event_id: `synth:${started.result?.run_id}:running`,
      seq: expect.any(Number),
      method: "lifecycle",
      params: { namespace: [], timestamp: expect.any(Number), data: { event: "running", graph_name: "echo" } },
    });
    expect(stream.raw()).toMatch(/^id: synth:.*\nevent: lifecycle\ndata: \{"type":"event",.*\}\n\n/);
    expect(disorderOf(events)).toBeUndefined();
    await stream.close();
  });

  it.each([
    ["no channels", { channels: [] }],
    ["an unknown channel", { channels: ["values", "debug"] }],
    ["a depth below zero", { channels: ["values"], depth: -1 }],
    ["a body that is none", "{"],
    ["no body", undefined],
  ])("a stream with %s is refused with 400", async (_, body) => {
    const response = await fetch(`${gateway.url}${base}/threads/${randomUUID()}/stream/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ detail: expect.any(String), code: "bad_request" });
  });
});

describe("a run that REST started", () => {
  /** Tasks are told where somebody asked for them, and what precedes the input only with REST's own checkpoints. */
  const comparable = (events: readonly WireEvent[]) =>
    outlines(events.filter(({ method, params: { data } }) => method !== "tasks" && data.step !== -1));
  let expected: readonly string[];
  beforeAll(async () => {
    const threadId = randomUUID();
    await command(threadId, "run.start", { assistant_id: "transcript", input: HELLO });
    expected = comparable(await eventsOf(threadId));
  });

  it.each<[string, RunsStreamOptions]>([
    ["values", { streamMode: "values" }],
    ["updates", { streamMode: "updates" }],
    ["messages-tuple and custom, with subgraphs", { streamMode: ["messages-tuple", "custom"], streamSubgraphs: true }],
    ["messages", { streamMode: ["messages", "tasks"] }],
    ["checkpoints", { streamMode: ["checkpoints", "values"] }],
    ["checkpoints of subgraphs", { streamMode: ["checkpoints"], streamSubgraphs: true }],
    ["debug", { streamMode: "debug" }],
    ["checkpoints and debug", { streamMode: ["debug", "checkpoints", "updates"], streamSubgraphs: true }],
    ["events", { streamMode: ["events", "values"] }],
  ])("for %s is told as one that the protocol started", async (_, options) => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const live = await openEvents(gateway.url, threadId);
    for await (const _part of gateway.client.runs.stream(threadId, "transcript", { input: HELLO, ...options }));
    const events = await live.until(isEnd);
    expect(comparable(events)).toEqual(expected);
    expect(disorderOf(events)).toBeUndefined();
    expect(await eventsOf(threadId)).toEqual(events);
    await live.close();
  });

  it("and waited for, and one that was queued behind it, are told one after the other", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const live = await openEvents(gateway.url, threadId);
    const gate = randomUUID();
    const waited = gateway.client.runs.wait(threadId, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
    });
    await arrivedAt(gate);
    const queued = await gateway.client.runs.create(threadId, "echo", { input: HELLO, multitaskStrategy: "enqueue" });
    openGate(gate);
    await waited;
    const [first, second] = [await live.until(isEnd), await live.until(isEnd)];
    expect(first[0]?.params.data.graph_name).toBe("gated");
    expect(second[0]?.event_id).toBe(`synth:${queued.run_id}:running`);
    expect(outlines(second)).toContain("messages echo message-start");
    expect(disorderOf([...first, ...second])).toBeUndefined();
    await live.close();
  });

  it("has its tools told, in the namespace of their task", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    await gateway.client.runs.wait(threadId, "toolbox", { input: HELLO });
    const tools = (await eventsOf(threadId)).filter(({ method }) => method === "tools");
    expect(tools.map(({ params: { namespace, data } }) => [namespace[0]?.split(":")[0], data.event])).toEqual([
      ["tools", "tool-started"],
      ["tools", "tool-finished"],
    ]);
    expect(tools[0]?.params.data).toMatchObject({
      tool_call_id: "call-1",
      tool_name: "wait",
      input: expect.stringContaining("good"),
    });
    expect(tools[1]?.params.data).toMatchObject({ tool_call_id: "call-1", output: expect.anything() });
  });
});

describe("the run", () => {
  it("that answers says so behind its beginning", async () => {
    const threadId = randomUUID();
    const stream = await openEvents(gateway.url, threadId);
    await command(threadId, "run.start", { assistant_id: "nestedQuestion", input: {} });
    const asked = (await stream.until(isEnd)).find(({ method }) => method === "input.requested");
    const id = String(asked?.params.data.interrupt_id);
    const { result } = await command(threadId, "input.respond", { namespace: [], interrupt_id: id, response: "a" });
    const [running, answered] = await stream.until(isEnd);
    expect(outline(running as WireEvent)).toBe("lifecycle running");
    expect(answered).toMatchObject({
      event_id: `synth:${result?.run_id}:answered`,
      method: "input.answered",
      params: { namespace: [], data: { interrupt_ids: [id] } },
    });
    await stream.close();
  });

  it("that fails in mid-message breaks the message off, fails what it was in, and then itself", async () => {
    const threadId = randomUUID();
    await command(threadId, "run.start", { assistant_id: "stumble", input: HELLO });
    const events = await eventsOf(threadId, { channels: ["messages", "lifecycle"] });
    expect(outlines(events)).toEqual([
      "lifecycle running",
      "lifecycle inside started",
      "lifecycle inside|say started",
      "messages inside|say message-start",
      "messages inside|say content-block-start",
      "messages inside|say content-block-delta",
      "messages inside|say content-block-delta",
      "messages inside|say error",
      "lifecycle inside|say failed",
      "lifecycle inside failed",
      "lifecycle failed",
    ]);
    expect(events.at(-1)?.params.data).toEqual({ event: "failed", graph_name: "stumble", error: "lost for words" });
  });

  it("that is rolled back while it runs has one end", async () => {
    const threadId = randomUUID();
    const stream = await openEvents(gateway.url, threadId, { channels: ["lifecycle"], namespaces: [[]], depth: 0 });
    const gate = randomUUID();
    const config = { configurable: { gate } };
    await command(threadId, "run.start", { assistant_id: "gated", input: { input: 1 }, config });
    await arrivedAt(gate);
    const params = { assistant_id: "echo", input: HELLO, multitask_strategy: "rollback" };
    const next = await command(threadId, "run.start", params);
    const second = await stream.until(({ event_id: id }) => id === `synth:${next.result?.run_id}:completed`);
    expect(outlines(second)).toEqual([
      "lifecycle running",
      "lifecycle interrupted",
      "lifecycle running",
      "lifecycle completed",
    ]);
    expect(disorderOf(second)).toBeUndefined();
    openGate(gate);
    await stream.close();
  });

  it("that the protocol started can be joined over REST", async () => {
    const threadId = randomUUID();
    const started = await command(threadId, "run.start", { assistant_id: "transcript", input: HELLO });
    const runId = String(started.result?.run_id);
    const modes = new Set<string>();
    for await (const { event } of gateway.client.runs.joinStream(threadId, runId, { lastEventId: "-1" })) {
      modes.add(event.split("|")[0] ?? "");
      expect(event.startsWith("#")).toBe(false);
    }
    expect([...modes].sort()).toEqual(["custom", "end", "messages", "metadata", "tasks", "updates", "values"]);
    expect(await gateway.client.runs.join(threadId, runId)).toMatchObject({ n: 1 });
  });
});

describe("a filter", () => {
  /** What a whole run said, for a filter to be held against. */
  let threadId: string;
  let all: readonly WireEvent[];
  beforeAll(async () => {
    threadId = randomUUID();
    await command(threadId, "run.start", { assistant_id: "fan", input: {} });
    all = await eventsOf(threadId);
  });

  const END = "lifecycle";
  const told = async (filter: Omit<WireFilter, "channels"> & { channels?: readonly string[] }) => {
    const events = await eventsOf(threadId, { channels: ALL_CHANNELS, ...filter });
    return events.map(({ event_id: id }) => id);
  };
  const idsOf = (keep: (event: WireEvent) => boolean) => all.filter(keep).map(({ event_id: id }) => id);

  it("goes on behind `since`, wherever that is", async () => {
    for (const { seq } of all.slice(0, -1)) {
      expect(await told({ since: seq })).toEqual(idsOf((event) => event.seq > seq));
    }
  });

  it("takes every named channel with `custom`, and one with its name", async () => {
    const isCustom = ({ method }: WireEvent) => method === "custom";
    expect(all.filter(isCustom)).toHaveLength(3);
    const root = (event: WireEvent) => event.method === END;
    expect(await told({ channels: [END, "custom"] })).toEqual(idsOf((event) => isCustom(event) || root(event)));
    expect(await told({ channels: [END, "custom:step"] })).toEqual(idsOf((event) => isCustom(event) || root(event)));
    expect(await told({ channels: [END, "custom:other"] })).toEqual(idsOf(root));
  });

  it("takes namespaces by their prefixes, with or without the task's id, down to its depth", async () => {
    const depthOf = ({ params }: WireEvent) => params.namespace.length;
    expect(await told({ namespaces: [[]], depth: 0 })).toEqual(idsOf((event) => depthOf(event) === 0));
    expect(await told({ namespaces: [[]], depth: 1 })).toEqual(idsOf((event) => depthOf(event) <= 1));
    const [one] = all.flatMap(({ params }) => params.namespace.filter((segment) => segment.startsWith("worker:")));
    const inWorkers = await openEvents(gateway.url, threadId, { channels: ALL_CHANNELS, namespaces: [["worker"]] });
    const workers = idsOf(({ params }) => params.namespace[0]?.startsWith("worker:") === true);
    const last = workers.at(-1);
    expect((await inWorkers.until((event) => event.event_id === last)).map((event) => event.event_id)).toEqual(workers);
    await inWorkers.close();
    const inOne = await openEvents(gateway.url, threadId, { channels: ALL_CHANNELS, namespaces: [[one ?? ""]] });
    const its = idsOf(({ params }) => params.namespace[0] === one);
    expect((await inOne.until((event) => event.event_id === its.at(-1))).map((event) => event.event_id)).toEqual(its);
    await inOne.close();
  });
});
