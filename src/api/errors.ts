/** Where errors become HTTP: the only place that knows status codes of error codes. */
import type { z } from "zod";
import { type ErrorCode, GatewayError, invalid } from "../core/errors.js";

const STATUS: Record<ErrorCode, number> = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  thread_busy: 409,
  too_large: 413,
  validation: 422,
  unsupported: 422,
  too_many_requests: 429,
  unavailable: 503,
};

export interface ErrorAnswer {
  readonly status: number;
  readonly body: { readonly detail: string; readonly code: string };
}

/**
 * The answer for anything thrown while a request was served; `unexpected` marks bugs, whose text stays in the log.
 * `busyStatus` is what a thread that is busy answers with (`compat.reject_status`).
 */
export function answerFor(thrown: unknown, busyStatus: number): ErrorAnswer & { readonly unexpected: boolean } {
  if (thrown instanceof GatewayError) {
    const status = thrown.code === "thread_busy" ? busyStatus : STATUS[thrown.code];
    return { status, body: { detail: thrown.message, code: thrown.code, ...thrown.details }, unexpected: false };
  }
  return { status: 500, body: { detail: "internal error", code: "internal" }, unexpected: true };
}

/** One readable line for everything that is wrong with a part of a request. */
export function validationError(where: string, error: z.ZodError): GatewayError {
  const problems = error.issues.slice(0, 10).map((issue) => {
    const path = [where, ...issue.path.map(String)].join(".");
    return `${path}: ${issue.message}`;
  });
  return invalid(problems.join("; "));
}
