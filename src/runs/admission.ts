/** What the store is asked to do for a request: which thread, whose idempotency key, and the pure decision. */
import { notFound } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { Assistant, MultitaskStrategy } from "../core/model.js";
import type { AdmitRequest } from "../storage/storage.js";
import { draftRun, type RunRequest } from "./draft.js";
import { requestHash } from "./idempotency.js";
import { decideMultitask, type MultitaskRules } from "./multitask.js";

export interface AdmissionOptions extends MultitaskRules {
  readonly defaultMultitaskStrategy: MultitaskStrategy;
}

/** `threadId` null: on a thread of its own, which goes with the run unless the request keeps it. */
export function admissionOf(
  threadId: string | null,
  request: RunRequest,
  context: {
    readonly assistant: Assistant;
    readonly now: number;
    readonly claim: AdmitRequest["claim"];
    readonly options: AdmissionOptions;
  },
): AdmitRequest {
  const { assistant, now, claim, options } = context;
  const temporary = threadId === null && request.onCompletion === "delete";
  const newThread = { threadId: threadId ?? newId(), metadata: {}, ttl: null };
  const mayCreate = threadId === null || request.ifNotExists === "create";
  const strategy = request.multitaskStrategy ?? options.defaultMultitaskStrategy;
  const key = request.idempotencyKey;
  return {
    threadId: newThread.threadId,
    createThread: mayCreate ? newThread : null,
    claim,
    idempotency: key === null ? null : { key, requestHash: requestHash(threadId, request) },
    decide(found, inFlight) {
      if (found === undefined && !mayCreate) return { kind: "refuse", error: notFound("thread", newThread.threadId) };
      const decision = decideMultitask(strategy, inFlight, options);
      if (decision.kind === "refuse") return decision;
      const thread = found ?? { ...newThread, config: {}, interrupts: {} };
      const run = draftRun(request, { assistant, thread, inFlight, strategy, temporary, now });
      return { kind: "insert", run, cancelInFlight: decision.cancel };
    },
  };
}
