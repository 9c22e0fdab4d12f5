/** What a streamed message says about itself in the end: its use of tokens and the model's metadata. */
import type { Json, JsonObject } from "../core/model.js";
import { isObject } from "./json-object.js";

export interface MessageTotals {
  add(chunk: JsonObject): void;
  /** The data of `message-finish`. */
  finish(): JsonObject;
}

export function createMessageTotals(): MessageTotals {
  let usage: JsonObject | undefined;
  const metadata: Record<string, Json> = {};

  return {
    add({ usage_metadata: used, response_metadata: said }) {
      if (isObject(used)) usage = usage === undefined ? used : sum(usage, used);
      if (isObject(said)) for (const [name, value] of Object.entries(said)) metadata[name] = value;
    },
    finish: () => finishData(usage, metadata, { reason: reasonOf(metadata) }),
  };
}

/** The data of `message-finish` for a whole message. */
export function wholeFinish({ usage_metadata: usage, response_metadata: metadata }: JsonObject): JsonObject {
  return finishData(isObject(usage) ? usage : undefined, isObject(metadata) ? metadata : {}, {});
}

function finishData(usage: JsonObject | undefined, metadata: JsonObject, reason: JsonObject): JsonObject {
  return {
    event: "message-finish",
    ...reason,
    ...(usage === undefined ? {} : { usage }),
    ...(Object.keys(metadata).length === 0 ? {} : { responseMetadata: metadata }),
  };
}

/** Chunks tell what they add, the details of tokens too. */
function sum(before: JsonObject, next: JsonObject): JsonObject {
  const total: Record<string, Json> = { ...before };
  for (const [name, value] of Object.entries(next)) {
    const known = total[name];
    if (typeof known === "number" && typeof value === "number") total[name] = known + value;
    else if (isObject(known) && isObject(value)) total[name] = sum(known, value);
    else if (value !== null) total[name] = value;
  }
  return total;
}

/** LangChain's word for why the model stopped, from what providers call it. */
function reasonOf({ finish_reason: openai, stop_reason: anthropic, finishReason: google }: JsonObject): string {
  const said = [openai, anthropic, google].find((reason) => typeof reason === "string");
  return REASONS.get(String(said).toLowerCase()) ?? "stop";
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ["length", "length"],
  ["max_tokens", "length"],
  ["tool_calls", "tool_use"],
  ["tool_use", "tool_use"],
  ["function_call", "tool_use"],
  ["content_filter", "content_filter"],
  ["safety", "content_filter"],
  ["refusal", "content_filter"],
]);
