/** Assistants as MCP tools. */
import { describe, expect, it } from "vitest";
import type { Assistant, JsonObject } from "../../src/core/model.js";
import { inputSchema, takesContext, toolNames, toolResult } from "../../src/faces/mcp-tools.js";
import { newAssistant } from "../support/sql-stores.js";

function assistant(name: string, assistantId = `${name}-id`): Assistant {
  return { ...newAssistant({ assistantId, name }), version: 1, createdAt: 0, updatedAt: 0 };
}

const namesOf = (...assistants: Assistant[]) => [...toolNames(assistants).keys()];

describe("a tool's name", () => {
  it("is the assistant's, as far as names of tools go", () => {
    expect(namesOf(assistant("agent"), assistant("Über agent / 2"), assistant("日本", "id-1"))).toEqual([
      "agent",
      "Uber_agent_2",
      "assistant",
    ]);
  });

  it("is its own: of several the first keeps it, and the others say who they are", () => {
    const ids = ["0199f3c4-2d0e-7c3a-9c1e-000000000001", "0199f3c4-2d0e-7c3a-9c1e-000000000002"];
    expect(namesOf(assistant("a b", ids[0]), assistant("a_b", ids[1]), assistant("a/b", ids[1]))).toEqual([
      "a_b",
      "a_b_00000002",
      "a_b_000000000002",
    ]);
    expect(namesOf(assistant("x", "1"), assistant("x", "2"), assistant("x", "3"))).toEqual(["x", "x_2", "x_3"]);
  });

  it("is never longer than models take", () => {
    const long = "n".repeat(200);
    const names = namesOf(assistant(long, "a".repeat(8)), assistant(long, "b".repeat(8)));
    expect(names).toEqual(["n".repeat(64), `${"n".repeat(55)}_${"b".repeat(8)}`]);
  });
});

describe("what a tool takes", () => {
  const schemas = (input: JsonObject | null, context: JsonObject | null = null) => ({
    input_schema: input,
    context_schema: context,
    output_schema: null,
    state_schema: null,
    config_schema: null,
  });

  it("is the graph's input, with messages made simple", () => {
    const input = {
      type: "object",
      properties: { messages: { langgraph_type: "messages", description: "Say it" }, n: { type: "number" } },
      required: ["n"],
    };
    expect(inputSchema(schemas(input))).toEqual({
      type: "object",
      properties: {
        messages: {
          type: "array",
          description: "Say it",
          items: {
            type: "object",
            properties: {
              role: { type: "string", enum: ["user", "assistant", "system"] },
              content: { type: "string" },
            },
            required: ["role", "content"],
          },
        },
        n: { type: "number" },
      },
      required: ["n"],
    });
  });

  it("is any object where the graph does not say", () => {
    expect(inputSchema(schemas(null))).toEqual({ type: "object" });
    expect(inputSchema(schemas({ anyOf: [] }))).toEqual({ type: "object" });
  });

  it("has the run's context, unless the graph's input has one", () => {
    const context = { type: "object", properties: { tone: { type: "string" } } };
    expect(inputSchema(schemas({ type: "object", properties: {} }, context))).toMatchObject({
      properties: { context },
    });
    expect(takesContext(schemas(null, context))).toBe(true);
    expect(takesContext(schemas(null))).toBe(false);
    const own = { type: "object", properties: { context: { type: "string" } } };
    expect(inputSchema(schemas(own, context))).toEqual(own);
    expect(takesContext(schemas(own, context))).toBe(false);
  });
});

describe("what a tool answers", () => {
  const view = { kind: "finished", questions: [], error: null, values: { report: "sunny" } } as const;

  it("is the graph's output as text and as data", () => {
    expect(toolResult(view)).toEqual({
      content: [{ type: "text", text: '{"report":"sunny"}' }],
      structuredContent: { report: "sunny" },
      isError: false,
    });
  });

  it("is an error when the graph failed, was stopped, or asks something", () => {
    const error = { error: "RangeError", message: "out of range" };
    for (const [change, text] of [
      [{ kind: "failed", error }, "RangeError: out of range"],
      [{ kind: "cancelled" }, "The run was cancelled"],
      [{ kind: "paused", questions: [{ id: "i", value: "Go on?" }] }, "Go on?"],
    ] as const) {
      expect(toolResult({ ...view, ...change })).toMatchObject({
        isError: true,
        content: [{ text: expect.stringContaining(text) }],
      });
    }
  });
});
