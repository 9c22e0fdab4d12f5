/** Where errors become HTTP: the only place that knows status codes of error codes. */
import type { z } from "zod";
import { type ErrorCode, GatewayError, RefusedError } from "../core/errors.js";
import type { JsonObject } from "../core/model.js";

const STATUS: Record<ErrorCode, number> = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  thread_busy: 409,
  events_trimmed: 410,
  too_large: 413,
  unsupported_media_type: 415,
  validation: 422,
  unsupported: 422,
  too_many_requests: 429,
  not_implemented: 501,
  unavailable: 503,
};

export interface ErrorAnswer {
  readonly status: number;
  readonly body: ErrorBody;
  readonly headers?: Readonly<Record<string, string>>;
}

/** With what the error's details say besides. */
export interface ErrorBody extends JsonObject {
  readonly detail: string;
  readonly code: string;
}

/** How the routes of another protocol tell errors. */
export interface ErrorShape {
  readonly schema: z.ZodType;
  readonly render: (answer: ErrorAnswer) => {
    readonly status: number;
    readonly body: JsonObject;
    /** Besides the answer's own. */
    readonly headers?: Readonly<Record<string, string>>;
  };
}

/**
 * The answer for anything thrown while a request was served; `unexpected` marks bugs, whose text stays in the log.
 * `busyStatus` is what a thread that is busy answers with (`compat.reject_status`).
 */
export function answerFor(thrown: unknown, busyStatus: number): ErrorAnswer & { readonly unexpected: boolean } {
  if (thrown instanceof GatewayError) {
    const status = thrown.code === "thread_busy" ? busyStatus : STATUS[thrown.code];
    const headers: Record<string, string> = status === 401 ? { "www-authenticate": "Bearer" } : {};
    if (typeof thrown.details.retry_after === "number") headers["retry-after"] = String(thrown.details.retry_after);
    return {
      status,
      body: { detail: thrown.message, code: thrown.code, ...thrown.details },
      headers,
      unexpected: false,
    };
  }
  if (thrown instanceof RefusedError) {
    const { status, message, headers } = thrown;
    return { status, body: { detail: message, code: "refused" }, headers, unexpected: false };
  }
  return { status: 500, body: { detail: "internal error", code: "internal" }, unexpected: true };
}

/** One readable line for everything that is wrong with a part of a request. */
export function validationError(
  where: string,
  error: z.ZodError,
  code: "validation" | "bad_request" = "validation",
): GatewayError {
  const problems = error.issues.slice(0, 10).map((issue) => {
    const path = [where, ...issue.path.map(String)].join(".");
    return `${path}: ${issue.message}`;
  });
  return new GatewayError(code, problems.join("; "));
}
