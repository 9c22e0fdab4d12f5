/**
 * Expected failures. A `GatewayError` says what failed, which, and what to do; `api/errors.ts` alone turns its code into
 * an HTTP status. Anything else that is thrown is a bug and reaches clients only as `internal`.
 */
import type { JsonObject } from "./model.js";

export type ErrorCode =
  | "bad_request"
  | "not_found"
  | "conflict"
  | "thread_busy"
  | "validation"
  | "unsupported"
  | "too_large"
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

/** A known option that heddle does not support: refused, never ignored. */
export function unsupported(option: string, why: string): GatewayError {
  return new GatewayError("unsupported", `${option} is not supported: ${why}`, { option });
}

const MAX_ERROR_MESSAGE_CHARS = 8_000;

/** Turns anything that user code can throw into `{error, message}`; total, bounded, never throws. */
export function describeError(thrown: unknown): { readonly error: string; readonly message: string } {
  try {
    if (thrown instanceof Error || isErrorLike(thrown)) {
      return { error: bounded(String(thrown.name || "Error")), message: bounded(String(thrown.message)) };
    }
    if (typeof thrown === "object" && thrown !== null) {
      return { error: "Error", message: bounded(JSON.stringify(thrown) ?? String(thrown)) };
    }
    return { error: "Error", message: bounded(String(thrown)) };
  } catch {
    return { error: "Error", message: "the thrown value cannot be described" };
  }
}

function isErrorLike(value: unknown): value is { name: unknown; message: unknown } {
  return typeof value === "object" && value !== null && "message" in value && "name" in value;
}

function bounded(text: string): string {
  return text.length <= MAX_ERROR_MESSAGE_CHARS ? text : `${text.slice(0, MAX_ERROR_MESSAGE_CHARS)}…`;
}
