/**
 * A search that goes on: first the newest threads that match, then each that changes.
 *
 * 1. A thread that matches is told as it is now, whenever it changes; one that was told and matches no more, or is gone, is
 *    taken back. Nothing is told of a thread that never matched.
 * 2. What changes while a reader is slow is told once, as it is in the end.
 * 3. A reader who comes back is told the newest threads again; so is one who may have missed changes.
 */
import { type Clock, pause } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { ThreadChanges, ThreadFilter, ThreadWithValues } from "../storage/ports/threads.js";
import type { ThreadService } from "./threads.js";

export type LiveChange =
  | { readonly kind: "upsert"; readonly thread: ThreadWithValues }
  | { readonly kind: "remove"; readonly threadId: string }
  /** All that matched at first has been told. */
  | { readonly kind: "ready" };

export interface LiveSearch {
  /** Ends when the signal aborts. To be read once, or closed. */
  changes(signal: AbortSignal): AsyncGenerator<readonly LiveChange[]>;
}

export interface LiveSearchQuery {
  readonly filter: ThreadFilter;
  /** How many of the newest are told at first. */
  readonly limit: number;
  readonly maxBytes: number;
  readonly withValues: boolean;
}

export interface LiveSearchDeps {
  readonly threads: Pick<ThreadService, "searchAfter">;
  readonly changes: ThreadChanges;
  readonly clock: Clock;
}

/** What changes within this time is looked at together. */
const GATHER_MS = 50;
const THREADS_AT_ONCE = 50;
/** How many threads a stream knows to have told: of one that it has forgotten it does not say that it is gone. */
const MAX_KNOWN = 10_000;

/** Throws what a search throws. */
export async function openLiveSearch(
  { threads, changes, clock }: LiveSearchDeps,
  { filter, limit, ...options }: LiveSearchQuery,
): Promise<LiveSearch> {
  const changed = new Set<string>();
  let wake = (): void => {};
  const known = new Set<string>();
  let isInDoubt = false;
  const forget = changes.on(
    (threadId) => {
      changed.add(threadId);
      wake();
    },
    () => {
      isInDoubt = true;
      wake();
    },
  );

  function find(wanted: ThreadFilter, count: number) {
    const page = {
      limit: count,
      maxBytes: options.maxBytes,
      sortBy: "updated_at",
      sortOrder: "desc",
      after: null,
    } as const;
    return threads.searchAfter(wanted, page, options);
  }

  function upsert(thread: ThreadWithValues): LiveChange {
    known.delete(thread.threadId); // the last told is the last forgotten
    known.add(thread.threadId);
    for (const oldest of known) {
      if (known.size <= MAX_KNOWN) break;
      known.delete(oldest);
    }
    return { kind: "upsert", thread };
  }

  async function lookAt(ids: readonly string[]): Promise<readonly LiveChange[]> {
    const matching = filter.ids === undefined ? ids : ids.filter((id) => filter.ids?.includes(id));
    const rows = matching.length === 0 ? [] : (await find({ ...filter, ids: matching }, matching.length)).rows;
    const found = new Set(rows.map(({ threadId }) => threadId));
    const gone = ids.filter((id) => !found.has(id) && known.delete(id));
    return [...gone.map((threadId): LiveChange => ({ kind: "remove", threadId })), ...rows.toReversed().map(upsert)];
  }

  /** Threads that are too large for one page are looked at in smaller ones: a single one never is. */
  async function lookAtParts(ids: readonly string[]): Promise<readonly LiveChange[]> {
    try {
      return await lookAt(ids);
    } catch (error) {
      if (!(error instanceof GatewayError) || ids.length === 1) throw error;
      const half = ids.length >> 1;
      return [...(await lookAtParts(ids.slice(0, half))), ...(await lookAtParts(ids.slice(half)))];
    }
  }

  async function* follow(first: readonly LiveChange[], signal: AbortSignal): AsyncGenerator<readonly LiveChange[]> {
    const onAbort = (): void => wake();
    signal.addEventListener("abort", onAbort);
    try {
      yield first;
      while (!signal.aborted) {
        if (isInDoubt) {
          isInDoubt = false;
          for (const threadId of known) changed.add(threadId);
          for (const { threadId } of (await find(filter, limit)).rows) changed.add(threadId); // 3
        }
        if (changed.size === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          await pause(clock, GATHER_MS, signal);
          continue;
        }
        const ids = [...changed].slice(0, THREADS_AT_ONCE);
        for (const id of ids) changed.delete(id);
        const told = await lookAtParts(ids);
        if (told.length > 0) yield told;
      }
    } finally {
      forget();
      signal.removeEventListener("abort", onAbort);
    }
  }

  try {
    const { rows } = await find(filter, limit);
    const first: readonly LiveChange[] = [...rows.toReversed().map(upsert), { kind: "ready" }];
    return { changes: (signal) => follow(first, signal) };
  } catch (error) {
    forget();
    throw error;
  }
}
