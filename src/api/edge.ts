/**
 * The edge: what no request body may be, whatever its route, before any schema sees it.
 *
 * 1. Its depth and size are counted in the text. A parsed value takes many times the room of its text, and parsing deep
 *    nesting stops the process for seconds.
 * 2. Then one pass over the parsed value refuses what code behind the edge could mistake for something else than data:
 *    ways to an object's prototype, records that LangChain and LangGraph turn into objects, numbers that JSON loses,
 *    names that no database keeps.
 *
 * Values are never changed here: docs/data.md says what becomes of odd ones.
 */
import { badRequest, invalid } from "../core/errors.js";
import { isStorable } from "../core/items.js";
import { isMessageClass } from "../core/kit.js";

const MAX_DEPTH = 200;
/** Members of objects and items of lists, all together; an empty object or list counts as one. */
const MAX_VALUES = 200_000;

/** Throws `bad_request` for text that is no JSON and `validation` for what the edge refuses; an absent body is `{}`. */
export function parseJsonBody(text: string): unknown {
  if (text.trim() === "") return {}; // several clients send none where every member is optional
  refuseHugeShape(text);
  const value = parse(text);
  refuseHostileParts(value);
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as SyntaxError).message}`); // all that JSON.parse throws
  }
}

const QUOTE = 34;
const COMMA = 44;
const BACKSLASH = 92;
const OPENING: ReadonlySet<number> = new Set([91, 123]);
const CLOSING: ReadonlySet<number> = new Set([93, 125]);

function refuseHugeShape(text: string): void {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
    } else if (code === COMMA) {
      values++;
    } else if (OPENING.has(code)) {
      values++;
      depth++;
      if (depth > MAX_DEPTH) throw invalid(`the body is nested deeper than ${MAX_DEPTH} levels`);
    } else if (CLOSING.has(code)) {
      depth--;
    }
    if (values > MAX_VALUES) throw invalid(`the body has more than ${MAX_VALUES} members and items`);
  }
}

/** Where the string that begins at `start` ends; the end of the text when it does not. */
function endOfString(text: string, start: number): number {
  let end = start;
  do {
    end = text.indexOf('"', end + 1);
    if (end === -1) return text.length;
  } while (isEscaped(text, end));
  return end;
}

function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (text.charCodeAt(first - 1) === BACKSLASH) first--;
  return (at - first) % 2 === 1;
}

function refuseHostileParts(root: unknown): void {
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "number" && !Number.isFinite(value)) throw invalid("the body has a number beyond 1.8e308");
    if (typeof value !== "object" || value === null) continue;
    if (Array.isArray(value)) {
      for (const item of value) open.push(item);
      continue;
    }
    const record = value as JsonRecord; // JSON.parse makes nothing else
    refuseRecord(record);
    for (const key of Object.keys(record)) {
      refuseKey(key);
      open.push(record[key]);
    }
  }
}

type JsonRecord = Readonly<Record<string, unknown>>;

function refuseKey(key: string): void {
  if (key === "__proto__") throw invalid('the body has a member "__proto__"');
  if (!isStorable(key)) {
    throw invalid(`the body has a member ${JSON.stringify(key)}, whose name contains NUL or half a surrogate pair`);
  }
}

function refuseRecord(record: JsonRecord): void {
  const { constructor: made, lc } = record;
  if (Object.hasOwn(record, "constructor") && isRecord(made) && isRecord(own(made, "prototype"))) {
    throw invalid('the body has a member "constructor" with a "prototype"');
  }
  if ((lc === 1 || lc === 2) && typeof record.type === "string" && !isSerializedMessage(record)) {
    throw invalid(`the body has a serialized LangChain object (lc ${lc}) that is not a message`);
  }
}

/** How `JSON.stringify` writes `new HumanMessage("…")`: clients send them as input. */
function isSerializedMessage({ lc, type, id, kwargs }: JsonRecord): boolean {
  if (lc !== 1 || type !== "constructor" || !Array.isArray(id) || !isRecord(kwargs)) return false;
  const path: readonly unknown[] = id;
  return PACKAGES.has(path[0]) && path.at(-2) === "messages" && isMessageClass(path.at(-1));
}

/** The first parts of ids that the LangChains of JavaScript and of Python give. */
const PACKAGES: ReadonlySet<unknown> = new Set(["langchain_core", "langchain"]);

function own(record: JsonRecord, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
