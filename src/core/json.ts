/**
 * Any value → JSON as the wire shows it. Total: whatever a graph returns, this neither throws nor loses the run.
 *
 * - LangChain messages become the flat dict `{type, content, id, …}`, never constructor objects.
 * - BigInt → decimal string; NaN and infinities → null; Map → object (entries when a key is no string); Set → array;
 *   Date → ISO string; bytes → base64; Error → `{error, message}`; functions, symbols and undefined vanish as in JSON.
 * - What refers to itself → "[circular]"; deeper than 1,000 levels → "[too deep]"; a throwing getter → "[unreadable]".
 * - NUL and lone surrogates travel as `\u` escapes, so a value is one line whatever it holds.
 */
import { describeError } from "./errors.js";
import type { Json } from "./model.js";

const MAX_DEPTH = 1_000;

/** Serialises to one line of JSON; `undefined` becomes `null`. */
export function toJson(value: unknown): string {
  return JSON.stringify(toPlain(value)) ?? "null";
}

/** The same as plain data. Shares what is plain already; never changes its argument. */
export function toPlain(value: unknown): Json {
  const plain = walk(value, []);
  return plain === undefined ? null : plain;
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

/** `undefined` means: leave it out. `ancestors` are the objects that contain `value`. */
function walk(value: unknown, ancestors: object[]): Json | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : null;
    case "bigint":
      return value.toString();
    case "object":
      return value === null ? null : walkObject(value, ancestors);
    default:
      return undefined;
  }
}

function walkObject(value: object, ancestors: object[]): Json | undefined {
  if (ancestors.includes(value)) return "[circular]";
  if (ancestors.length >= MAX_DEPTH) return "[too deep]";
  ancestors.push(value);
  try {
    if (Array.isArray(value)) return walkArray(value, ancestors);
    const replacement = replace(value);
    return replacement === value ? walkRecord(value, ancestors) : walk(replacement, ancestors);
  } catch {
    return "[unreadable]";
  } finally {
    ancestors.pop();
  }
}

function walkArray(value: readonly unknown[], ancestors: object[]): Json {
  let copy: Json[] | undefined;
  for (let index = 0; index < value.length; index++) {
    const item = value[index];
    const plain = walk(item, ancestors) ?? null;
    if (copy === undefined && plain !== item) copy = value.slice(0, index) as Json[]; // all before were plain
    copy?.push(plain);
  }
  return copy ?? (value as readonly Json[]); // every item was plain
}

function walkRecord(value: object, ancestors: object[]): Json {
  const entries: [string, Json][] = [];
  let changed = false;
  for (const [key, item] of Object.entries(value)) {
    const plain = walk(item, ancestors);
    if (plain !== item) changed = true;
    if (plain !== undefined) entries.push([key, plain]);
  }
  return changed ? Object.fromEntries(entries) : (value as { readonly [key: string]: Json }); // every member was plain
}

/** What stands for an object that JSON has no word for; the object itself when its own members do. */
function replace(value: object): unknown {
  if (isMessage(value)) return flattenMessage(value);
  if (value instanceof Map) return replaceMap(value);
  if (value instanceof Set) return [...value];
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Error) return describeError(value);
  if (value instanceof RegExp) return String(value);
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if ("toJSON" in value && typeof value.toJSON === "function") return value.toJSON();
  return value;
}

function replaceMap(map: ReadonlyMap<unknown, unknown>): unknown {
  const entries = [...map];
  return entries.every(([key]) => typeof key === "string") ? Object.fromEntries(entries) : entries;
}
