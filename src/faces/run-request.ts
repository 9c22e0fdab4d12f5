/** The run that another protocol asks for: what it says, and everything else as a run is by default. Pure. */
import { invalid } from "../core/errors.js";
import { isCommand } from "../core/kit.js";
import { PLAIN_RUN, type RunRequest } from "../runs/draft.js";

/** What only the HTTP request tells: its idempotency key, its trace, and the headers that graphs may see. */
export type RequestHeaders = Pick<RunRequest, "idempotencyKey" | "headerConfigurable" | "traceparent">;

type Asked = Pick<RunRequest, "assistantId"> & Partial<RunRequest>;

/** Throws `validation` for an input that would be obeyed. */
export function runRequest(asked: Asked, headers: RequestHeaders): RunRequest {
  if (isCommand(asked.input ?? null)) throw invalid("a LangGraph Command is no input");
  return { ...PLAIN_RUN, ...headers, ...asked };
}
