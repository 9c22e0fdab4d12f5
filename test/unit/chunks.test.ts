/** From what LangGraph streams to wire events. */
import { AIMessage, AIMessageChunk, HumanMessage } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import type { StreamMode } from "../../src/core/model.js";
import { createChunkConverter, type GraphChunk, graphStreamModes, type Streamed } from "../../src/graphs/chunks.js";
import type { GraphEvent } from "../../src/graphs/host.js";
import { createMessageEnds } from "../../src/graphs/message-ends.js";

function convert(modes: readonly StreamMode[], chunks: readonly GraphChunk[], subgraphs = false) {
  const converter = createChunkConverter({ streamModes: modes, subgraphs });
  return chunks.flatMap((chunk) =>
    [...converter.convert(chunk)].map(({ event, namespace, data }) => ({
      event: [event, ...namespace].join("|"),
      data: JSON.parse(data) as unknown,
    })),
  );
}

const chunk = (mode: string, payload: unknown, namespace: readonly string[] = []): GraphChunk => ({
  mode,
  payload,
  namespace,
});
const token = (content: string, id = "m1", task = "llm:1") =>
  chunk("messages", [new AIMessageChunk({ content, id }), { langgraph_checkpoint_ns: task, langgraph_node: "llm" }]);
const events = (result: readonly { event: string }[]) => result.map(({ event }) => event);

describe("graphStreamModes", () => {
  it.each<[readonly StreamMode[], readonly string[]]>([
    [[], ["values"]],
    [["updates"], ["values", "updates"]],
    [
      ["messages", "messages-tuple"],
      ["values", "messages"],
    ],
    [["events"], ["values"]],
    [
      ["values", "events", "custom"],
      ["values", "custom"],
    ],
  ])("%j", (requested, expected) => {
    expect(graphStreamModes({ streamModes: requested, subgraphs: false })).toEqual(expected);
  });
});

describe("for event streaming a converter", () => {
  const record = (fields: Partial<Streamed>, ...chunks: readonly GraphChunk[]) => {
    const converter = createChunkConverter({ streamModes: [], subgraphs: false, eventStreaming: true, ...fields });
    return chunks.flatMap((each) => [...converter.convert(each)]);
  };
  const namesOf = (result: readonly GraphEvent[]) =>
    result.map(({ event, namespace }) => [event, ...namespace].join("|"));
  const ALL = [
    chunk("values", { a: 1 }),
    chunk("values", { a: 1 }, ["sub:1"]),
    chunk("updates", { n: {} }),
    chunk("updates", { n: {} }, ["sub:1"]),
    chunk("custom", 7),
    chunk("custom", 7, ["sub:1"]),
    chunk("tools", { event: "on_tool_start" }, ["tools:1"]),
    chunk("tools", { event: "on_tool_start" }, ["sub:1", "tools:2"]),
    token("a", "m1", "llm:1"),
    token("b", "m2", "sub:1|llm:2"),
  ];

  it("asks LangGraph for all that it reads", () => {
    const modes = graphStreamModes({ streamModes: ["debug", "updates"], subgraphs: false, eventStreaming: true });
    expect(modes).toEqual(["values", "debug", "updates", "messages", "tools", "custom", "tasks"]);
  });

  it("records under names of its own what REST did not ask for", () => {
    expect(namesOf(record({}, ...ALL))).toEqual([
      "#values",
      "#values|sub:1",
      "#updates",
      "#updates|sub:1",
      "#custom",
      "#custom|sub:1",
      "#tools|tools:1",
      "#tools|sub:1|tools:2",
      "#messages",
      "#messages",
    ]);
  });

  it("records what REST asked for once, and what REST sees without its namespace once more with it", () => {
    const streamModes: readonly StreamMode[] = ["values", "updates", "custom", "tools", "messages-tuple"];
    expect(namesOf(record({ streamModes }, ...ALL))).toEqual([
      "values",
      "#values|sub:1",
      "updates",
      "#updates|sub:1",
      "custom",
      "#custom|sub:1",
      "tools",
      "#tools|tools:1",
      "#tools|sub:1|tools:2",
      "messages",
      "#messages",
    ]);
    expect(namesOf(record({ streamModes, subgraphs: true }, ...ALL)).filter((name) => name.startsWith("#"))).toEqual(
      [],
    );
  });

  it("tells accumulated messages of REST and tokens apart", () => {
    expect(namesOf(record({ streamModes: ["messages"] }, token("a")))).toEqual([
      "messages/metadata",
      "messages/partial",
      "#messages",
    ]);
  });

  it("records which checkpoint a state has, from LangGraph's envelope or from REST's checkpoints", () => {
    const envelope = { id: "c2", parent_id: "c1", step: 1, source: "loop" };
    const at = (id: string) => ({ configurable: { thread_id: "t", checkpoint_ns: "", checkpoint_id: id } });
    const whole = {
      config: at("c2"),
      parentConfig: at("c1"),
      metadata: { step: 1, source: "loop" },
      values: {},
      tasks: [],
    };
    expect(record({}, chunk("checkpoints", envelope))).toEqual([
      { event: "#checkpoint", namespace: [], data: JSON.stringify(envelope) },
    ]);
    const both = record({ streamModes: ["checkpoints"] }, chunk("checkpoints", whole));
    expect(namesOf(both)).toEqual(["checkpoints", "#checkpoint"]);
    expect(JSON.parse(both[1]?.data ?? "")).toEqual(envelope);
  });

  it("records of tasks what their lives are told with, and takes an end without an update for unclear", () => {
    const result = { id: "t1", name: "agent", result: {}, interrupts: [] };
    const endsOf = (...chunks: readonly GraphChunk[]) =>
      record({}, ...chunks)
        .filter(({ event }) => event === "#task")
        .map(({ data }) => (JSON.parse(data) as { ended?: string }).ended);
    const update = chunk("updates", { agent: {} });
    expect(endsOf(chunk("tasks", { id: "t1", name: "agent", input: {} }))).toEqual([undefined]);
    expect(endsOf(update, chunk("tasks", result))).toEqual(["result"]);
    expect(endsOf(chunk("tasks", result))).toEqual(["unclear"]);
    expect(endsOf(update, chunk("tasks", result), chunk("tasks", result))).toEqual(["result", "unclear"]);
    expect(endsOf(chunk("updates", { agent: {} }, ["sub:1"]), chunk("tasks", result))).toEqual(["unclear"]);
    expect(endsOf(chunk("tasks", { ...result, interrupts: [{ id: "i" }] }))).toEqual(["interrupts"]);
  });

  it("tells that a message is complete behind its last token, before all else", () => {
    const ends = createMessageEnds();
    const converter = createChunkConverter({ streamModes: [], subgraphs: false, eventStreaming: true }, ends);
    const convertNext = (each: GraphChunk) => namesOf([...converter.convert(each)]);
    const said = { chunk: { message: new AIMessageChunk({ content: "a", id: "m1" }) } };
    for (const text of ["a", "b"]) ends.handler.handleLLMNewToken(text, 0, "c1", undefined, undefined, said);
    expect(convertNext(token("a"))).toEqual(["#messages"]);
    ends.handler.handleLLMEnd({}, "c1");
    expect(convertNext(token("b"))).toEqual(["#messages", "#message-end"]);
    ends.handler.handleLLMNewToken("c", 0, "c2", undefined, undefined, said);
    expect(convertNext(token("c"))).toEqual(["#messages"]);
    ends.handler.handleLLMEnd({}, "c2");
    expect(convertNext(chunk("updates", {}))).toEqual(["#message-end", "#updates"]);
  });

  it("without it records nothing but what REST asked for", () => {
    expect(namesOf(record({ eventStreaming: false }, ...ALL))).toEqual([]);
  });
});

describe("a converter", () => {
  it("shows what was asked for, and nothing else", () => {
    const chunks = [chunk("values", { a: 1 }), chunk("updates", { n: {} }), chunk("custom", 7), chunk("tasks", {})];
    expect(convert(["updates", "custom"], chunks)).toEqual([
      { event: "updates", data: { n: {} } },
      { event: "custom", data: 7 },
    ]);
  });

  it("names subgraphs when it may, and drops them otherwise", () => {
    const chunks = [
      chunk("values", { a: 1 }, ["sub:1"]),
      chunk("custom", 7, ["sub:1", "deep:2"]),
      chunk("tools", { event: "on_tool_start" }, ["sub:1", "tools:2"]),
      chunk("tools", { event: "on_tool_end" }, ["tools:1"]),
      token("a", "m1", "sub:1|llm:2"),
      token("b", "m2", "llm:3"),
    ];
    const modes = ["values", "custom", "tools", "messages-tuple"] as const;
    expect(events(convert(modes, chunks))).toEqual(["tools", "messages"]);
    expect(events(convert(modes, chunks, true))).toEqual([
      "values|sub:1",
      "custom|sub:1|deep:2",
      "tools|sub:1|tools:2",
      "tools|tools:1",
      "messages",
      "messages",
    ]);
  });

  it("tells chunks from whole messages in tuples", () => {
    const whole = chunk("messages", [new AIMessage({ content: "done", id: "m2" }), { langgraph_checkpoint_ns: "a:1" }]);
    expect(
      convert(["messages-tuple"], [token("a"), whole]).map(({ data }) => (data as [{ type: string }])[0].type),
    ).toEqual(["AIMessageChunk", "ai"]);
  });

  it("accumulates each message by itself", () => {
    const result = convert(
      ["messages"],
      [token("a"), token("x", "m2", "bass:1"), token("b"), token("y", "m2", "bass:1")],
    );
    expect(events(result)).toEqual([
      "messages/metadata",
      "messages/partial",
      "messages/metadata",
      "messages/partial",
      "messages/partial",
      "messages/partial",
    ]);
    expect(result.slice(-2).map(({ data }) => (data as { content: string }[])[0]?.content)).toEqual(["ab", "xy"]);
  });

  it("completes a streamed message once, when the state has it", () => {
    const human = new HumanMessage({ content: "hi", id: "h1" });
    const answer = new AIMessage({ content: "ab", id: "m1" });
    const result = convert(
      ["messages"],
      [
        chunk("values", { messages: [human] }),
        token("a"),
        token("b"),
        chunk("values", { messages: [human, answer] }),
        chunk("values", { messages: [human, answer] }),
      ],
    );
    const complete = result
      .filter(({ event }) => event === "messages/complete")
      .map(({ data }) => data as { id: string }[]);
    expect(complete.map(([message]) => message?.id)).toEqual(["h1", "m1"]);
  });

  it("shows a subgraph's message whole when the root's state has it, and only then", () => {
    const nested = token("a", "m1", "sub:1|llm:2");
    const answer = new AIMessage({ content: "ab", id: "m1" });
    const state = chunk("values", { messages: [answer] });
    const result = convert(["messages-tuple"], [nested, state, state]);
    expect(result).toEqual([
      {
        event: "messages",
        data: [
          expect.objectContaining({ type: "ai", content: "ab", id: "m1" }),
          { langgraph_node: "sub", langgraph_checkpoint_ns: "sub:1", checkpoint_ns: "sub:1" },
        ],
      },
    ]);
    expect(convert(["messages-tuple"], [nested, chunk("values", "no object")])).toEqual([]);
  });

  it("spells checkpoints as the wire does, without what is LangGraph's own", () => {
    const config = {
      configurable: { thread_id: "t", checkpoint_ns: "", checkpoint_id: "c2", __pregel_read: () => 1 },
      callbacks: [{}],
    };
    const parentConfig = { configurable: { thread_id: "t", checkpoint_ns: "", checkpoint_id: "c1" } };
    const payload = { values: {}, next: [], config, parentConfig, tasks: [{ id: "1", name: "n" }] };
    const expected = {
      values: {},
      next: [],
      config: { configurable: { thread_id: "t", checkpoint_ns: "", checkpoint_id: "c2" } },
      parent_config: parentConfig,
      checkpoint: { thread_id: "t", checkpoint_ns: "", checkpoint_id: "c2", checkpoint_map: null },
      parent_checkpoint: { thread_id: "t", checkpoint_ns: "", checkpoint_id: "c1", checkpoint_map: null },
      tasks: [{ id: "1", name: "n", checkpoint: null }],
    };
    const debug = { type: "checkpoint", step: 1, timestamp: "now", payload };
    expect(convert(["checkpoints", "debug"], [chunk("checkpoints", payload), chunk("debug", debug)])).toEqual([
      { event: "checkpoints", data: expected },
      { event: "debug", data: { ...debug, payload: expected } },
    ]);
  });

  it.each([undefined, null, 0, "", "a\nb", [1], { a: undefined }])("survives %j in every mode", (payload) => {
    const result = convert(
      ["custom", "debug", "updates", "values", "tasks"],
      [...["custom", "debug", "updates", "values", "tasks"].map((mode) => chunk(mode, payload))],
    );
    expect(result).toHaveLength(5);
  });
});
