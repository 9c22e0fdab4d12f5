/**
 * A2A's messages ↔ LangGraph's, in the words of both families of the protocol. Pure.
 *
 * Version 0.3 tells parts by `kind` and writes roles and states in lower case; version 1.0 tells parts by the member
 * that they have and writes names in capitals.
 */
import { toJson } from "../core/json.js";
import type { Json, JsonObject } from "../core/model.js";
import { isObject, objectsIn, textIn } from "../protocol/json-object.js";
import { invalidParams } from "./json-rpc.js";
import { textOf } from "./message-text.js";

export type Family = "0.3" | "1.0";

export type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "data"; readonly data: Json }
  | { readonly kind: "file"; readonly file: FileContent };

export interface FileContent {
  readonly mediaType: string;
  readonly name: string | undefined;
  /** Base64, or where it is. */
  readonly content: { readonly bytes: string } | { readonly uri: string };
}

/** A message of a client. */
export interface SentMessage {
  readonly messageId: string;
  readonly contextId: string | undefined;
  readonly taskId: string | undefined;
  readonly parts: readonly Part[];
}

/** A message as it is shown. */
export interface ShownMessage {
  readonly messageId: string;
  readonly role: "user" | "agent";
  readonly parts: readonly Part[];
}

const UNKNOWN_TYPE = "application/octet-stream";

/** Throws an `RpcError` that names what is wrong. */
export function readSentMessage(value: Json | undefined): SentMessage {
  if (!isObject(value)) throw invalidParams("message: expected an object");
  const messageId = textIn(value.messageId);
  if (messageId === undefined || messageId.length > MAX_ID) throw invalidParams("message.messageId: expected a text");
  if (value.role !== "user" && value.role !== "ROLE_USER") throw invalidParams('message.role: expected "user"');
  if (!Array.isArray(value.parts) || value.parts.length === 0) throw invalidParams("message.parts: expected a list");
  return {
    messageId,
    contextId: readId("message.contextId", value.contextId),
    taskId: readId("message.taskId", value.taskId),
    parts: value.parts.map((part, index) => readPart(part, `message.parts.${index}`)),
  };
}

const MAX_ID = 512;
const ID = /^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,128}$/;

/** The id of a thread or of a run; undefined where there is none. */
export function readId(where: string, value: Json | undefined): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string" && ID.test(value)) return value;
  throw invalidParams(`${where}: expected 1 to 128 characters of A-Z a-z 0-9 _ . : -`);
}

function readPart(part: Json, where: string): Part {
  if (!isObject(part)) throw invalidParams(`${where}: expected an object`);
  const { text, data } = part;
  if (typeof text === "string") return { kind: "text", text };
  if (data !== undefined) return { kind: "data", data };
  const file = isObject(part.file) ? part.file : part;
  const bytes = textIn(file.bytes) ?? textIn(file.raw);
  const uri = textIn(file.uri) ?? textIn(file.url);
  const content = bytes !== undefined ? { bytes } : uri !== undefined ? { uri } : undefined;
  if (content === undefined) throw invalidParams(`${where}: expected a text, a file or data`);
  const mediaType = textIn(file.mimeType) ?? textIn(file.mediaType) ?? UNKNOWN_TYPE;
  return { kind: "file", file: { mediaType, name: textIn(file.name) ?? textIn(file.filename), content } };
}

/** The content of the graph's message: a text where it is nothing else. */
export function toGraphContent(parts: readonly Part[]): Json {
  const [only, ...others] = parts;
  return only?.kind === "text" && others.length === 0 ? only.text : parts.map(toBlock);
}

function toBlock(part: Part): JsonObject {
  if (part.kind === "text") return { type: "text", text: part.text };
  if (part.kind === "data") return { type: "text", text: toJson(part.data) };
  const { mediaType, name, content } = part.file;
  const url = "uri" in content ? content.uri : `data:${mediaType};base64,${content.bytes}`;
  if (mediaType.startsWith("image/")) return { type: "image_url", image_url: { url } };
  const named: JsonObject = name === undefined ? {} : { metadata: { filename: name } };
  const where: JsonObject = "uri" in content ? { url } : { data: content.bytes };
  return { type: "file", mimeType: mediaType, ...where, ...named };
}

/** The messages of a state that people and the agent said to each other. `ids` has what clients called theirs. */
export function shownMessages(messages: readonly JsonObject[]): readonly (ShownMessage & { readonly id: Json })[] {
  return messages.flatMap((message) => {
    const role = message.type === "human" ? "user" : message.type === "ai" ? "agent" : undefined;
    const text = textOf(message);
    if (role === undefined || text === "") return [];
    const own = isObject(message.additional_kwargs) ? textIn(message.additional_kwargs[MESSAGE_ID]) : undefined;
    const id = message.id ?? null;
    return [{ id, messageId: own ?? String(id), role, parts: [{ kind: "text", text }] }] as const;
  });
}

/** Where a graph's message keeps what its client called it: as its id it could take the place of another. */
export const MESSAGE_ID = "a2a_message_id";

export function partJson(part: Part, family: Family): JsonObject {
  switch (part.kind) {
    case "text":
      return family === "1.0" ? { text: part.text } : { kind: "text", text: part.text };
    case "data":
      return family === "1.0" ? { data: part.data } : { kind: "data", data: asObject(part.data) };
    case "file": {
      const { mediaType, name, content } = part.file;
      if (family === "1.0") {
        const raw: JsonObject = "bytes" in content ? { raw: content.bytes } : { url: content.uri };
        return { ...raw, mediaType, ...(name === undefined ? {} : { filename: name }) };
      }
      return { kind: "file", file: { ...content, mimeType: mediaType, ...(name === undefined ? {} : { name }) } };
    }
  }
}

/** Version 0.3 has no other data. */
function asObject(data: Json): JsonObject {
  return isObject(data) ? data : { value: data };
}

export function messageJson(
  { messageId, role, parts }: ShownMessage,
  { family, contextId, taskId }: { readonly family: Family; readonly contextId: string; readonly taskId: string },
): JsonObject {
  const shared = { messageId, contextId, taskId, parts: parts.map((part) => partJson(part, family)) };
  return family === "1.0"
    ? { ...shared, role: role === "user" ? "ROLE_USER" : "ROLE_AGENT" }
    : { kind: "message", ...shared, role };
}

/** The answers of a data part `{resume: [{id, value}]}`; undefined where there is none. */
export function answersOf(parts: readonly Part[]): JsonObject | undefined {
  for (const part of parts) {
    if (part.kind !== "data" || !isObject(part.data) || !Array.isArray(part.data.resume)) continue;
    const answers = objectsIn(part.data.resume);
    const isWhole =
      answers.length > 0 && answers.every(({ id, value }) => textIn(id) !== undefined && value !== undefined);
    if (!isWhole || answers.length < part.data.resume.length)
      throw invalidParams("resume: expected a list of {id, value}");
    return Object.fromEntries(answers.map(({ id, value }) => [String(id), value ?? null]));
  }
  return undefined;
}

/** What a message says in words; undefined for one that brings anything else. */
export function wordsOf(parts: readonly Part[]): string | undefined {
  const texts = parts.flatMap((part) => (part.kind === "text" ? [part.text] : []));
  return texts.length === parts.length ? texts.join("\n") : undefined;
}
