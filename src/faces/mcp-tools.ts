/** Assistants as MCP tools: their names, what they take, what they answer. Pure. */
import { toJson } from "../core/json.js";
import type { Assistant, Json, JsonObject } from "../core/model.js";
import type { GraphSchemas } from "../graphs/host.js";
import { isObject } from "../protocol/json-object.js";
import type { RunResultView } from "./run-answer.js";

/** Models refuse longer ones. */
const MAX_NAME = 64;

/**
 * The tools' names, in the order of `assistants`, the oldest first: the first of several that would be called the same
 * has the name to itself, the others end as their ids do. So a new assistant renames no tool.
 */
export function toolNames(assistants: readonly Assistant[]): ReadonlyMap<string, Assistant> {
  const tools = new Map<string, Assistant>();
  for (const assistant of assistants) {
    const name = sanitised(assistant.name, MAX_NAME) || "assistant";
    const endings = endingsOf(assistant);
    let unique = name;
    while (tools.has(unique)) {
      const ending = endings.next().value;
      unique = `${name.slice(0, MAX_NAME - 1 - ending.length)}_${ending}`;
    }
    tools.set(unique, assistant);
  }
  return tools;
}

/** More and more of its id, and numbers where others end like that all the same. */
function* endingsOf({ assistantId }: Assistant): Generator<string, never> {
  const id = assistantId.replaceAll(/[^A-Za-z0-9]/g, "").slice(-MAX_NAME / 2);
  for (let digits = 8; digits - 4 < Math.max(id.length, 8); digits += 4) yield id.slice(-digits);
  for (let number = 2; ; number++) yield `${number}`;
}

function sanitised(text: string, maxLength: number): string {
  return text
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/[^A-Za-z0-9_-]+/g, "_")
    .slice(0, maxLength)
    .replaceAll(/^_+|_+$/g, "");
}

/** What a tool takes: the graph's input, and the context of its run where it has a schema for one. */
export function inputSchema({ input_schema: input, context_schema: context }: GraphSchemas): JsonObject {
  if (input === null || input.type !== "object") return withContext({ type: "object" }, context);
  const properties = isObject(input.properties) ? input.properties : {};
  const simple = Object.entries(properties).map(([name, property]) => [
    name,
    isObject(property) && property.langgraph_type === "messages"
      ? { ...MESSAGES, ...descriptionOf(property) }
      : property,
  ]);
  return withContext({ ...input, properties: Object.fromEntries(simple) }, context);
}

function withContext(schema: JsonObject, context: JsonObject | null): JsonObject {
  const properties = isObject(schema.properties) ? schema.properties : {};
  if (context === null || "context" in properties) return schema;
  return { ...schema, properties: { ...properties, context } };
}

/** Whether `context` among a tool's arguments is the run's, and not a part of the graph's input. */
export function takesContext({ input_schema: input, context_schema: context }: GraphSchemas): boolean {
  const properties = isObject(input?.properties) ? input.properties : {};
  return context !== null && !("context" in properties);
}

/** Instead of the union of all kinds of messages. */
const MESSAGES: JsonObject = {
  type: "array",
  description: "The conversation, its newest message last",
  items: {
    type: "object",
    properties: {
      role: { type: "string", enum: ["user", "assistant", "system"] },
      content: { type: "string" },
    },
    required: ["role", "content"],
  },
};

function descriptionOf({ description }: JsonObject): JsonObject {
  return description === undefined ? {} : { description };
}

/** The answer to a call. A graph that asks something cannot be answered here: that is an error of the tool. */
export function toolResult({ kind, error, questions, values }: RunResultView): JsonObject {
  switch (kind) {
    case "finished":
      return { content: [textBlock(toJson(values))], structuredContent: values, isError: false };
    case "paused":
      // What a run asks came as JSON (`run-answer.ts`).
      return failed(`The graph waits for an answer, which a tool cannot get: ${toJson(questions as unknown as Json)}`);
    case "cancelled":
      return failed("The run was cancelled");
    case "failed":
      return failed(`${error?.error ?? "Error"}: ${error?.message ?? "the run failed"}`);
  }
}

function failed(text: string): JsonObject {
  return { content: [textBlock(text)], isError: true };
}

function textBlock(text: string): JsonObject {
  return { type: "text", text };
}
