/**
 * A message's content as the protocol's blocks, whatever the provider calls them.
 *
 * The channels `messages` and `values` share this, so that a client sees the same message in both.
 */
import type { Json, JsonObject } from "../core/model.js";
import { type ContentBlock, isObject, objectsIn } from "./json-object.js";
import { audioBeside, fromImageUrl, fromInputAudio, imagesBeside, MEDIA_TYPES, mediaBlock } from "./media-blocks.js";
import { callPiece, finishedBlock, serverToolResult, toolPiece } from "./tool-blocks.js";

/** The standard block for one item of a content list; the item itself when it is one already. */
export function standardBlock(part: Json): ContentBlock {
  if (typeof part === "string") return { type: "text", text: part };
  if (!isBlock(part)) return { type: "non_standard", value: part };
  const { type } = part;
  if (type === "text") return withText(part, "text", part.text);
  if (type === "thinking") return thought(part);
  if (type === "reasoning") return withText(part, "reasoning", part.reasoning);
  if (MEDIA_TYPES.has(type)) return mediaBlock(part);
  if (type === "image_url") return fromImageUrl(part);
  if (type === "input_audio") return fromInputAudio(part);
  if (PLAIN_TYPES.has(type)) return withoutIndex(part);
  const call = toolPiece(part);
  if (call !== undefined) return finishedBlock(call);
  return serverToolResult(part) ?? { type: "non_standard", value: withoutIndex(part) };
}

const PLAIN_TYPES: ReadonlySet<string> = new Set([
  "tool_call",
  "invalid_tool_call",
  "server_tool_call",
  "server_tool_result",
  "non_standard",
]);

function isBlock(part: Json): part is ContentBlock {
  return isObject(part) && typeof part.type === "string";
}

function withText(part: ContentBlock, key: string, text: Json | undefined): ContentBlock {
  return typeof text === "string" ? withoutIndex(part) : { ...withoutIndex(part), [key]: "" };
}

/** Where a block is in a stream is no part of it. */
function withoutIndex(part: ContentBlock): ContentBlock {
  if (!("index" in part)) return part;
  const { index: _, ...rest } = part;
  return rest as ContentBlock; // it keeps its type
}

function thought({ type: _, index: __, thinking, ...rest }: ContentBlock): ContentBlock {
  return { type: "reasoning", reasoning: typeof thinking === "string" ? thinking : "", ...rest };
}

/**
 * A whole message's content list as blocks; the list itself when nothing needs changing. A call is told as `tool_calls`
 * have it: providers that stream leave it in pieces in the content.
 */
export function standardContent(message: JsonObject, content: readonly Json[]): readonly Json[] {
  const calls = callsOf(message);
  const blocks = content.flatMap((part): readonly Json[] => {
    const call = isObject(part) ? toolPiece(part) : undefined;
    if (!isObject(part) || call?.type !== "tool_call_chunk") return [standardBlock(part)];
    const told = calls.find(({ id }) => id === call.id);
    if (told !== undefined && call.id !== undefined) return [part.type === "tool_call" ? standardBlock(part) : told];
    return part.type === "input_json_delta" && calls.length > 0 ? [] : [standardBlock(part)];
  });
  return blocks.length === content.length && blocks.every((block, index) => block === content[index])
    ? content
    : blocks;
}

/** All that a whole message says, as blocks. */
export function wholeContent(message: JsonObject): readonly ContentBlock[] {
  const { content } = message;
  const blocks = Array.isArray(content)
    ? standardContent(message, content).map(standardBlock)
    : typeof content === "string" && content !== ""
      ? [standardBlock(content)]
      : [];
  const isTold = (call: ContentBlock) => call.id !== null && blocks.some(({ id }) => id === call.id);
  const audio = audioBeside(message, "audio/wav");
  return [
    ...blocks,
    ...callsOf(message).filter((call) => !isTold(call)),
    ...(audio === undefined ? [] : [audio]),
    ...imagesBeside(message),
  ];
}

function callsOf({ tool_calls: calls, invalid_tool_calls: invalid }: JsonObject): readonly ContentBlock[] {
  return [
    ...objectsIn(calls).map((call) => finishedBlock(callPiece(call))),
    ...objectsIn(invalid).map(({ id = null, name = null, args = null, error = null }) => {
      return { type: "invalid_tool_call", id, name, args, error };
    }),
  ];
}
