/** A run request as the API hands it to the manager. */
import type { RunRequest } from "../../src/runs/draft.js";

export function runRequest(request: Partial<RunRequest> = {}): RunRequest {
  return {
    assistantId: "a1",
    input: null,
    command: null,
    metadata: {},
    config: {},
    context: null,
    checkpoint: null,
    streamModes: ["values"],
    subgraphs: false,
    resumable: false,
    interruptBefore: null,
    interruptAfter: null,
    durability: "async",
    multitaskStrategy: undefined,
    ifNotExists: "reject",
    afterSeconds: 0,
    onDisconnect: "continue",
    onCompletion: "delete",
    idempotencyKey: null,
    headerConfigurable: {},
    ...request,
  };
}
