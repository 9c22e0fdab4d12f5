/** Which words of a stopped answer may be kept. */
import { AIMessage, AIMessageChunk } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import type { GraphChunk } from "../../src/graphs/chunks.js";
import { createPartialTracker } from "../../src/graphs/partial.js";

const values: GraphChunk = { mode: "values", payload: {}, namespace: [] };

function says(content: unknown, { task = "llm:1", id = "m1", ...more }: Record<string, unknown> = {}): GraphChunk {
  const message = new AIMessageChunk({ content: content as string, id: id as string, ...more });
  const metadata = { langgraph_checkpoint_ns: task, langgraph_node: String(task).split(":")[0] };
  return { mode: "messages", payload: [message, metadata], namespace: [] };
}

function answerAfter(...chunks: readonly GraphChunk[]): unknown {
  const tracker = createPartialTracker();
  for (const chunk of chunks) tracker.observe(chunk);
  const answer = tracker.answer(hostKit);
  return answer && [answer.node, (answer.message as AIMessage).content];
}

describe("the partial answer", () => {
  it("is what one task said so far", () => {
    expect(answerAfter(says("one"), says(" two"))).toEqual(["llm", "one two"]);
  });

  it("is marked as cancelled, under the id that was streamed", () => {
    const tracker = createPartialTracker();
    tracker.observe(says("one", { response_metadata: { model: "m" } }));
    expect(tracker.answer(hostKit)?.message).toMatchObject({
      id: "m1",
      content: "one",
      tool_calls: [],
      response_metadata: { model: "m", finish_reason: "cancelled" },
    });
  });

  it.each<[string, readonly GraphChunk[]]>([
    ["nothing was said", []],
    ["no word was said", [says("")]],
    ["two tasks spoke", [says("one"), says("uno", { task: "bass:2", id: "m2" })]],
    ["it was said in a subgraph", [says("one", { task: "sub:1|llm:2" })]],
    ["nobody knows which task spoke", [says("one", { task: "" })]],
    ["the superstep is over: it is in the state", [says("one"), values]],
    [
      "it was whole",
      [{ mode: "messages", payload: [new AIMessage("one"), { langgraph_checkpoint_ns: "llm:1" }], namespace: [] }],
    ],
    ["only a tool was called", [says([{ type: "tool_use", id: "c", name: "search", input: "{" }])]],
  ])("is none when %s", (_title, chunks) => {
    expect(answerAfter(...chunks)).toBeUndefined();
  });

  it("is the second message when the task began another", () => {
    expect(answerAfter(says("one"), says("two", { id: "m2" }))).toEqual(["llm", "two"]);
  });

  it("is told anew after a superstep", () => {
    expect(answerAfter(says("one"), values, says("two", { task: "after:2", id: "m2" }))).toEqual(["after", "two"]);
  });

  it("loses the blocks of a tool call, and keeps the text beside them", () => {
    const text = { type: "text", text: "Let me look." };
    expect(answerAfter(says([text, { type: "tool_use", id: "c", name: "search", input: "{" }]))).toEqual([
      "llm",
      [text],
    ]);
  });

  it("is not ended by a subgraph's values", () => {
    expect(answerAfter(says("one"), { ...values, namespace: ["sub:1"] })).toEqual(["llm", "one"]);
  });
});
