/** From what LangGraph streams to wire events. */
import { AIMessage, AIMessageChunk, HumanMessage } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import type { StreamMode } from "../../src/core/model.js";
import { createChunkConverter, type GraphChunk, graphStreamModes } from "../../src/graphs/chunks.js";

function convert(modes: readonly StreamMode[], chunks: readonly GraphChunk[], subgraphs = false) {
  const converter = createChunkConverter(modes, subgraphs);
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
    expect(graphStreamModes(requested)).toEqual(expected);
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
