/** Golden transcripts: what the protocol tells of each shape of graph, in order and shape as api.md's annex A.3. */
import { Command } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { eventJson } from "../../src/protocol/event.js";
import { createProjection } from "../../src/protocol/projection.js";
import { custom, failing } from "../support/graphs.js";
import { outline, type WireEvent } from "../support/protocol-client.js";
import { fan, nestedQuestion, questions, relay, stumble, transcript } from "../support/protocol-graphs.js";
import { disorderOf } from "../support/protocol-wire.js";
import { type RecordedRun, recordThread } from "../support/recorded-run.js";
import { gated, talk } from "../support/run-graphs.js";

const HELLO = { messages: [{ role: "user", content: "hi", id: "h1" }] };

function project(run: RecordedRun): readonly WireEvent[] {
  const projection = createProjection(run);
  const events = run.log.flatMap((entry) => projection.push(entry));
  return events.map((event) => JSON.parse(eventJson(event)) as WireEvent);
}

const told = (run: RecordedRun): readonly string[] => project(run).map(outline);
const idsOf = ({ questions: asked }: RecordedRun): readonly string[] => asked.map(({ id }) => id);
const answering = (ids: readonly string[]) => ({
  input: new Command({ resume: Object.fromEntries(ids.map((id) => [id, "yes"])) }),
  answers: ids,
});

/** A superstep of one node that says nothing. */
const STEP = ["tasks start", "updates", "tasks result", "checkpoints", "values"];
const message = (place: string, deltas: number) => [
  `messages ${place} message-start`,
  `messages ${place} content-block-start`,
  ...Array.from({ length: deltas }, () => `messages ${place} content-block-delta`),
  `messages ${place} content-block-finish`,
  `messages ${place} message-finish`,
];
const SUBGRAPH = [
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
];
const MODEL = (deltas: number) => [
  "tasks start",
  "lifecycle llm started",
  ...message("llm", deltas),
  "updates",
  "tasks result",
  "lifecycle llm completed",
  "checkpoints",
  "values",
];
const QUESTION = ["tasks start", "custom", "input.requested", "tasks result", "lifecycle interrupted"];
const BEGIN = ["lifecycle running", "checkpoints", "values"];

describe("a run of", () => {
  it("a plain node", async () => {
    const { run } = recordThread(custom);
    expect(told(await run({ input: { input: 1 } }))).toEqual([
      ...BEGIN,
      "tasks start",
      ...["custom", "custom", "custom"],
      ...STEP.slice(1),
      "lifecycle completed",
    ]);
  });

  it("a model", async () => {
    const input = { messages: [{ role: "user", content: "one two three" }] };
    const { run } = recordThread(talk);
    expect(told(await run({ input }))).toEqual([
      ...BEGIN,
      ...MODEL(3),
      ...STEP.slice(0, 3), // it changes nothing
      "lifecycle completed",
    ]);
  });

  it("a model, a subgraph and a question, and of its answer", async () => {
    const { run } = recordThread(transcript);
    const first = await run({ input: HELLO });
    expect(told(first)).toEqual([...BEGIN, ...MODEL(5), ...SUBGRAPH, ...QUESTION]);
    expect(told(await run(answering(idsOf(first))))).toEqual([
      "lifecycle running",
      "input.answered",
      "checkpoints",
      "values",
      "tasks start",
      "custom",
      "lifecycle ask started",
      ...message("ask", 1),
      "updates",
      "tasks result",
      "lifecycle ask completed",
      "checkpoints",
      "values",
      "lifecycle completed",
    ]);
  });

  it("three graphs side by side", async () => {
    const events = project(await recordThread(fan).run({ input: {} }));
    expect(events.map(outline).slice(0, 9)).toEqual([
      "lifecycle running",
      ...STEP.slice(0, 3),
      ...Array(3).fill("tasks start"),
      "lifecycle worker started",
      "checkpoints worker",
    ]);
    expect(events.map(outline).slice(-3)).toEqual(["checkpoints", "values", "lifecycle completed"]);
    const workers = [...new Set(events.flatMap(({ params }) => params.namespace))];
    expect(workers).toHaveLength(3);
    for (const worker of workers) {
      const own = events.filter(({ params }) => params.namespace[0] === worker).map(outline);
      expect(own).toEqual([
        "lifecycle worker started",
        "checkpoints worker",
        "values worker",
        "tasks worker start",
        "custom worker",
        "updates worker",
        "tasks worker result",
        "checkpoints worker",
        "values worker",
        "lifecycle worker completed",
      ]);
    }
  });

  it("a graph inside that asks, and of its answer", async () => {
    const { run } = recordThread(nestedQuestion);
    const first = await run({ input: { answers: ["a"] } });
    expect(told(first)).toEqual([
      ...BEGIN,
      "tasks start",
      "lifecycle outside started",
      "checkpoints outside",
      "values outside",
      "tasks outside start",
      "input.requested outside",
      "tasks outside result",
      "tasks result",
      "lifecycle outside interrupted",
      "lifecycle interrupted",
    ]);
    expect(told(await run(answering(idsOf(first))))).toEqual([
      "lifecycle running",
      "input.answered",
      "checkpoints",
      "values",
      "tasks start",
      "lifecycle outside started",
      "checkpoints outside",
      "values outside",
      "tasks outside start",
      "updates outside",
      "tasks outside result",
      "checkpoints outside",
      "values outside",
      "updates",
      "tasks result",
      "lifecycle outside completed",
      "checkpoints",
      "values",
      "lifecycle completed",
    ]);
  });

  it("two questions, of which one is answered and the other asked again", async () => {
    const { run } = recordThread(questions);
    const first = await run({ input: { answers: [] } });
    const asking = ["input.requested", "tasks result"];
    expect(told(first).slice(-7)).toEqual([
      "tasks start",
      "tasks start",
      ...asking,
      ...asking,
      "lifecycle interrupted",
    ]);
    const [one = "", other] = idsOf(first);
    const second = project(await run(answering([one])));
    const asked = second.filter(({ method }) => method === "input.requested");
    expect(asked.map(({ params }) => params.data.interrupt_id)).toEqual([other]);
    expect(second.at(-1)?.params.data.event).toBe("interrupted");
  });

  it("a node that fails", async () => {
    const events = project(await recordThread(failing).run({ input: { input: 1 } }));
    // What LangGraph says in the very moment of the failure may be lost.
    expect(events.map(outline).filter((line) => !line.startsWith("tasks"))).toEqual([
      ...BEGIN,
      ...STEP.filter((line) => !line.startsWith("tasks")),
      "lifecycle failed",
    ]);
    expect(events.at(-1)?.params.data).toEqual({ event: "failed", graph_name: "graph", error: "out of range" });
  });

  it("a model that fails in mid-message, in a graph inside", async () => {
    const events = project(await recordThread(stumble).run({ input: HELLO }));
    expect(events.map(outline).slice(-11)).toEqual([
      "lifecycle inside|say started",
      ...message("inside|say", 2).slice(0, 4),
      "tasks inside result",
      "tasks result",
      "messages inside|say error",
      "lifecycle inside|say failed",
      "lifecycle inside failed",
      "lifecycle failed",
    ]);
    const error = events.find(({ params }) => params.data.event === "error");
    expect(error?.params).toMatchObject({ node: "say", data: { message: "lost for words", code: "RangeError" } });
  });

  it("a graph inside that hands over to its parent: it did not fail", async () => {
    const events = project(await recordThread(relay).run({ input: HELLO }));
    const lives = events.filter(({ method }) => method === "lifecycle").map(outline);
    expect(lives).toEqual([
      "lifecycle running",
      "lifecycle inside started",
      "lifecycle inside completed",
      "lifecycle other started",
      "lifecycle other completed",
      "lifecycle completed",
    ]);
  });

  it("a graph that is cancelled", async () => {
    const { run } = recordThread(gated, { configurable: { gate: "never" } });
    const events = await run({ input: { input: 1 }, cancelledAt: ({ event }) => event === "updates" });
    expect(told(events)).toEqual([...BEGIN, "tasks start", "updates", "lifecycle interrupted"]);
  });

  it("a model that is cancelled in mid-message: what it said stays", async () => {
    const { run } = recordThread(transcript);
    const isThird = ({ event, data }: { event: string; data: string }) => event === "messages" && data.includes('"l"');
    expect(told(await run({ input: HELLO, cancelledAt: isThird }))).toEqual([
      ...BEGIN,
      "tasks start",
      "lifecycle llm started",
      ...message("llm", 3),
      "lifecycle llm interrupted",
      "lifecycle interrupted",
    ]);
  });

  it("a graph whose process dies in mid-message, and of its next claim", async () => {
    const { run } = recordThread(transcript);
    const isThird = ({ event, data }: { event: string; data: string }) => event === "messages" && data.includes('"l"');
    const recorded = await run({ input: HELLO, diesAt: isThird }, { input: null });
    const events = project(recorded);
    expect(events.map(outline)).toEqual([
      ...BEGIN,
      "tasks start",
      "lifecycle llm started",
      ...message("llm", 3).slice(0, 5),
      "messages llm error",
      "checkpoints",
      "values",
      ...["values", "values"], // what was begun is taken back
      ...MODEL(5).filter((line) => line !== "lifecycle llm started"),
      ...SUBGRAPH,
      ...QUESTION,
    ]);
    expect(disorderOf(events)).toBeUndefined();
    const starts = events.filter(({ params }) => params.data.event === "message-start");
    expect(new Set(starts.map(({ params }) => params.data.run_id)).size).toBe(2);
  });

  it("an answer whose process dies twice: it was given once", async () => {
    const { run } = recordThread(nestedQuestion);
    const first = await run({ input: { answers: ["a"] } });
    const dies = { ...answering(idsOf(first)), diesAt: ({ event }: { event: string }) => event === "tasks" };
    const events = project(await run(dies, dies, answering(idsOf(first))));
    expect(events.map(outline).filter((line) => line === "input.answered")).toHaveLength(1);
    expect(events.map(outline).filter((line) => line === "lifecycle running")).toHaveLength(1);
    expect(events.at(-1)?.params.data.event).toBe("completed");
    expect(disorderOf(events)).toBeUndefined();
  });
});

it("the transcript has the shapes of annex A.3", async () => {
  const { run } = recordThread(transcript);
  const first = await run({ input: HELLO });
  const events = project(first);
  const TASK = expect.any(String);
  const word = (text: string) => ({ event: "content-block-delta", index: 0, delta: { type: "text-delta", text } });
  const ai = { run_id: TASK };
  const shapes: readonly (readonly [string, readonly string[], string | undefined, unknown])[] = [
    ["lifecycle", [], undefined, { event: "running", graph_name: "graph" }],
    ["checkpoints", [], undefined, { id: TASK, parent_id: TASK, step: 0, source: "loop" }],
    ["values", [], undefined, { messages: [expect.objectContaining({ id: "h1", type: "human" })], n: 0 }],
    ["tasks", [], undefined, expect.objectContaining({ id: TASK, name: "llm", triggers: ["branch:to:llm"] })],
    ["lifecycle", ["llm"], undefined, { event: "started", graph_name: "llm" }],
    ["messages", ["llm"], "llm", { event: "message-start", id: TASK, role: "ai", metadata: expect.any(Object), ...ai }],
    [
      "messages",
      ["llm"],
      "llm",
      { event: "content-block-start", index: 0, content: { type: "text", text: "" }, ...ai },
    ],
    ...Array.from("hello", (text) => ["messages", ["llm"], "llm", { ...word(text), ...ai }] as const),
    [
      "messages",
      ["llm"],
      "llm",
      { event: "content-block-finish", index: 0, content: { type: "text", text: "hello" }, ...ai },
    ],
    ["messages", ["llm"], "llm", { event: "message-finish", reason: "stop", ...ai }],
    ["updates", [], "llm", { node: "llm", values: { messages: [expect.objectContaining({ content: "hello" })] } }],
    ["tasks", [], undefined, { id: TASK, name: "llm", result: expect.any(Object), interrupts: [] }],
    ["lifecycle", ["llm"], undefined, { event: "completed", graph_name: "llm" }],
    ["checkpoints", [], undefined, { id: TASK, parent_id: TASK, step: 1, source: "loop" }],
    ["values", [], undefined, { messages: [expect.anything(), expect.objectContaining({ type: "ai" })], n: 0 }],
  ];
  const shapeOf = ({ method, params: { namespace, node, data } }: WireEvent) =>
    [method, namespace.map((segment) => segment.split(":")[0]), node, data] as const;
  expect(events.slice(0, shapes.length).map(shapeOf)).toEqual(shapes);
  const [id] = idsOf(first);
  expect(events.slice(-5).map(shapeOf)).toEqual([
    ["tasks", [], undefined, expect.objectContaining({ name: "ask" })],
    ["custom", [], undefined, { payload: { progress: 1 } }],
    ["input.requested", [], undefined, { interrupt_id: id, payload: { q: "go on?" }, value: { q: "go on?" } }],
    ["tasks", [], undefined, { id: TASK, name: "ask", result: {}, interrupts: [{ id, value: { q: "go on?" } }] }],
    ["lifecycle", [], undefined, { event: "interrupted", graph_name: "graph" }],
  ]);
  const second = project(await run(answering([id ?? ""])));
  const lastCheckpoint = events.findLast(
    ({ method, params }) => method === "checkpoints" && params.namespace.length === 0,
  );
  expect(second.slice(0, 3).map(shapeOf)).toEqual([
    ["lifecycle", [], undefined, { event: "running", graph_name: "graph" }],
    ["input.answered", [], undefined, { interrupt_ids: [id] }],
    ["checkpoints", [], undefined, lastCheckpoint?.params.data],
  ]);
  expect(disorderOf([...events, ...second])).toBeUndefined();
  expect([events[0], events.at(-1), second[1]].map((event) => event?.event_id)).toEqual([
    "synth:run-1:running",
    "synth:run-1:interrupted",
    "synth:run-2:answered",
  ]);
});
