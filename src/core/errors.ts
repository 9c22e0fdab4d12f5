/**
 * Expected failures. A `GatewayError` says what failed, which, and what to do; `api/errors.ts` alone turns its code into
 * an HTTP status. Anything else that is thrown is a bug and reaches clients only as `internal`.
 */
import { inspect, types } from "node:util";
import type { JsonObject, RunError } from "./model.js";

export type ErrorCode =
  | "bad_request"
  | "not_found"
  | "conflict"
  | "thread_busy"
  | "events_trimmed"
  | "validation"
  | "unsupported"
  | "not_implemented"
  | "too_large"
  | "unsupported_media_type"
  | "unauthenticated"
  | "forbidden"
  | "too_many_requests"
  | "unavailable";

export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: ErrorCode;
  /** Extra members of the error body that a client can act on. */
  readonly details: JsonObject;

  constructor(code: ErrorCode, message: string, details: JsonObject = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** Refused by the application's own authentication or authorisation, in its words and with its status. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  /** From 400 to 599. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>>) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** What the application's code threw to refuse: an `HTTPException` of the SDK or of Hono, told by its shape. */
export function refusalIn(thrown: unknown): RefusedError | undefined {
  if (!(thrown instanceof Error) || !("status" in thrown)) return undefined;
  const { status, message } = thrown;
  if (typeof status !== "number" || !Number.isInteger(status) || status < 400 || status > 599) return undefined;
  const headers = "headers" in thrown && typeof thrown.headers === "object" ? (thrown.headers ?? {}) : {};
  try {
    return new RefusedError(status, message, Object.fromEntries(new Headers(headers as Record<string, string>)));
  } catch {
    return new RefusedError(status, message, {}); // headers that HTTP does not know
  }
}

export function notFound(what: string, id: string): GatewayError {
  return new GatewayError("not_found", `${what} ${JSON.stringify(id)} not found`);
}

export function badRequest(message: string): GatewayError {
  return new GatewayError("bad_request", message);
}

export function invalid(message: string, details?: JsonObject): GatewayError {
  return new GatewayError("validation", message, details);
}

export function conflict(message: string, details?: JsonObject): GatewayError {
  return new GatewayError("conflict", message, details);
}

/** A thread that runs occupy, with the one that a client can wait for or cancel. */
export function threadBusy(
  message: string,
  active: { readonly runId: string; readonly status: string; readonly createdAt: number },
): GatewayError {
  const { runId, status, createdAt } = active;
  return new GatewayError("thread_busy", message, {
    active_run: { run_id: runId, status, created_at: new Date(createdAt).toISOString() },
  });
}

/** Events that are asked for and kept no more; `oldestCursor` is where what is kept begins, null where that is nothing. */
export function eventsTrimmed(message: string, oldestCursor: string | null): GatewayError {
  return new GatewayError("events_trimmed", message, { oldest_cursor: oldestCursor });
}

/** A known option that heddle does not support: refused, never ignored. */
export function unsupported(option: string, why: string): GatewayError {
  return new GatewayError("unsupported", `${option} is not supported: ${why}`, { option });
}

/** What can be asked of others of the kind, and not of this one. */
export function notImplemented(why: string): GatewayError {
  return new GatewayError("not_implemented", why);
}

/** What a name and a message may take as JSON, so that an error body stays below 8 KB whatever it tells of. */
const MAX_NAME_BYTES = 100;
const MAX_MESSAGE_BYTES = 8_000;

/** Turns anything that user code can throw into `{error, message}`; total, bounded, without stacks, never throws. */
export function describeError(thrown: unknown): RunError {
  const name = read(thrown, "name");
  return {
    error: cut(typeof name === "string" && name !== "" ? name : "Error", MAX_NAME_BYTES),
    message: cut(messageOf(thrown), MAX_MESSAGE_BYTES),
  };
}

/** For logs: the stack with those of its causes, bounded; undefined where there is none. Never throws. */
export function stackOf(thrown: unknown): string | undefined {
  const stacks: string[] = [];
  for (let error = thrown; stacks.length < MAX_CAUSES; error = read(error, "cause")) {
    const stack = read(error, "stack");
    if (typeof stack !== "string") break;
    stacks.push(cut(stack, MAX_MESSAGE_BYTES));
  }
  return stacks.length === 0 ? undefined : stacks.join("\ncaused by: ");
}

/** For logs: what Node and SQLite call an error. Never throws. */
export function codeOf(thrown: unknown): string | undefined {
  const code = read(thrown, "code");
  return typeof code === "string" ? cut(code, MAX_NAME_BYTES) : undefined;
}

const MAX_CAUSES = 4;

function messageOf(thrown: unknown): string {
  if (typeof thrown === "string") return thrown;
  const message = read(thrown, "message");
  const isError = types.isNativeError(thrown) || typeof read(thrown, "name") === "string";
  if (!isError || typeof message !== "string") return inspected(thrown);
  return message === "" ? partsOf(thrown) : message;
}

/** What Node leaves to tell where it gives no message: a failed connection has an error for each address. */
function partsOf(thrown: unknown): string {
  const parts = read(thrown, "errors");
  if (!Array.isArray(parts)) return "";
  return parts
    .slice(0, MAX_CAUSES)
    .map((part) => read(part, "message"))
    .filter((text) => typeof text === "string" && text !== "")
    .join("; ");
}

/** One member, if it can be had without harm: getters and Proxies may throw. */
function read(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  try {
    return (value as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

function inspected(value: unknown): string {
  try {
    const text = inspect(value, {
      depth: 3,
      breakLength: Number.POSITIVE_INFINITY,
      customInspect: false,
      maxArrayLength: 20,
      maxStringLength: MAX_MESSAGE_BYTES,
    });
    return text.replaceAll(/\n +at [^\n]*/g, ""); // stacks of errors inside: clients see none
  } catch {
    return "what was thrown cannot be read";
  }
}

/** The beginning of `text` that takes `maxBytes` as JSON. A copy: a slice would keep the whole of it in memory. */
function cut(text: string, maxBytes: number): string {
  if (text.length <= maxBytes && jsonBytes(text) <= maxBytes) return text;
  let kept = text.slice(0, maxBytes);
  for (let bytes = jsonBytes(kept); bytes > maxBytes; bytes = jsonBytes(kept)) {
    kept = kept.slice(0, Math.floor((kept.length * maxBytes) / bytes));
  }
  if (/[\ud800-\udbff]$/.test(kept)) kept = kept.slice(0, -1); // half of a pair
  return `${Buffer.from(kept, "utf16le").toString("utf16le")}…`;
}

function jsonBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}
