/** Calls of tools: as pieces with a part of their arguments' JSON, and whole. */
import type { Json, JsonObject } from "../core/model.js";
import { type ContentBlock, isObject, parseObject, textIn } from "./json-object.js";

/** What a block of a message's content brings of a call; undefined when it is none. */
export function toolPiece(part: JsonObject): ContentBlock | undefined {
  switch (part.type) {
    case "tool_call_chunk":
    case "tool_call":
      return piece("tool_call_chunk", part, part.args);
    case "tool_use":
    case "input_json_delta":
      return piece("tool_call_chunk", part, part.input);
    case "server_tool_call_chunk":
    case "server_tool_call":
      return piece("server_tool_call_chunk", part, part.args);
    case "server_tool_use":
      return piece("server_tool_call_chunk", part, part.input);
    default:
      return undefined;
  }
}

/** A member of `tool_call_chunks` or `tool_calls`. */
export function callPiece(call: JsonObject): ContentBlock {
  return piece("tool_call_chunk", call, call.args);
}

function piece(type: string, { id, name }: JsonObject, args: Json | undefined): ContentBlock {
  const [ownId, ownName] = [textIn(id), textIn(name)];
  return {
    type,
    ...(ownId === undefined ? {} : { id: ownId }),
    ...(ownName === undefined ? {} : { name: ownName }),
    args: argsText(args),
  };
}

function argsText(args: Json | undefined): string {
  if (typeof args === "string") return args;
  return isObject(args) && Object.keys(args).length > 0 ? JSON.stringify(args) : "";
}

/** Whether arguments can be all there is: nothing can follow an object. */
export function areWhole(args: string): boolean {
  return args.trimEnd().endsWith("}") && parseObject(args) !== undefined;
}

/** The call that the pieces make; other blocks are what they are. */
export function finishedBlock(block: ContentBlock): ContentBlock {
  const { type, id, name, args } = block;
  if (type !== "tool_call_chunk" && type !== "server_tool_call_chunk") return block;
  const text = typeof args === "string" ? args : "";
  const parsed = text.trim() === "" ? {} : parseObject(text);
  if (parsed === undefined) {
    return { type: "invalid_tool_call", id: id ?? null, name: name ?? null, args: text, error: UNREADABLE };
  }
  const finished = type === "tool_call_chunk" ? "tool_call" : "server_tool_call";
  return { type: finished, id: id ?? null, name: name ?? "", args: parsed };
}

/** LangChain's words. */
const UNREADABLE = "Failed to parse tool call arguments as JSON";

/** Anthropic's results of tools that it runs itself: `{type: "…_tool_result", tool_use_id, content}`. */
export function serverToolResult({ type, tool_use_id: callId, content }: ContentBlock): ContentBlock | undefined {
  if (!type.endsWith("_tool_result") || typeof callId !== "string") return undefined;
  const failed = isObject(content) && typeof content.type === "string" && content.type.endsWith("_error");
  return {
    type: "server_tool_result",
    tool_call_id: callId,
    status: failed ? "error" : "success",
    output: content ?? null,
  };
}
