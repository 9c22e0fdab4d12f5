/**
 * The storage port. One implementation per noun, written once in SQL; what differs by database is a dialect's business.
 *
 * Every method that changes something is one transaction and returns after its commit. `undefined` means "no such row".
 */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { MessageKit } from "../core/kit.js";
import type {
  Assistant,
  AssistantVersion,
  CancelAction,
  InterruptsByTask,
  JsonObject,
  Run,
  RunError,
  RunStatus,
  Thread,
  ThreadProjection,
  ThreadStatus,
  ThreadTtl,
} from "../core/model.js";

export interface Page<T> {
  readonly rows: readonly T[];
  /** All rows that match, regardless of limit and offset. */
  readonly total: number;
}

export interface PageQuery<Column extends string> {
  readonly limit: number;
  readonly offset: number;
  readonly sortBy: Column;
  readonly sortOrder: "asc" | "desc";
}

// ---- threads

export const THREAD_SORT_COLUMNS = ["thread_id", "status", "created_at", "updated_at", "state_updated_at"] as const;

export interface ThreadFilter {
  readonly ids?: readonly string[] | undefined;
  /** JSON containment, as `@>` of PostgreSQL. */
  readonly metadata?: JsonObject | undefined;
  readonly values?: JsonObject | undefined;
  readonly status?: ThreadStatus | undefined;
}

export interface ThreadWithValues extends Thread {
  /** Wire JSON of the root state; null without state, or where the query did not ask for values. */
  readonly valuesJson: string | null;
}

export interface NewThread {
  readonly threadId: string;
  readonly metadata: JsonObject;
  readonly ttl: Omit<ThreadTtl, "expiresAt"> | null;
}

export interface ThreadStore {
  /** undefined when the id is taken. */
  create(thread: NewThread): Promise<Thread | undefined>;
  get(threadId: string): Promise<ThreadWithValues | undefined>;
  /** What the thread waits for; nothing where there is no such thread. */
  pendingInterrupts(threadId: string): Promise<InterruptsByTask>;
  /** Merges `metadata` shallowly; replaces the ttl when given. */
  patch(
    threadId: string,
    change: { readonly metadata?: JsonObject; readonly ttl?: Omit<ThreadTtl, "expiresAt"> | null },
  ): Promise<Thread | undefined>;
  search(
    filter: ThreadFilter,
    page: PageQuery<(typeof THREAD_SORT_COLUMNS)[number]>,
    options: { readonly withValues: boolean },
  ): Promise<Page<ThreadWithValues>>;
  count(filter: ThreadFilter): Promise<number>;
  /**
   * Takes the thread for a write outside of runs; until released no run of it starts. `busy` while a run is in flight,
   * `missing` when there is no such thread.
   */
  reserve(threadId: string, owner: string): Promise<"reserved" | "busy" | "missing">;
  release(threadId: string, owner: string): Promise<void>;
  /** Mirrors the root state after a write outside of runs; recomputes the status; stamps `state_updated_at`. */
  saveProjection(threadId: string, projection: ThreadProjection, graphId?: string): Promise<void>;
  /** Durable intent: from here on the thread is gone for everybody but the deletion itself. */
  markDeleting(threadId: string): Promise<boolean>;
  /** Deletes the row and all that hangs on it in this database. */
  remove(threadId: string): Promise<void>;
  /** Threads whose deletion a crash interrupted. */
  listDeleting(): Promise<readonly string[]>;
}

// ---- runs

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

/** What the pure decision of `runs/multitask.ts` tells the store to do. */
export type Admission =
  | { readonly kind: "insert"; readonly run: NewRun; readonly cancelInFlight: CancelAction | null }
  | { readonly kind: "refuse"; readonly error: Error };

export type NewRun = Omit<Run, "status" | "attempt" | "fence" | "cancelAction" | "error" | "createdAt" | "updatedAt">;

export interface AdmitRequest {
  readonly threadId: string;
  /** Creates the thread in the same transaction when it does not exist; null: refuse as `decide` says. */
  readonly createThread: NewThread | null;
  readonly idempotency: { readonly key: string; readonly requestHash: string } | null;
  /** Claims the run in the same transaction when it is due and its thread free: it is `running` when it comes back. */
  readonly claim: { readonly workerId: string; readonly leaseMs: number } | null;
  /** Pure. Sees the locked thread (undefined when missing and not to be created) and its in-flight runs, oldest first. */
  readonly decide: (thread: Thread | undefined, inFlight: readonly InFlightRun[]) => Admission;
}

export type AdmitResult =
  | {
      readonly kind: "admitted";
      readonly run: Run;
      /** In-flight runs that now carry a cancel: running ones must be told. */
      /** As they were before the cancel. */
      readonly cancelled: readonly Run[];
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

export interface RunStore {
  /** Locks the thread, asks `decide`, inserts, commits: the one way a run comes to exist. Throws what `decide` refuses with. */
  admit(request: AdmitRequest): Promise<AdmitResult>;
  /** The oldest due run of a free thread becomes `running`, with a new fence; undefined when there is none. */
  claim(workerId: string, leaseMs: number): Promise<Run | undefined>;
  /** Extends the lease; `held: false` means ownership was lost. `cancel` is a cancel that was requested meanwhile. */
  renew(lease: Lease, leaseMs: number): Promise<{ readonly held: boolean; readonly cancel: CancelAction | null }>;
  /**
   * Ends the run and updates its thread in one transaction. False, and nothing changed, when the lease was lost, or when a
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
  list(
    threadId: string,
    query: { readonly limit: number; readonly offset: number; readonly status?: RunStatus | undefined },
  ): Promise<Page<Run>>;
  /** Newest first among those not finished: what occupies the thread. */
  listInFlight(filter: { readonly threadId?: string; readonly status?: RunStatus }): Promise<readonly Run[]>;
  /** Runs whose rollback began: their checkpoints must go, then `removeRolledBack`. */
  listRollingBack(): Promise<readonly Run[]>;
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
  /** At start: runs left `running` by a dead process go back to pending, their attempt spent. Returns them. */
  recoverOrphans(): Promise<readonly Run[]>;
  /** How many runs wait, delayed ones included. */
  countPending(): Promise<number>;
}

// ---- assistants

export const ASSISTANT_SORT_COLUMNS = ["assistant_id", "graph_id", "name", "created_at", "updated_at"] as const;

export interface AssistantFilter {
  readonly metadata?: JsonObject | undefined;
  readonly graphId?: string | undefined;
  /** Case-insensitive substring. */
  readonly name?: string | undefined;
}

export type NewAssistant = Omit<AssistantVersion, "version" | "createdAt">;

export interface AssistantStore {
  /** Version 1; undefined when the id is taken. */
  create(assistant: NewAssistant): Promise<Assistant | undefined>;
  get(assistantId: string): Promise<Assistant | undefined>;
  /** A new version with `change` applied becomes current; metadata is merged shallowly. */
  patch(assistantId: string, change: Partial<Omit<NewAssistant, "assistantId">>): Promise<Assistant | undefined>;
  remove(assistantId: string): Promise<boolean>;
  search(filter: AssistantFilter, page: PageQuery<(typeof ASSISTANT_SORT_COLUMNS)[number]>): Promise<Page<Assistant>>;
  count(filter: AssistantFilter): Promise<number>;
  /** Newest version first; undefined when there is no such assistant. */
  versions(
    assistantId: string,
    query: { readonly metadata?: JsonObject | undefined; readonly limit: number; readonly offset: number },
  ): Promise<readonly AssistantVersion[] | undefined>;
  /** Makes an existing version current again; undefined when assistant or version is missing. */
  setLatest(assistantId: string, version: number): Promise<Assistant | undefined>;
}

// ---- checkpoints

/** A saver for one execution: stamps its run id on everything and refuses writes once closed. */
export interface RunSaver {
  readonly saver: BaseCheckpointSaver;
  /** After this every write is refused: a graph that ignores its cancel can change nothing any more. */
  close(): void;
}

export interface Checkpoints {
  /** For one execution. `kit` names the message classes that stored messages come back as. */
  forRun(lease: { readonly threadId: string; readonly runId: string }, kit: MessageKit): RunSaver;
  /** For reading state and for writes outside of runs. */
  saver(kit: MessageKit): BaseCheckpointSaver;
  /** Whether there is such a checkpoint, without reading it. */
  has(threadId: string, checkpointNs: string, checkpointId: string): boolean;
  /** Whether anything of this run was persisted (recovery rule). */
  hasRun(threadId: string, runId: string): boolean;
  /**
   * At the head of every namespace (a subgraph gets a null task's resume value of its own): where a task has its own
   * resume value, drop the null task's (recovery rule).
   */
  dropTakenResume(threadId: string): void;
  deleteRun(threadId: string, runId: string): void;
  deleteThread(threadId: string): void;
  /** Copies every checkpoint and write of `from` to the new thread `to`. */
  copyThread(from: string, to: string): void;
  /** Keeps the newest checkpoint of each namespace that the head still refers to. */
  pruneToLatest(threadId: string): void;
  /** Returns when everything written so far survives a power failure. */
  sync(): void;
  close(): void;
}
