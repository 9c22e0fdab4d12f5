/**
 * How graph values are stored: one pass to JSON text and one pass back.
 *
 * - Values that JSON can hold are stored as type `json` and come back from `JSON.parse` alone.
 * - Anything else is stored as type `tagged`: the same JSON in which arrays such as `["~d", 0]` stand for a Date. An array
 *   of the user's own that begins with such a string is escaped, so data can never make itself into an object.
 * - What comes back as an object is a closed list: messages, Send, Command, Date, Map, Set, RegExp, Error, binary data, BigInt,
 *   the numbers that JSON lacks, undefined. Other class instances become plain data, functions and symbols vanish.
 * - What refers to itself, is nested too deeply or has too many parts is refused with an error, before anything is written.
 */
import { types } from "node:util";
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { isMessage, MAX_PARTS } from "../core/json.js";
import { isLongJson, longJsonBytes, textOfUtf8 } from "../core/json-text.js";
import type { MessageClass, MessageKit } from "../core/kit.js";
import { createMessage, type MessageFields, readMessage } from "./serde-messages.js";

export interface Stored {
  readonly type: StoredType;
  /** JSON text, as UTF-8 in memory of its own where it is long; bytes of type `bytes` are the graph's own. */
  readonly data: string | Uint8Array;
}

export type StoredType = "json" | "tagged" | "bytes";

export interface Serde extends SerializerProtocol {
  /** Throws when the value refers to itself, is nested deeper than `MAX_DEPTH` or has more than `MAX_PARTS` parts. */
  dumps(value: unknown): Stored;
  loads(type: string, data: string | Uint8Array): unknown;
}

/** Deeper values are refused: `JSON.stringify` and the reader recurse, and must never exhaust the stack. */
export const MAX_DEPTH = 1_000;

/** From this depth on the encoder looks for cycles; above it they only cost a few repeated levels. */
const CYCLE_CHECK_DEPTH = 64;

/** A serializer whose values come back as the classes of `kit`. */
export function createSerde(kit: MessageKit): Serde {
  const loads = (type: string, data: string | Uint8Array): unknown => {
    switch (type) {
      case "json":
        return JSON.parse(storedText({ data }));
      case "tagged":
        return decode(JSON.parse(storedText({ data })), kit);
      case "bytes":
        return toBytes(data);
      default:
        throw new Error(`stored value of unknown type ${JSON.stringify(type)}`);
    }
  };
  return {
    dumps,
    loads,
    async dumpsTyped(value: unknown) {
      const stored = dumps(value);
      return [stored.type, toBytes(stored.data)];
    },
    async loadsTyped(type: string, data: string | Uint8Array) {
      return loads(type, data);
    },
  };
}

function dumps(value: unknown): Stored {
  if (types.isUint8Array(value)) return { type: "bytes", data: value };
  const encoder = new Encoder();
  try {
    const encoded = encoder.encode(value) ?? null;
    const data = isLongJson(encoder) ? longJsonBytes(encoded, encoder) : JSON.stringify(encoded);
    return { type: encoder.tags === 0 ? "json" : "tagged", data };
  } catch (error) {
    // A caller deep down the stack leaves less of it to recurse on.
    if (error instanceof RangeError && error.message.includes("call stack")) throw tooDeep();
    if (error instanceof RangeError && error.message.includes("string length")) throw tooLarge();
    throw error;
  }
}

/**
 * Turns a value into what `JSON.stringify` writes as it should be read back. Parts that are plain already are returned as
 * they are; `undefined` as a result means that the value vanishes.
 */
class Encoder {
  tags = 0;
  parts = 0;
  /** Of all texts. */
  chars = 0;
  #depth = 0;
  readonly #ancestors = new Set<object>();

  encode(value: unknown): unknown {
    switch (typeof value) {
      case "string":
        this.chars += value.length;
        return value;
      case "boolean":
        return value;
      case "number":
        return Number.isFinite(value) && !Object.is(value, -0) ? value : this.#tag("~n", numberName(value));
      case "object":
        return value === null ? null : this.#encodeObject(value);
      case "undefined":
        return this.#tag("~u");
      case "bigint":
        return this.#tag("~i", value.toString());
      default:
        return undefined;
    }
  }

  #tag(tag: string, ...content: unknown[]): unknown[] {
    for (const item of content) if (typeof item === "string") this.chars += item.length;
    return this.#tagAll(tag, content);
  }

  /** For contents of any length: arguments are limited in number. */
  #tagAll(tag: string, content: readonly unknown[]): unknown[] {
    this.tags++;
    return [tag, ...content];
  }

  #encodeObject(value: object): unknown {
    this.#depth++;
    const watched = this.#depth > CYCLE_CHECK_DEPTH;
    if (watched) this.#enter(value);
    const encoded = this.#encodeByKind(value);
    if (watched) this.#ancestors.delete(value);
    this.#depth--;
    return encoded;
  }

  #enter(value: object): void {
    if (this.#ancestors.has(value)) {
      throw new TypeError("the value refers to itself and cannot be stored in a checkpoint");
    }
    if (this.#depth > MAX_DEPTH) throw tooDeep();
    this.#ancestors.add(value);
  }

  /** Parts that refer to each other often enough would be walked for ever. */
  #count(parts: number): void {
    this.parts += parts;
    if (this.parts > MAX_PARTS) throw tooLarge();
  }

  #encodeByKind(value: object): unknown {
    if (Array.isArray(value)) return this.#encodeArray(value);
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) return this.#encodeRecord(value);
    return this.#encodeInstance(value);
  }

  #encodeArray(items: readonly unknown[]): unknown[] {
    if (isTag(items[0])) return this.#tagAll("~a", this.#encodeItems(items));
    return this.#encodeItems(items);
  }

  #encodeItems(items: readonly unknown[]): unknown[] {
    this.#count(items.length);
    let copy: unknown[] | undefined;
    for (let index = 0; index < items.length; index++) {
      const item = items[index];
      const encoded = this.encode(item) ?? null;
      if (copy === undefined && encoded !== item) copy = items.slice(0, index);
      copy?.push(encoded);
    }
    return copy ?? (items as unknown[]); // only read from here on
  }

  #encodeRecord(value: object): unknown {
    const record = value as Record<string, unknown>;
    const keys = Object.keys(record);
    this.#count(keys.length);
    let copy: Record<string, unknown> | undefined;
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index] as string; // index is within bounds
      const item = record[key];
      if (key === "toJSON" && typeof item === "function") return this.encode(item.call(record));
      const encoded = this.encode(item);
      if (copy === undefined) {
        if (encoded === item) continue;
        copy = {};
        for (const earlier of keys.slice(0, index)) setOwn(copy, earlier, record[earlier]);
      }
      if (encoded !== undefined) setOwn(copy, key, encoded);
    }
    return copy ?? record;
  }

  #encodeInstance(value: object): unknown {
    if (isMessage(value)) {
      const message = readMessage(value);
      if (message !== undefined) return this.#encodeMessage(message);
    }
    if (types.isUint8Array(value)) return this.#tag("~b", toBuffer(value).toString("base64"));
    if (types.isAnyArrayBuffer(value)) return this.#tag("~v", "ArrayBuffer", Buffer.from(value).toString("base64"));
    if (ArrayBuffer.isView(value)) return this.#encodeView(value);
    if (types.isDate(value)) return this.#tag("~d", Number.isNaN(value.getTime()) ? null : value.getTime());
    if (types.isMap(value)) return this.#tagAll("~M", this.#encodeItems([...value].flat(1)));
    if (types.isSet(value)) return this.#tagAll("~S", this.#encodeItems([...value]));
    if (types.isRegExp(value)) return this.#tag("~r", value.source, value.flags);
    if (types.isNativeError(value) || value instanceof Error) return this.#encodeError(value);
    if (types.isBoxedPrimitive(value)) return this.encode(value.valueOf());
    if (isNamed(value, "Send")) return this.#encodeSend(value);
    if (isNamed(value, "Command")) return this.#encodeCommand(value);
    if ("toJSON" in value && typeof value.toJSON === "function") return this.encode(value.toJSON());
    return this.#encodeRecord(value);
  }

  #encodeView(view: ArrayBufferView): unknown[] {
    const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
    // A class of its own that extends one of these comes back as that one.
    const name = Object.keys(VIEWS).find((known) => view instanceof (VIEWS[known] as new () => unknown)) ?? "DataView";
    return this.#tag("~v", name, bytes.toString("base64"));
  }

  #encodeMessage(message: { name: MessageClass; fields: MessageFields; extras: Record<string, unknown> }): unknown[] {
    const before = this.tags;
    const content = [this.#encodeRecord(message.fields), this.#encodeRecord(message.extras)];
    // A message without tags inside is by far the most frequent: its reader need not look further.
    return this.#tag(this.tags === before ? "~m" : "~x", message.name, ...content);
  }

  #encodeError(error: Error): unknown[] {
    const content = [String(error.name), String(error.message)];
    return this.#tag("~e", ...content, ...("cause" in error ? [this.encode(error.cause) ?? null] : []));
  }

  #encodeSend(send: { node?: unknown; args?: unknown; timeout?: unknown }): unknown[] {
    return this.#tag("~s", ...this.#encodeItems([send.node, send.args, send.timeout]));
  }

  /** `Command.toJSON` forgets `graph`. */
  #encodeCommand(command: { graph?: unknown; update?: unknown; resume?: unknown; goto?: unknown }): unknown[] {
    return this.#tag("~c", ...this.#encodeItems([command.graph, command.update, command.resume, command.goto]));
  }
}

function decode(value: unknown, kit: MessageKit): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return isTag(value[0]) ? decodeTag(value, kit) : decodeItems(value, kit, 0);
  const record = value as Record<string, unknown>;
  for (const key of Object.keys(record)) {
    const item = record[key];
    if (typeof item !== "object" || item === null) continue;
    const decoded = decode(item, kit);
    // The key is an own property of a parsed object, so that even `__proto__` is only a name here.
    if (decoded !== item) record[key] = decoded;
  }
  return record;
}

function decodeItems(items: unknown[], kit: MessageKit, from: number): unknown[] {
  for (let index = from; index < items.length; index++) {
    const item = items[index];
    if (typeof item === "object" && item !== null) items[index] = decode(item, kit);
  }
  return items;
}

function decodeTag(tagged: unknown[], kit: MessageKit): unknown {
  const tag = tagged[0];
  if (tag === "~m") return reviveMessage(tagged, kit);
  const [, first, second, third, fourth] = decodeItems(tagged, kit, 1);
  switch (tag) {
    case "~x":
      return reviveMessage(tagged, kit);
    case "~u":
      return undefined;
    case "~a":
      return tagged.slice(1);
    case "~n":
      return Number(first);
    case "~i":
      return BigInt(first as string);
    case "~b":
      return toBytes(Buffer.from(first as string, "base64"));
    case "~v":
      return reviveBinary(first as string, Buffer.from(second as string, "base64"));
    case "~d":
      return new Date((first as number | null) ?? Number.NaN);
    case "~M":
      return reviveMap(tagged);
    case "~S":
      return new Set(tagged.slice(1));
    case "~r":
      return new RegExp(first as string, second as string);
    case "~e":
      return reviveError(tagged);
    case "~s":
      return Object.assign(new kit.Send(first as string, null), { args: second, timeout: third });
    case "~c":
      return reviveCommand({ graph: first, update: second, resume: third, goto: fourth }, kit);
    default:
      throw new Error(`stored value with unknown tag ${JSON.stringify(tag)}`);
  }
}

function reviveMessage(tagged: readonly unknown[], kit: MessageKit): object {
  const [, name, fields, extras] = tagged;
  return createMessage(kit, name as MessageClass, fields as MessageFields, extras as Record<string, unknown>);
}

/** Views of more than bytes; those of bytes have a tag of their own. */
const VIEWS: Readonly<Record<string, new (buffer: ArrayBuffer) => ArrayBufferView>> = {
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
};

function reviveBinary(name: string, bytes: Buffer): unknown {
  const buffer = Uint8Array.from(bytes).buffer; // of its own: small Buffers share one
  const View = VIEWS[name];
  return View === undefined ? buffer : new View(buffer);
}

function reviveMap(tagged: readonly unknown[]): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>();
  for (let index = 1; index < tagged.length; index += 2) map.set(tagged[index], tagged[index + 1]);
  return map;
}

function reviveError([, name, message, ...cause]: readonly unknown[]): Error {
  const error = new Error(message as string, cause.length > 0 ? { cause: cause[0] } : {});
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  Object.defineProperty(error, "stack", { value: `${name}: ${message}`, configurable: true, writable: true });
  return error;
}

/** The constructor rewrites nested plain data that looks like a Send, so the stored members are put back as they were. */
function reviveCommand(members: Record<string, unknown>, kit: MessageKit): object {
  return Object.assign(new kit.Command(members), members);
}

function isTag(value: unknown): boolean {
  return typeof value === "string" && value.charCodeAt(0) === 126; // "~"
}

function isNamed(value: object, name: string): boolean {
  return "lg_name" in value && value.lg_name === name;
}

function numberName(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    target[key] = value;
  }
}

function tooDeep(): TypeError {
  return new TypeError(`the value is nested deeper than ${MAX_DEPTH} levels and cannot be stored in a checkpoint`);
}

function tooLarge(): TypeError {
  return new TypeError(
    `the value has more than ${MAX_PARTS} parts or too long a text and cannot be stored in a checkpoint`,
  );
}

/** JSON text, which is read as bytes where it is long. */
export function storedText({ data }: Pick<Stored, "data">): string {
  return typeof data === "string" ? data : textOfUtf8(toBuffer(data));
}

function toBytes(data: string | Uint8Array): Uint8Array {
  if (typeof data === "string") return new Uint8Array(Buffer.from(data, "utf8"));
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
