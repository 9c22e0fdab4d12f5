/** What the store is asked to do for a request: which thread, whose idempotency key, and the pure decision. */
import { notFound } from "../core/errors.js";
import type { Assistant, MultitaskStrategy, User } from "../core/model.js";
import type { AdmitRequest } from "../storage/ports/runs.js";
import type { NewThread } from "../storage/ports/threads.js";
import { draftRun, type RunRequest } from "./draft.js";
import { requestHash } from "./idempotency.js";
import { decideMultitask, type MultitaskRules } from "./multitask.js";

export interface AdmissionOptions extends MultitaskRules {
  /** Of one caller's runs, on whatever thread; null: no limit. */
  readonly maxInFlightPerCaller: number | null;
  readonly maxPendingPerCaller: number | null;
  readonly defaultMultitaskStrategy: MultitaskStrategy;
  /** Whether what event streaming needs is recorded of every run, or only of those that it started. */
  readonly recordAll: boolean;
  /** Of threads that are made for runs and outlive them. */
  readonly defaultTtl: NewThread["ttl"];
}

/** For how long a thread that was made for a run waits for an answer. */
const PAUSED_TTL = { strategy: "delete", ttlMinutes: 60 } as const;

export interface AdmissionContext {
  readonly threadId: string;
  readonly runId: string;
  /** The thread is made for the run, and goes with it unless the request keeps it. */
  readonly isOwnThread: boolean;
  readonly user: User | null;
  /** What was asked for, before the authorisation changed anything: a repeated request asks for the same. */
  readonly asked: RunRequest;
  readonly assistant: Assistant;
  readonly now: number;
  readonly claim: AdmitRequest["claim"];
  /** The cron that fires it. */
  readonly cronId: string | null;
  readonly options: AdmissionOptions;
}

export function admissionOf(request: RunRequest, context: AdmissionContext): AdmitRequest {
  const { threadId, runId, isOwnThread, user, asked, assistant, now, claim, cronId, options } = context;
  const temporary = isOwnThread && request.onCompletion !== "keep";
  const waiting = request.onCompletion === "delete_unless_paused" ? PAUSED_TTL : null;
  const newThread = { threadId, metadata: request.metadata, ttl: temporary ? waiting : options.defaultTtl };
  const mayCreate = isOwnThread || request.ifNotExists === "create";
  const strategy = request.multitaskStrategy ?? options.defaultMultitaskStrategy;
  const { idempotencyKey: key } = asked;
  return {
    threadId,
    createThread: mayCreate ? newThread : null,
    claim,
    ownerLimits: user === null ? null : limitsOf(user, options),
    idempotency:
      key === null
        ? null
        : { owner: user?.identity ?? "", key, requestHash: requestHash(isOwnThread ? null : threadId, asked) },
    decide(found, inFlight) {
      if (found === undefined && !mayCreate) return { kind: "refuse", error: notFound("thread", threadId) };
      const decision = decideMultitask(strategy, inFlight, options);
      if (decision.kind === "refuse") return decision;
      const thread = found ?? { ...newThread, config: {}, interrupts: {} };
      const run = draftRun(request, {
        runId,
        user,
        assistant,
        thread,
        inFlight,
        strategy,
        temporary,
        now,
        recordAll: options.recordAll,
        cronId,
      });
      return { kind: "insert", run, cancelInFlight: decision.cancel };
    },
  };
}

function limitsOf(
  { identity: owner }: User,
  { maxInFlightPerCaller: inFlight, maxPendingPerCaller: pending }: AdmissionOptions,
): AdmitRequest["ownerLimits"] {
  return inFlight === null && pending === null ? null : { owner, inFlight, pending };
}
