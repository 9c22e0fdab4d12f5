/** The port of runs: who executes which, and how each ended. */
import type { CancelAction, Run, RunError, RunStatus, Thread, ThreadProjection } from "../../core/model.js";
import type { CronTick } from "./crons.js";
import type { Page, PageLimits, Scoped } from "./page.js";
import type { NewThread } from "./threads.js";

/** The right of one worker to one execution. */
export interface Lease {
  readonly runId: string;
  readonly threadId: string;
  readonly fence: number;
  readonly workerId: string;
}

export interface InFlightRun {
  readonly runId: string;
  readonly status: RunStatus;
  readonly createdAt: number;
}

/** A run without what may be large: of its payload only whether its thread was made for it, and its webhook. */
export interface BriefRun
  extends Pick<Run, "threadId" | "assistantId" | "attempt" | "fence" | "runAfter" | "cancelAction">,
    InFlightRun {
  readonly payload: Pick<Run["payload"], "temporary" | "webhook">;
}

export interface ListedRun extends Omit<Run, "payload"> {
  /** null where the query did not ask for it. */
  readonly payload: Run["payload"] | null;
}

/** What the pure decision of `runs/multitask.ts` tells the store to do. */
export type Admission =
  | { readonly kind: "insert"; readonly run: NewRun; readonly cancelInFlight: CancelAction | null }
  | { readonly kind: "refuse"; readonly error: Error };

export type NewRun = Omit<
  Run,
  "status" | "attempt" | "fence" | "firstClaim" | "cancelAction" | "error" | "createdAt" | "updatedAt"
>;

export interface OwnerLimits {
  readonly owner: string;
  /** Running and waiting; null: no limit. */
  readonly inFlight: number | null;
  readonly pending: number | null;
}

export interface AdmitRequest {
  readonly threadId: string;
  /** Creates the thread in the same transaction when it does not exist; null: refuse as `decide` says. */
  readonly createThread: NewThread | null;
  /** `owner`: whose key it is; others' keys of the same name are other keys. */
  readonly idempotency: { readonly owner: string; readonly key: string; readonly requestHash: string } | null;
  /** Claims the run in the same transaction when it is due and its thread free: it is `running` when it comes back. */
  readonly claim: { readonly workerId: string; readonly leaseMs: number } | null;
  /** Pure. Sees the locked thread (undefined when missing and not to be created) and its in-flight runs, oldest first. */
  readonly decide: (thread: Thread | undefined, inFlight: readonly InFlightRun[]) => Admission;
  /** Refuses, with `too_many_requests`, what would be more than this of its owner's runs in flight; null: no limit. */
  readonly ownerLimits: OwnerLimits | null;
}

export type AdmitResult =
  | {
      readonly kind: "admitted";
      readonly run: Run;
      /** In-flight runs that now carry a cancel: running ones must be told. */
      /** As they were before the cancel. */
      readonly cancelled: readonly BriefRun[];
    }
  /** The idempotency key was used before: the same run again. */
  | { readonly kind: "repeated"; readonly run: Run };

export interface RunOutcome {
  readonly status: Exclude<RunStatus, "pending" | "running">;
  readonly error: RunError | null;
  /** null: the state did not change (nothing ran). */
  readonly projection: ThreadProjection | null;
  /** The thread was made for this run only: it is marked for deletion in the same transaction. */
  readonly deleteThread: boolean;
}

export const RUN_SELECT = [
  "run_id",
  "thread_id",
  "assistant_id",
  "created_at",
  "updated_at",
  "status",
  "metadata",
  "kwargs",
  "multitask_strategy",
] as const;

/** A run is in the scope that its thread is in. */
export interface RunStore extends Scoped<RunStore> {
  /**
   * Locks the thread, asks `decide`, inserts, commits: the one way a run comes to exist. Throws what `decide` refuses with,
   * and `not_found` for a thread out of sight.
   */
  admit(request: AdmitRequest): Promise<AdmitResult>;
  /**
   * The same for the tick of a cron, and in the same transaction the cron moves on. undefined, and no run, when the tick is
   * not due or was fired before.
   */
  fire(tick: CronTick, request: AdmitRequest): Promise<AdmitResult | undefined>;
  /**
   * The oldest due run of a free thread becomes `running`, with a new fence and the thread's next claim number; undefined
   * when there is none. One that was claimed before goes ahead of all others of its thread.
   */
  claim(workerId: string, leaseMs: number): Promise<Run | undefined>;
  /** Extends the lease; `held: false` means ownership was lost. `cancel` is a cancel that was requested meanwhile. */
  renew(lease: Lease, leaseMs: number): Promise<{ readonly held: boolean; readonly cancel: CancelAction | null }>;
  /**
   * Ends the run, updates its thread and writes its webhook to the outbox in one transaction. False, and nothing changed, when the lease was lost, or when a
   * cancel was accepted meanwhile and the outcome is not `interrupted`.
   */
  finish(lease: Lease, outcome: RunOutcome): Promise<boolean>;
  /** Back to pending without spending the attempt. */
  release(lease: Lease): Promise<boolean>;
  /**
   * Durable cancel; the first action wins. `ended`: it never ran and is over (row gone for rollback; a thread that was
   * made for it only is marked for deletion). `requested`: its worker must be told. `already`: interrupted before. `finished`: too late.
   */
  requestCancel(
    threadId: string | null,
    runId: string,
    action: CancelAction,
  ): Promise<"ended" | "requested" | "already" | "finished" | "missing">;
  get(threadId: string | null, runId: string): Promise<Run | undefined>;
  getBrief(threadId: string | null, runId: string): Promise<BriefRun | undefined>;
  list(
    threadId: string,
    query: PageLimits & { readonly status?: RunStatus | undefined; readonly withPayload: boolean },
  ): Promise<Page<ListedRun>>;
  /** The run of the thread whose first claim has the lowest number above `after`. */
  nextStarted(threadId: string, after: number): Promise<Run | undefined>;
  /** The run of the thread whose first claim has the highest number; of those up to `claim`, where that is given. */
  newestStarted(threadId: string, claim?: number): Promise<Run | undefined>;
  /** All runs of the thread. */
  listIds(threadId: string): Promise<readonly string[]>;
  /** Newest first among those not finished: what occupies the thread. */
  listInFlight(filter: { readonly threadId?: string; readonly status?: RunStatus }): Promise<readonly BriefRun[]>;
  /** Runs whose rollback began: their checkpoints must go, then `removeRolledBack`. */
  listRollingBack(): Promise<readonly BriefRun[]>;
  /** Those of them whose lease is over, which from now on is this worker's. */
  takeRollbacks(workerId: string, leaseMs: number): Promise<readonly BriefRun[]>;
  /** Marks a running run as being rolled back: durable before its first checkpoint is deleted. */
  markRollingBack(lease: Lease): Promise<boolean>;
  /**
   * Deletes the row of a rolled-back run; its thread is as before the run was admitted, in one transaction. A thread that
   * was made for the run only is marked for deletion.
   */
  removeRolledBack(run: { readonly runId: string; readonly threadId: string }): Promise<void>;
  /** Deletes the row of a finished run; false when it is in flight or missing. */
  remove(threadId: string, runId: string): Promise<boolean>;
  /** When the next pending run becomes due, epoch milliseconds. */
  nextDueAt(): Promise<number | undefined>;
  /**
   * At the start of a process that is alone: runs left `running` by a dead one go back to pending, their attempt spent.
   * Returns them.
   */
  recoverOrphans(): Promise<readonly BriefRun[]>;
  /** The same for those whose lease is over by the store's clock: whoever held one has lost it. */
  recoverExpired(): Promise<readonly BriefRun[]>;
  /** How many runs wait, delayed ones included. */
  countPending(): Promise<number>;
  /** Writes down that a run in flight is to stop unless somebody reads it. */
  abandon(runId: string): Promise<void>;
  /** Of these runs, which somebody reads: those that were abandoned, and are no more. */
  reclaimAbandoned(runIds: readonly string[]): Promise<readonly string[]>;
  /** Runs in flight that have been abandoned for so long. */
  listAbandoned(forMs: number): Promise<readonly string[]>;
}
