/** A run request as the API hands it to the manager. */
import { PLAIN_RUN, type RunRequest } from "../../src/runs/draft.js";

export function runRequest(request: Partial<RunRequest> = {}): RunRequest {
  return { assistantId: "a1", ...PLAIN_RUN, idempotencyKey: null, headerConfigurable: {}, ...request };
}
