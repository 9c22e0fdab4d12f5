/**
 * Any value → JSON as the wire shows it. Total: whatever a graph returns, this neither throws nor loses the run.
 *
 * - LangChain messages become the flat dict `{type, content, id, …}`, never constructor objects.
 * - BigInt → decimal string; NaN and infinities → null; Map → object (entries when a key is no string); Set → array;
 *   Date → ISO string; bytes → base64; Error → `{error, message}`; functions, symbols and undefined vanish as in JSON.
 * - What refers to itself → "[circular]"; deeper than 1,000 levels → "[too deep]"; a throwing getter → "[unreadable]";
 *   of more than 10 million parts, or more text than a string can hold → the whole is "[too large]".
 * - NUL and lone surrogates travel as `\u` escapes, so a value is one line whatever it holds.
 */
import { types } from "node:util";
import { describeError } from "./errors.js";
import { isLongJson, type JsonSize, longJson, OutOfMemoryError } from "./json-text.js";
import type { Json } from "./model.js";

const MAX_DEPTH = 1_000;

/** A value whose parts refer to each other often enough would be walked for ever: it has as many parts as ways lead to them. */
export const MAX_PARTS = 10_000_000;

/** Serialises to one line of JSON; `undefined` becomes `null`. Throws only an `OutOfMemoryError`. */
export function toJson(value: unknown): string {
  const { plain, size } = measured(value);
  try {
    return isLongJson(size) ? longJson(plain, size) : JSON.stringify(plain);
  } catch (error) {
    if (error instanceof OutOfMemoryError) throw error;
    // Longer than a string can be, or a getter that says something else when it is asked again.
    return error instanceof RangeError ? '"[too large]"' : '"[unreadable]"';
  }
}

/** The same as plain data. Shares what is plain already; never changes its argument. */
export function toPlain(value: unknown): Json {
  return measured(value).plain;
}

function measured(value: unknown): { readonly plain: Json; readonly size: JsonSize } {
  const state: Walk = { ancestors: [], parts: 0, chars: 0 };
  try {
    const plain = walk(value, state);
    return { plain: plain === undefined ? null : plain, size: state };
  } catch (error) {
    if (error instanceof TooManyParts) return { plain: "[too large]", size: { parts: 0, chars: 0 } };
    throw error;
  }
}

interface Walk {
  /** The objects that contain what is walked now. */
  readonly ancestors: object[];
  /** Those that were walked so far. */
  parts: number;
  /** Of all texts so far. */
  chars: number;
}

class TooManyParts extends Error {}

function count(walk: Walk, parts: number): void {
  walk.parts += parts;
  if (walk.parts > MAX_PARTS) throw new TooManyParts();
}

/** A LangChain message of any copy of `@langchain/core`. */
export interface MessageLike {
  readonly content: unknown;
  readonly type: string;
  readonly id?: string;
}

export function isMessage(value: unknown): value is MessageLike {
  return (
    typeof value === "object" &&
    value !== null &&
    "content" in value &&
    ("getType" in value || "_getType" in value) &&
    "lc_kwargs" in value
  );
}

const MESSAGE_FIELDS = [
  "content",
  "additional_kwargs",
  "response_metadata",
  "id",
  "name",
  "tool_calls",
  "invalid_tool_calls",
  "usage_metadata",
  "tool_call_chunks",
  "tool_call_id",
  "status",
  "artifact",
  "role",
] as const;

/** The flat dict of a message, its fields still unserialised. */
export function flattenMessage(message: MessageLike): Record<string, unknown> {
  const flat: Record<string, unknown> = { type: message.type };
  const fields = message as unknown as Record<string, unknown>; // read only, and what is undefined is left out
  for (const name of MESSAGE_FIELDS) {
    if (fields[name] !== undefined) flat[name] = fields[name];
  }
  return flat;
}

/** `undefined` means: leave it out. */
function walk(value: unknown, state: Walk): Json | undefined {
  switch (typeof value) {
    case "string":
      state.chars += value.length;
      return value;
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : null;
    case "bigint":
      return value.toString();
    case "object":
      return value === null ? null : walkObject(value, state);
    default:
      return undefined;
  }
}

function walkObject(value: object, state: Walk): Json | undefined {
  const { ancestors } = state;
  if (ancestors.includes(value)) return "[circular]";
  if (ancestors.length >= MAX_DEPTH) return "[too deep]";
  ancestors.push(value);
  try {
    if (Array.isArray(value)) return walkArray(value, state);
    if (isRecord(value)) return walkRecord(value, state, "shared");
    const replacement = replace(value);
    return replacement === value ? walkRecord(value, state, "copied") : walk(replacement, state);
  } catch (error) {
    if (error instanceof TooManyParts) throw error;
    return "[unreadable]";
  } finally {
    ancestors.pop();
  }
}

function walkArray(value: readonly unknown[], state: Walk): Json {
  count(state, value.length);
  let copy: Json[] | undefined = "toJSON" in value ? [] : undefined; // JSON would ask it
  for (let index = 0; index < value.length; index++) {
    const item = value[index];
    const plain = walk(item, state) ?? null;
    if (copy === undefined && plain !== item) copy = value.slice(0, index) as Json[]; // all before were plain
    copy?.push(plain);
  }
  return copy ?? (value as readonly Json[]); // every item was plain
}

/** `shared`: the object itself when every member is plain. Instances are copied: JSON sees more in some than their members. */
function walkRecord(value: object, state: Walk, whenPlain: "shared" | "copied"): Json {
  const members = Object.entries(value);
  count(state, members.length);
  const entries: [string, Json][] = [];
  let changed = whenPlain === "copied";
  for (const [key, item] of members) {
    const plain = walk(item, state);
    if (plain !== item) changed = true;
    if (plain !== undefined) entries.push([key, plain]);
  }
  return changed ? Object.fromEntries(entries) : (value as { readonly [key: string]: Json }); // every member was plain
}

/** Of no class, and without a word of its own on how JSON shows it: the most frequent kind by far. */
function isRecord(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return (prototype === Object.prototype || prototype === null) && !("toJSON" in value);
}

/** What stands for an object that JSON has no word for; the object itself when its own members do. */
function replace(value: object): unknown {
  if (isMessage(value)) return flattenMessage(value);
  if (value instanceof Map) return replaceMap(value);
  if (value instanceof Set) return [...value];
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Error) return describeError({ name: String(value.name), message: String(value.message) });
  if (types.isBoxedPrimitive(value)) return value.valueOf();
  if (value instanceof RegExp) return String(value);
  if (types.isAnyArrayBuffer(value)) return Buffer.from(value).toString("base64");
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if ("toJSON" in value && typeof value.toJSON === "function") return value.toJSON();
  return value;
}

function replaceMap(map: ReadonlyMap<unknown, unknown>): unknown {
  const entries = [...map];
  return entries.every(([key]) => typeof key === "string") ? Object.fromEntries(entries) : entries;
}
