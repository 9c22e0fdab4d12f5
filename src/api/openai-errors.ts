/** heddle's errors in OpenAI's shape: `{"error": {message, type, code, param}}`. */
import type { Json } from "../core/model.js";
import type { ErrorBody, ErrorShape } from "./errors.js";
import { openAiError } from "./openai-schemas.js";

export const openAiErrors: ErrorShape = {
  schema: openAiError,
  render({ status: ownStatus, body }) {
    const status = ownStatus === 422 ? 400 : ownStatus;
    const error = { message: body.detail, type: typeOf(status), code: codeOf(body), param: paramOf(body) };
    // Clients repeat what was answered with 409 and 503: that helps against a thread that is busy, and before a run was made.
    const isFinal = (status === 409 && body.code !== "thread_busy") || body.run_id !== undefined;
    return { status, body: { error }, headers: isFinal ? NO_RETRY : {} };
  },
};

/** Obeyed by OpenAI's clients. */
export const NO_RETRY = { "x-should-retry": "false" } as const;

function typeOf(status: number): string {
  if (status >= 500 && status !== 503) return "server_error";
  return TYPES.get(status) ?? "invalid_request_error";
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [401, "authentication_error"],
  [403, "permission_error"],
  [404, "not_found_error"],
  [409, "conflict_error"],
  [429, "rate_limit_error"],
  [503, "overloaded_error"],
]);

function codeOf({ code, reason, option }: ErrorBody): Json {
  if (reason !== undefined) return reason;
  return code === "not_found" && option === "model" ? "model_not_found" : code;
}

/** The member of the request that is wrong. */
function paramOf({ detail, option }: ErrorBody): string | null {
  if (typeof option === "string") return option;
  return /^body\.([^:\s]+): /.exec(detail)?.[1] ?? null;
}
