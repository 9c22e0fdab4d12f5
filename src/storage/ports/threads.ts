/** The port of threads. */
import type { JsonOperator } from "../../core/json-operators.js";
import type {
  InterruptsByTask,
  Json,
  JsonObject,
  Thread,
  ThreadProjection,
  ThreadStatus,
  ThreadTtl,
} from "../../core/model.js";
import type { Awaitable, Page, PageQuery, Scoped, StoreTransaction } from "./page.js";

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

export interface ThreadStore extends Scoped<ThreadStore> {
  /** undefined when the id is taken, be it by a thread out of sight. */
  create(thread: NewThread): Promise<Thread | undefined>;
  /**
   * Creates a thread, its id a new one, that nobody sees until `reveal`: to a start, and to everybody when the reservation is
   * over, it is one whose deletion has begun.
   */
  prepare(thread: NewThread, reservation: Reservation): Promise<void>;
  /** Shows a prepared thread with its state, if it has one, and releases it. False when the reservation was over. */
  reveal(threadId: string, owner: string, projection: ThreadProjection | null): Promise<boolean>;
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
  reserve(threadId: string, reservation: Reservation): Promise<"reserved" | "busy" | "missing">;
  /** Begins the time of the reservation anew; false when it is another's, or nobody's. */
  renewReservation(threadId: string, reservation: Reservation): Promise<boolean>;
  release(threadId: string, owner: string): Promise<void>;
  /** What is reserved: to a process that is alone, by processes that died. */
  listReserved(): Promise<readonly { readonly threadId: string; readonly owner: string }[]>;
  /** Makes the caller the owner of up to `limit` reservations that are over; returns their threads. */
  takeReserved(reservation: Reservation, limit: number): Promise<readonly string[]>;
  /**
   * Mirrors the root state after a write outside of runs; recomputes the status; stamps `state_updated_at`. False, and nothing
   * changed, when the thread is not reserved by `owner`, if one is given.
   */
  saveProjection(
    threadId: string,
    projection: ThreadProjection,
    options?: { readonly graphId?: string; readonly owner?: string },
  ): Promise<boolean>;
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
   * Calls `prune` with the transaction that does all this, and begins the ttl anew, if it says `keep_latest` and still is over; false otherwise. No run of the
   * thread is admitted or claimed meanwhile.
   */
  pruneOutgrown(threadId: string, prune: (transaction: StoreTransaction) => Awaitable<void>): Promise<boolean>;
  /** Deletes the row and all that hangs on it in this database. */
  remove(threadId: string): Promise<void>;
  /** Threads that are being deleted, or made as copies: to a process that is alone, what a crash interrupted. */
  listDeleting(): Promise<readonly string[]>;
  /** Those of them that nobody is known to be at work with: half a copy, or a deletion, be it one that goes on somewhere. */
  listHalfDeleted(): Promise<readonly string[]>;
  /** Makes the caller the one who finishes the deletion; false when somebody else is at work with the thread. */
  takeHalfDeleted(threadId: string, reservation: Reservation): Promise<boolean>;
}

/** Somebody's right to a thread: `leaseMs` from now, unless it is renewed, others may take it. */
export interface Reservation {
  /** Nobody else's word. */
  readonly owner: string;
  readonly leaseMs: number;
}

/** Which threads change: hints, which may come for nothing, and before the change can be read by others. */
export interface ThreadChanges {
  /**
   * Calls `listener`, which must not throw, for each, and `onDoubt` when some may have been missed; the returned function
   * stops it.
   */
  on(listener: (threadId: string) => void, onDoubt?: () => void): () => void;
}
