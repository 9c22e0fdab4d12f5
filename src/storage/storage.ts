/**
 * The storage port. One implementation per noun, written once in SQL; what differs by database is a dialect's business.
 *
 * Every method that changes something is one transaction and returns after its commit. `undefined` means "no such row".
 */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { JsonOperator } from "../core/json-operators.js";
import type { MessageKit } from "../core/kit.js";
import type {
  Assistant,
  AssistantVersion,
  CancelAction,
  Cron,
  Durability,
  InterruptsByTask,
  Json,
  JsonObject,
  Run,
  RunError,
  RunStatus,
  Thread,
  ThreadProjection,
  ThreadStatus,
  ThreadTtl,
} from "../core/model.js";
import type { Scope } from "../core/scope.js";
import type { CheckpointWrite } from "./checkpoint-tables.js";

export interface Page<T> {
  readonly rows: readonly T[];
  /** All rows that match, regardless of limit and offset. */
  readonly total: number;
}

/** One that takes more than `maxBytes` is refused with the limit that fits; a single row never is. */
export interface PageLimits {
  readonly limit: number;
  readonly offset: number;
  readonly maxBytes: number;
}

export interface PageQuery<Column extends string> extends PageLimits {
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
  /** Each begins a word of its title or of its last messages. */
  readonly words?: readonly string[] | undefined;
  readonly where?: ThreadCondition | undefined;
}

export const THREAD_FILTER_COLUMNS = ["thread_id", "status", "created_at", "updated_at", "state_updated_at"] as const;

export type MemberOperator = JsonOperator | "$exists" | "$contains";

/** What a thread must be like, checked: operands are of their operators' kinds, times epoch milliseconds. */
export type ThreadCondition =
  | { readonly kind: "all" | "any"; readonly of: readonly ThreadCondition[] }
  | { readonly kind: "not"; readonly of: ThreadCondition }
  | {
      readonly kind: "column";
      readonly column: (typeof THREAD_FILTER_COLUMNS)[number];
      readonly operator: Exclude<MemberOperator, "$contains">;
      readonly operand: Json;
    }
  /** A member of the metadata or of the state, by the names that lead to it. */
  | {
      readonly kind: "member";
      readonly root: "metadata" | "values";
      readonly path: readonly string[];
      readonly operator: MemberOperator;
      readonly operand: Json;
    };

/** Where a thread stands in a list: what it is sorted by, and its id. */
export interface ThreadPosition {
  readonly value: string | number | null;
  readonly threadId: string;
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

/**
 * Every store is opened in a scope: what is not in it is, for whoever asks, not there. A service opens it with the scope of
 * its caller; what the gateway does for itself sees everything.
 */
export interface Scoped<Store> {
  /** The same store, seeing only what is in `scope`. */
  within(scope: Scope): Store;
}

export interface ThreadStore extends Scoped<ThreadStore> {
  /** undefined when the id is taken, be it by a thread out of sight. */
  create(thread: NewThread): Promise<Thread | undefined>;
  /** Creates a thread, its id a new one, that nobody sees until `reveal`: to a start it is one whose deletion has begun. */
  prepare(thread: NewThread): Promise<void>;
  /** Shows a prepared thread with its state, if it has one. */
  reveal(threadId: string, projection: ThreadProjection | null): Promise<void>;
  get(threadId: string): Promise<ThreadWithValues | undefined>;
  /** The same without its values, which may be long. */
  find(threadId: string): Promise<Thread | undefined>;
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
  /**
   * The page behind `after`, null for the first, and where it ends; null where nothing follows. Costs what it shows, not
   * what comes before, and neither misses nor repeats a thread that stays where it is.
   */
  searchAfter(
    filter: ThreadFilter,
    page: Omit<PageQuery<(typeof THREAD_SORT_COLUMNS)[number]>, "offset"> & { readonly after: ThreadPosition | null },
    options: { readonly withValues: boolean },
  ): Promise<{ readonly rows: readonly ThreadWithValues[]; readonly next: ThreadPosition | null }>;
  count(filter: ThreadFilter): Promise<number>;
  /** Up to `limit` of those that match, in any order. */
  listIds(filter: ThreadFilter, limit: number): Promise<readonly string[]>;
  /**
   * Takes the thread for a write outside of runs; until released no run of it starts. `busy` while a run is in flight,
   * `missing` when there is no such thread.
   */
  reserve(threadId: string, owner: string): Promise<"reserved" | "busy" | "missing">;
  release(threadId: string, owner: string): Promise<void>;
  /** At start: what processes that died had reserved. */
  listReserved(): Promise<readonly { readonly threadId: string; readonly owner: string }[]>;
  /** Mirrors the root state after a write outside of runs; recomputes the status; stamps `state_updated_at`. */
  saveProjection(threadId: string, projection: ThreadProjection, graphId?: string): Promise<void>;
  /** The same where the thread shows anything else; one that shows this already keeps the error of its last run. */
  catchUp(threadId: string, projection: ThreadProjection): Promise<void>;
  /** Durable intent: from here on the thread is gone for everybody but the deletion itself, and so are its crons and webhooks. */
  markDeleting(threadId: string): Promise<boolean>;
  /** The same, but not while a run of the thread is in flight or a write outside of runs lasts; nor does what follows. */
  markUnoccupied(threadId: string): Promise<boolean>;
  /** The same for up to `limit` threads whose ttl says `delete` and is over, in one statement; returns them. */
  markExpired(limit: number): Promise<readonly string[]>;
  /** Up to `limit` threads whose ttl says `keep_latest` and is over. */
  listOutgrown(limit: number): Promise<readonly string[]>;
  /**
   * Calls `prune` and begins the ttl anew, if it says `keep_latest` and still is over; false otherwise. No run of the
   * thread is admitted or claimed meanwhile.
   */
  pruneOutgrown(threadId: string, prune: () => void): Promise<boolean>;
  /** Deletes the row and all that hangs on it in this database. */
  remove(threadId: string): Promise<void>;
  /** Threads whose deletion a crash interrupted. */
  listDeleting(): Promise<readonly string[]>;
}

/** Which threads change: hints, which may come for nothing, and before the change can be read by others. */
export interface ThreadChanges {
  /** Calls `listener`, which must not throw, for each; the returned function stops it. */
  on(listener: (threadId: string) => void): () => void;
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

/** A run without what may be large: of its payload only whether its thread was made for it, and its webhook. */
export interface BriefRun
  extends Pick<Run, "threadId" | "assistantId" | "attempt" | "fence" | "runAfter">,
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
  recoverOrphans(): Promise<readonly BriefRun[]>;
  /** How many runs wait, delayed ones included. */
  countPending(): Promise<number>;
}

// ---- webhooks

/** What a webhook tells: how a run ended, and the state that it left. */
export interface EndedRun {
  /** Its row as it was at the end. */
  readonly run: Run;
  /** `rollback`: the run was taken back, and its row with it. */
  readonly status: RunStatus | "rollback";
  /** When it was first claimed; null when it never was. */
  readonly startedAt: number | null;
  readonly endedAt: number;
  /** Wire JSON of the root state; null without any. */
  readonly valuesJson: string | null;
  readonly interrupts: InterruptsByTask;
}

/** A webhook that was claimed for one try. */
export interface WebhookDelivery {
  readonly id: number;
  readonly url: string;
  /** Host and port of the URL; "" for a path of the gateway's own. */
  readonly host: string;
  /** How often it was tried, this one included. */
  readonly tries: number;
  readonly ended: EndedRun;
}

/** A delivery as long as its claim lasts. */
export type WebhookClaim = Pick<WebhookDelivery, "id" | "tries">;

/**
 * Webhooks that are still to be sent. Rows come from the transactions that end runs; they go when they were sent or given
 * up, and with a run or a thread that somebody deletes.
 */
export interface WebhookOutbox {
  /**
   * Up to `limit` that are due, the longest due first, of no host more than `roomOf` says. Each is hidden for `leaseMs`,
   * after which it is due again, unless it was settled before.
   */
  claim(
    leaseMs: number,
    options: { readonly limit: number; readonly roomOf: (host: string) => number },
  ): Promise<readonly WebhookDelivery[]>;
  /** Sent or given up: its row goes. False when the claim was lost. */
  remove(claim: WebhookClaim): Promise<boolean>;
  /** Due again at `time`. False when the claim was lost. */
  retryAt(claim: WebhookClaim, time: number): Promise<boolean>;
  /** Due at once, as if this try had not begun. False when the claim was lost. */
  release(claim: WebhookClaim): Promise<boolean>;
  /** When the next one becomes due, but for those of `exceptHosts`. */
  nextDueAt(exceptHosts: readonly string[]): Promise<number | undefined>;
  /** At start: what was written in what is the future now, because the clock was set back, is due at once. */
  rebase(): Promise<void>;
}

// ---- what runs said

/** Where an event stands in its run's log: the fence of a claim, and the place in it, from 1. */
export interface LedgerPosition {
  readonly fence: number;
  readonly seq: number;
}

/** Consecutive events of one claim of a run. */
export interface LedgerSegment {
  readonly fence: number;
  /** The places that it covers, first to last; where events were folded it holds fewer. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The text of the events; what it means is the writer's business. */
  readonly events: string;
}

export interface KeptSegment extends LedgerSegment {
  /** Increasing from 1 in each run; that of the oldest one tells whether older ones were dropped. */
  readonly number: number;
}

/** The events of runs, for as long as their rows live. */
export interface RunLedger {
  /**
   * Adds each segment behind what its run has already, all in one transaction. Left out is what comes before the end of
   * that (a zombie's), and whatever belongs to a run whose row is gone.
   */
  append(segments: readonly (LedgerSegment & { readonly runId: string })[]): Promise<void>;
  /** The oldest segment of the run that ends at `position` or later. */
  find(runId: string, position: LedgerPosition): Promise<KeptSegment | undefined>;
  newest(runId: string): Promise<KeptSegment | undefined>;
  /** Where the newest segment ends. */
  end(runId: string): Promise<LedgerPosition | undefined>;
  /**
   * Puts `merged`, which must not be more, in the place of the neighbours that have these numbers. False, and nothing
   * changed, when one of them is gone.
   */
  replace(runId: string, numbers: readonly number[], merged: readonly LedgerSegment[]): Promise<boolean>;
  /** Drops the oldest segments until what is left takes `maxBytes` at most; the newest one always stays. */
  trim(runId: string, maxBytes: number): Promise<void>;
  /** Deletes up to `limit` segments of ended runs of which nothing was written after `time`; returns how many. */
  expire(time: number, limit: number): Promise<number>;
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

export interface AssistantStore extends Scoped<AssistantStore> {
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
    query: PageLimits & { readonly metadata?: JsonObject | undefined },
  ): Promise<readonly AssistantVersion[] | undefined>;
  /** Makes an existing version current again; undefined when assistant or version is missing. */
  setLatest(assistantId: string, version: number): Promise<Assistant | undefined>;
}

// ---- API keys

export interface ApiKey {
  readonly keyId: string;
  /** How the key begins, to tell it by. */
  readonly shown: string;
  readonly name: string;
  /** Who uses it. */
  readonly identity: string;
  readonly permissions: readonly string[];
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

export interface NewApiKey extends Omit<ApiKey, "keyId" | "createdAt" | "revokedAt"> {
  readonly hash: string;
}

export interface ApiKeyStore {
  create(key: NewApiKey): Promise<ApiKey>;
  find(hash: string): Promise<ApiKey | undefined>;
  /** In the order in which they were made. */
  list(): Promise<readonly ApiKey[]>;
  /** False for a key that is revoked already, or never was. */
  revoke(keyId: string): Promise<boolean>;
}

// ---- crons

export const CRON_SORT_COLUMNS = [
  "cron_id",
  "assistant_id",
  "thread_id",
  "next_run_date",
  "end_time",
  "created_at",
  "updated_at",
] as const;

export interface CronFilter {
  readonly assistantId?: string | undefined;
  readonly threadId?: string | undefined;
  readonly enabled?: boolean | undefined;
  /** JSON containment, as `@>` of PostgreSQL. */
  readonly metadata?: JsonObject | undefined;
}

export type NewCron = Omit<Cron, "createdAt" | "updatedAt">;

/** One moment at which a cron fires: by its id and this moment, which no two runs share. */
export interface CronTick {
  readonly cronId: string;
  readonly at: number;
  /** What the cron's `nextRunAt` says until the tick is fired or passed over, and what afterwards. */
  readonly dueAt: number;
  readonly nextRunAt: number | null;
}

export interface CronStore extends Scoped<CronStore> {
  /** `full`: there are `maxCrons` already. Otherwise what is missing. */
  create(cron: NewCron, maxCrons: number): Promise<Cron | "full" | "no assistant" | "no thread">;
  get(cronId: string): Promise<Cron | undefined>;
  /** Pure `change` sees the locked cron and returns what it becomes; what it throws leaves everything as it was. */
  patch(cronId: string, change: (cron: Cron) => Omit<Cron, "updatedAt">): Promise<Cron | undefined>;
  remove(cronId: string): Promise<boolean>;
  /** What a column has no value for comes last in either order. */
  search(filter: CronFilter, page: PageQuery<(typeof CRON_SORT_COLUMNS)[number]>): Promise<Page<Cron>>;
  count(filter: CronFilter): Promise<number>;
  /** Up to `limit` crons that are due at `now`, those that have waited longest first, going on behind `after`. */
  listDue(now: number, after: DueCron | null, limit: number): Promise<readonly DueCron[]>;
  /** When the next one is due. */
  nextDueAt(): Promise<number | undefined>;
  /** Moves a cron on without a run, and, if asked to, disables it; false when the tick is not due. */
  pass(tick: CronTick, options: { readonly disable: boolean }): Promise<boolean>;
}

export type DueCron = Pick<Cron, "cronId"> & { readonly nextRunAt: number };

// ---- checkpoints

/** A saver for one execution: stamps its run id on everything and refuses writes once closed. */
export interface RunSaver {
  readonly saver: BaseCheckpointSaver;
  /** Resolves when everything written so far is stored; rejects with what could not be. */
  settled(): Promise<void>;
  /** After this every write is refused: a graph that ignores its cancel can change nothing any more. */
  close(): void;
}

/** What a run left in the checkpoints, besides its own command. */
export interface Leftover {
  /** It has a checkpoint in the root: it is beyond the superstep in which it began. */
  readonly checkpoint: boolean;
  /** One of its tasks has written something, or one of its subgraphs has a checkpoint. */
  readonly work: boolean;
  /** Ids of interrupts whose tasks have taken an answer from it. */
  readonly taken: readonly string[];
  /** The thread has subgraphs that remember from call to call. */
  readonly memory: boolean;
}

export interface Size {
  readonly count: number;
  /** Of what was stored; keys and indexes take more. */
  readonly bytes: number;
}

/** What is stored of a thread. Every byte counts once. */
export interface CheckpointSizes {
  /** Without the short values that they carry. */
  readonly checkpoints: Size;
  readonly values: Size;
  /** How many versions of a channel's value are kept, and what these take in all checkpoints. */
  readonly valuesByChannel: ReadonlyMap<string, Size>;
  readonly writes: Size;
}

export interface Checkpoints {
  /**
   * For one execution. With durability `sync` a write returns when it is stored; otherwise it may return when it is on its
   * way, in order, so that a graph never waits for it. `kit` names the message classes that stored messages come back as. */
  forRun(
    run: { readonly threadId: string; readonly runId: string; readonly durability?: Durability },
    kit: MessageKit,
  ): RunSaver;
  /** For reading state and for writes outside of runs, which are refused once `signal` is aborted, with its reason. */
  saver(kit: MessageKit, signal?: AbortSignal): BaseCheckpointSaver;
  /** Does, at once, what a saver on another thread asks for. */
  write(write: CheckpointWrite): void;
  /** Whether there is such a checkpoint, without reading it. */
  has(threadId: string, checkpointNs: string, checkpointId: string): boolean;
  /** Whether the newest state of the thread was written outside of runs; false for a thread without any. */
  isHeadOutsideRuns(threadId: string): boolean;
  /** What was persisted of this run (recovery rule). */
  leftBy(threadId: string, runId: string): Leftover;
  /**
   * Drops the newest checkpoint of the run in each subgraph that is under way, and in the root if `root` or it is a fork,
   * when nothing was built upon it: driven again, the graph makes it anew from what was stored before, and stops where it
   * would have stopped (recovery rule).
   */
  stepBack(threadId: string, runId: string, options: { readonly root: boolean }): void;
  deleteRun(threadId: string, runId: string): void;
  deleteThread(threadId: string): void;
  /** Copies every checkpoint and write of `from` to the new thread `to`. */
  copyThread(from: string, to: string): void;
  /** Keeps the newest checkpoint of each namespace that the head still refers to. */
  pruneToLatest(threadId: string): void;
  /** What is stored of the thread; others get their turn while it is counted. */
  sizesOf(threadId: string): Promise<CheckpointSizes>;
  /** Returns when everything written so far survives a power failure. */
  sync(): void;
  /** Throws `unavailable`, saying why, while the file cannot be written. */
  requireWritable(): void;
  close(): void;
}
