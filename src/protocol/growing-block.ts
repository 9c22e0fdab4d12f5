/** One block of a message while it streams: what it says so far, and the events that tell it. */
import type { Json, JsonObject } from "../core/model.js";
import { type ContentBlock, isObject } from "./json-object.js";
import { MEDIA_TYPES } from "./media-blocks.js";
import { areWhole, finishedBlock } from "./tool-blocks.js";

export interface GrowingBlock {
  readonly type: string;
  readonly place: string | undefined;
  readonly id: Json | undefined;
  /** Takes a piece. */
  add(piece: ContentBlock): Growth;
  /** Takes more of its text. */
  append(text: string): void;
  /** The block begins, with all that it says so far. */
  start(index: number): readonly JsonObject[];
  /** A piece that was added after the start; nothing when it says nothing new. */
  delta(index: number, growth: Growth): readonly JsonObject[];
  finish(index: number): JsonObject;
  /** Whether all can have been said. Nothing tells that a text ends but what follows. */
  readonly isWhole: boolean;
}

/** What a piece brought: text at the end, and other members as they are now. */
export interface Growth {
  readonly text: string;
  readonly members: JsonObject | undefined;
}

export function createGrowingBlock(type: string, place: string | undefined): GrowingBlock {
  const key = textKeyOf(type);
  const isCall = CALL_TYPES.has(type);
  const members: Record<string, Json> = {};
  let text = "";

  function deltas(index: number, growth: Growth): readonly JsonObject[] {
    const changes = isCall ? callChange(growth) : growth.members;
    const events: JsonObject[] = [];
    if (growth.text !== "" && !isCall) events.push(delta(index, textDelta(type, growth.text)));
    if (changes !== undefined) events.push(delta(index, { type: "block-delta", fields: { type, ...changes } }));
    return events;
  }

  /** Clients replace the arguments that they have, so all of them are told. */
  function callChange(growth: Growth): JsonObject | undefined {
    return growth.text === "" && growth.members === undefined ? undefined : { ...members, args: text };
  }

  return {
    type,
    place,
    get id() {
      return members.id;
    },
    get isWhole() {
      return !isCall || areWhole(text);
    },

    add(piece) {
      let changed: Record<string, Json> | undefined;
      let added = "";
      for (const [name, value] of Object.entries(piece)) {
        if (name === "type") continue;
        if (name === key) {
          if (typeof value === "string") added = value;
          continue;
        }
        const now = merged(name, members[name], value);
        if (now === members[name]) continue;
        members[name] = now;
        changed ??= {};
        changed[name] = now;
      }
      text += added;
      return { text: added, members: changed };
    },

    append(more) {
      text += more;
    },

    start(index) {
      const isMedia = MEDIA_TYPES.has(type);
      const content = { type, ...members, ...(key === undefined || isMedia ? {} : { [key]: "" }) };
      return [{ event: "content-block-start", index, content }, ...deltas(index, { text, members: undefined })];
    },

    delta: deltas,

    finish(index) {
      const isSilent = key === undefined || (MEDIA_TYPES.has(type) && text === "");
      const content = finishedBlock({ type, ...members, ...(isSilent ? {} : { [key]: text }) });
      return { event: "content-block-finish", index, content };
    },
  };
}

export const CALL_TYPES: ReadonlySet<string> = new Set(["tool_call_chunk", "server_tool_call_chunk"]);

/** The member that pieces add text to. */
function textKeyOf(type: string): string | undefined {
  if (type === "text" || type === "reasoning") return type;
  if (CALL_TYPES.has(type)) return "args";
  return MEDIA_TYPES.has(type) ? "base64" : undefined;
}

function delta(index: number, change: JsonObject): JsonObject {
  return { event: "content-block-delta", index, delta: change };
}

function textDelta(type: string, text: string): JsonObject {
  if (type === "text") return { type: "text-delta", text };
  if (type === "reasoning") return { type: "reasoning-delta", reasoning: text };
  return { type: "data-delta", data: text, encoding: "base64" };
}

/** As LangChain merges chunks: texts grow, lists too, and what names something does not. */
function merged(name: string, before: Json | undefined, next: Json): Json {
  if (before === undefined || before === null) return next;
  if (next === null || next === "") return before;
  if (typeof before === "string" && typeof next === "string") {
    if (KEPT_NAMES.has(name)) return before;
    return REPLACED_NAMES.has(name) ? next : before + next;
  }
  if (Array.isArray(before) && Array.isArray(next)) return next.length === 0 ? before : [...before, ...next];
  if (!isObject(before) || !isObject(next)) return next;
  const both: Record<string, Json> = { ...before };
  for (const [member, value] of Object.entries(next)) both[member] = merged(member, both[member], value);
  return both;
}

const KEPT_NAMES: ReadonlySet<string> = new Set(["type", "mime_type"]);
const REPLACED_NAMES: ReadonlySet<string> = new Set(["id", "name", "url", "file_id", "filename", "status"]);
