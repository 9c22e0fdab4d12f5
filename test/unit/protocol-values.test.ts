/** A state as the `values` channel shows it. */
import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import { toJson } from "../../src/core/json.js";
import { protocolValues } from "../../src/protocol/state-values.js";

const shown = (state: unknown): unknown => JSON.parse(protocolValues(toJson(state)) ?? "null");

describe("a state that needs no change", () => {
  it.each<[string, unknown]>([
    ["without messages", { a: 1, b: [1, { content: [{ type: "odd" }] }] }],
    ["with texts", { messages: [new HumanMessage("hi"), new AIMessage({ content: "yo", tool_calls: [] })] }],
    ["with standard blocks", { messages: [new AIMessage({ content: [{ type: "text", text: "yo" }] })] }],
    ["with what only looks like a message", { messages: [{ type: "ai", content: [{ type: "odd" }] }] }],
    ["that is no object", [{ content: [] }]],
    ["that speaks of interrupts", { note: "__interrupt__" }],
  ])("is the same text: %s", (_, state) => {
    const json = toJson(state);
    expect(protocolValues(json)).toBe(json);
  });
});

describe("interrupts", () => {
  it("go, and all else stays", () => {
    expect(shown({ a: 1, __interrupt__: [{ id: "i", value: 1 }] })).toEqual({ a: 1 });
  });

  it("alone are no state", () => {
    expect(protocolValues('{"__interrupt__":[]}')).toBeUndefined();
    expect(protocolValues("{}")).toBe("{}");
  });
});

describe("messages", () => {
  it("have standard blocks, in lists and alone", () => {
    const image = { type: "image_url", image_url: { url: "u" } };
    const state = {
      messages: [new HumanMessage({ content: [{ type: "text", text: "hi" }, image] }), "no message"],
      last: new ToolMessage({ content: [image], tool_call_id: "c1" }),
      n: 1,
    };
    expect(shown(state)).toMatchObject({
      messages: [
        {
          type: "human",
          content: [
            { type: "text", text: "hi" },
            { type: "image", url: "u" },
          ],
        },
        "no message",
      ],
      last: { type: "tool", content: [{ type: "image", url: "u" }], tool_call_id: "c1" },
      n: 1,
    });
  });

  it("keep all that is not content", () => {
    const fields = {
      id: "m1",
      name: "bot",
      additional_kwargs: { a: 1 },
      response_metadata: { model_name: "m" },
      usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
    };
    const state = { messages: [new AIMessage({ ...fields, content: [{ type: "thinking", thinking: "hm" }] })] };
    const { messages } = shown(state) as { messages: [Record<string, unknown>] };
    expect(messages[0]).toMatchObject({ ...fields, content: [{ type: "reasoning", reasoning: "hm" }] });
  });

  it("of models say that their blocks are standard, so that LangChain does not read them as the provider's", () => {
    const content = [{ type: "thinking", thinking: "hm" }];
    const metadata = { model_provider: "anthropic" };
    const { last } = shown({ last: new AIMessage({ content, response_metadata: metadata }) }) as { last: object };
    expect(new AIMessage(last as ConstructorParameters<typeof AIMessage>[0]).contentBlocks).toEqual([
      { type: "reasoning", reasoning: "hm" },
    ]);
  });

  it("tell a call whole that streamed in pieces", () => {
    const call = { type: "tool_call" as const, id: "c1", name: "search", args: { q: "a" } };
    const content = [
      { type: "text", text: "I look", index: 0 },
      { type: "tool_use", id: "c1", name: "search", input: "", index: 1 },
      { type: "input_json_delta", input: '{"q":"a"}', index: 1 },
    ];
    expect(shown({ last: new AIMessage({ content, tool_calls: [call] }) })).toMatchObject({
      last: { content: [{ type: "text", text: "I look" }, call], tool_calls: [call] },
    });
  });
});
