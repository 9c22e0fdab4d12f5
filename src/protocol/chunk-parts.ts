/** What a chunk of a streamed message brings, as pieces of blocks. */
import type { Json, JsonObject } from "../core/model.js";
import { standardBlock } from "./content-blocks.js";
import { type ContentBlock, isObject, objectsIn } from "./json-object.js";
import { audioBeside, imagesBeside } from "./media-blocks.js";
import { callPiece, toolPiece } from "./tool-blocks.js";

/** A block, or a piece of one. */
export interface BlockPart {
  /** Pieces with the same place are one block; without a place a text goes on with the text before it. */
  readonly place?: string;
  /** Comes again with every chunk, and counts once. */
  readonly repeats?: true;
  readonly block: ContentBlock;
}

/** In the order in which the model said it. */
export function partsOf(chunk: JsonObject): readonly BlockPart[] {
  const { content } = chunk;
  const calls = callParts(chunk);
  const parts: BlockPart[] = [];
  if (typeof content === "string") {
    if (content !== "") parts.push({ block: { type: "text", text: content } });
  } else if (Array.isArray(content)) {
    for (const part of content) parts.push(...contentParts(part, calls));
  }
  parts.push(...calls.parts);
  if (isObject(chunk.additional_kwargs) && Object.keys(chunk.additional_kwargs).length > 0) {
    const audio = audioBeside(chunk, "audio/pcm");
    if (audio !== undefined) parts.push({ place: "audio", block: audio });
    for (const block of imagesBeside(chunk)) parts.push({ place: imagePlace(block), repeats: true, block });
  }
  return parts;
}

interface CallParts {
  /** Those that no part of the content told. */
  readonly parts: BlockPart[];
  /** Whether the chunk tells its calls apart from its content. */
  readonly toldApart: boolean;
}

function callParts({ tool_call_chunks: chunks, tool_calls: calls }: JsonObject): CallParts {
  const pieces = objectsIn(chunks);
  const parts: BlockPart[] =
    pieces.length > 0
      ? pieces.map((piece) => ({ ...toolPlace(piece), block: callPiece(piece) }))
      : objectsIn(calls).map((call) => ({ ...toolPlace(call), repeats: true, block: callPiece(call) }));
  return { parts, toldApart: parts.length > 0 };
}

/** A call that the chunk also tells apart is told here, where it stands, in those words. */
function contentParts(part: Json, calls: CallParts): readonly BlockPart[] {
  const piece = isObject(part) ? toolPiece(part) : undefined;
  if (!isObject(part) || piece === undefined) return [{ ...placeOf(part), block: standardBlock(part) }];
  const place = toolPlace(part);
  const twin = calls.parts.findIndex((other) => {
    return other.place === place.place || (piece.id !== undefined && other.block.id === piece.id);
  });
  if (piece.type === "tool_call_chunk" && calls.toldApart) return twin < 0 ? [] : calls.parts.splice(twin, 1);
  return [{ ...place, block: piece }];
}

/** Blocks of different types can have one index. */
function placeOf(part: Json): { readonly place?: string } {
  if (!isObject(part) || !isIndex(part.index)) return {};
  return { place: `${part.index}` };
}

/** Calls count by themselves with some providers, and with the blocks of the content with others. */
function toolPlace({ index, id }: JsonObject): { readonly place?: string } {
  if (isIndex(index)) return { place: `tool ${index}` };
  return typeof id === "string" && id !== "" ? { place: `tool @${id}` } : {};
}

function isIndex(index: Json | undefined): index is number | string {
  return typeof index === "number" || typeof index === "string";
}

function imagePlace({ id, url, base64 }: ContentBlock): string {
  const data = typeof base64 === "string" ? `${base64.length}:${base64.slice(0, 32)}` : "";
  return `image ${JSON.stringify(id ?? url ?? data)}`;
}
