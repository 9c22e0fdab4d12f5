/** Images, audio, video and files: what providers call them, and what the protocol does. */
import type { JsonObject } from "../core/model.js";
import { type ContentBlock, isObject, objectsIn, textIn } from "./json-object.js";

export const MEDIA_TYPES: ReadonlySet<string> = new Set(["image", "audio", "video", "file"]);

/** A standard block in any of its spellings: `base64`, `mime_type` and `file_id`. The block itself when it has them. */
export function mediaBlock(block: ContentBlock): ContentBlock {
  if (!Object.keys(block).some((key) => FOREIGN_KEYS.has(key))) return block;
  const { type, index, source_type, data, mimeType, fileId, source, file, ...rest } = block;
  return {
    type,
    ...rest,
    ...(data === undefined ? {} : { base64: data }),
    ...(mimeType === undefined ? {} : { mime_type: mimeType }),
    ...(fileId === undefined ? {} : { file_id: fileId }),
    ...(isObject(source) ? fromSource(source) : {}),
    ...(isObject(file) ? fromFile(file) : {}),
  };
}

const FOREIGN_KEYS: ReadonlySet<string> = new Set([
  "index",
  "source_type",
  "data",
  "mimeType",
  "fileId",
  "source",
  "file",
]);

/** Anthropic: `{type, media_type, data}`, `{type, url}` or `{type, file_id}`. */
function fromSource({ media_type: mimeType, data, url, file_id: fileId }: JsonObject): JsonObject {
  return {
    ...(mimeType === undefined ? {} : { mime_type: mimeType }),
    ...(data === undefined ? {} : { base64: data }),
    ...(url === undefined ? {} : { url }),
    ...(fileId === undefined ? {} : { file_id: fileId }),
  };
}

/** OpenAI: `{file_id}`, or `{filename, file_data}` with a data URL. */
function fromFile({ file_data: data, ...rest }: JsonObject): JsonObject {
  if (data === undefined) return rest;
  return { ...rest, ...(textIn(data)?.startsWith("data:") ? { url: data } : { base64: data }) };
}

/** `{type: "image_url", image_url: {url} | url}` */
export function fromImageUrl({ image_url: image, index: _, ...rest }: ContentBlock): ContentBlock {
  return { ...rest, ...(isObject(image) ? image : { url: image ?? null }), type: "image" };
}

/** `{type: "input_audio", input_audio: {data, format}}` */
export function fromInputAudio({ input_audio: audio, index: _, ...rest }: ContentBlock): ContentBlock {
  return { ...rest, ...(isObject(audio) ? audioFields(audio, "audio/wav") : {}), type: "audio" };
}

// ---- what OpenAI's models say beside the content

/** The audio in `additional_kwargs.audio`, or a piece of it; OpenAI streams samples, and says so nowhere. */
export function audioBeside(
  { additional_kwargs: beside }: JsonObject,
  unsaidType: "audio/wav" | "audio/pcm",
): ContentBlock | undefined {
  const audio = isObject(beside) ? beside.audio : undefined;
  if (!isObject(audio)) return undefined;
  const fields = audioFields(audio, unsaidType);
  const says = "base64" in fields || "url" in fields || "transcript" in fields;
  return says ? { type: "audio", ...fields } : undefined;
}

function audioFields(audio: JsonObject, unsaidType: string): JsonObject {
  const [id, data, url, transcript] = [audio.id, audio.data, audio.url, audio.transcript].map(textIn);
  const format = textIn(audio.format)?.toLowerCase();
  const mimeType = textIn(audio.mime_type) ?? textIn(audio.mimeType) ?? AUDIO_TYPES.get(format ?? "") ?? unsaidType;
  return {
    ...(id === undefined ? {} : { id }),
    ...(url === undefined ? {} : { url }),
    ...(data === undefined ? {} : { base64: data }),
    ...(transcript === undefined ? {} : { transcript }),
    mime_type: mimeType,
  };
}

const AUDIO_TYPES: ReadonlyMap<string, string> = new Map([
  ["wav", "audio/wav"],
  ["mp3", "audio/mpeg"],
  ["flac", "audio/flac"],
  ["opus", "audio/opus"],
  ["aac", "audio/aac"],
  ["pcm16", "audio/pcm"],
]);

/** The generated images in `additional_kwargs.tool_outputs`. */
export function imagesBeside({ additional_kwargs: beside }: JsonObject): readonly ContentBlock[] {
  const outputs = isObject(beside) ? objectsIn(beside.tool_outputs) : [];
  return outputs.flatMap((output) => {
    const [id, url, base64] = [output.id, output.url, output.result].map(textIn);
    if (output.type !== "image_generation_call" || (url === undefined && base64 === undefined)) return [];
    return {
      type: "image",
      ...(id === undefined ? {} : { id }),
      ...(url === undefined ? {} : { url }),
      ...(base64 === undefined ? {} : { base64 }),
      mime_type: IMAGE_TYPES.get(textIn(output.output_format)?.toLowerCase() ?? "") ?? "image/png",
    };
  });
}

const IMAGE_TYPES: ReadonlyMap<string, string> = new Map([
  ["jpeg", "image/jpeg"],
  ["jpg", "image/jpeg"],
  ["webp", "image/webp"],
  ["gif", "image/gif"],
]);
