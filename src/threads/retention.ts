/**
 * Threads whose ttl is over: deleted, or pruned to their latest state.
 *
 * 1. Only what nobody uses goes; the store decides that in the transaction that takes the thread, so that two who sweep have
 *    one effect.
 * 2. A sweep handles `limit` threads at most, in batches; the caller pauses between these.
 * 3. One thread that cannot be swept keeps no other one from it. A deletion that was begun is finished by a later sweep, or by
 *    the next start.
 */
import type { Log } from "../core/log.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import type { StoreTransaction } from "../storage/ports/page.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import type { FinishDeletion } from "./deletion.js";

export interface RetentionDeps {
  readonly threads: Pick<ThreadStore, "markExpired" | "listOutgrown" | "pruneOutgrown">;
  readonly checkpoints: Pick<Checkpoints, "pruneToLatest">;
  readonly finishDeletion: FinishDeletion;
  readonly log: Log;
}

export interface SweepResult {
  readonly deleted: number;
  readonly pruned: number;
  /** Whether the sweep goes on. */
  readonly more: boolean;
}

/** What is worked on between two pauses. */
const BATCH_THREADS = 20;

/** Returns the function that does the next batch of a sweep, or the first one of the next sweep. */
export function createRetention(
  deps: RetentionDeps,
  { limit }: { readonly limit: number },
): () => Promise<SweepResult> {
  const { threads, checkpoints, log } = deps;
  const marked = new Set<string>();
  const failed = new Set<string>();
  let left = limit;

  async function attempt(threadId: string, work: () => Promise<unknown>): Promise<boolean> {
    try {
      return (await work()) !== false;
    } catch (err) {
      log.error({ err, threadId }, "an expired thread could not be swept"); // 3
      failed.add(threadId);
      return false;
    }
  }

  async function deleteExpired(size: number): Promise<number> {
    for (const threadId of await threads.markExpired(size)) marked.add(threadId);
    let deleted = 0;
    for (const threadId of marked) {
      if (failed.has(threadId) || !(await attempt(threadId, () => deps.finishDeletion(threadId)))) continue;
      marked.delete(threadId);
      deleted++;
    }
    return deleted;
  }

  async function pruneOutgrown(size: number): Promise<number> {
    const outgrown = await threads.listOutgrown(size + failed.size);
    let pruned = 0;
    for (const threadId of outgrown.filter((id) => !failed.has(id)).slice(0, size)) {
      const prune = (transaction: StoreTransaction) =>
        checkpoints.pruneToLatest(threadId, { kind: "transaction", transaction });
      if (await attempt(threadId, () => threads.pruneOutgrown(threadId, prune))) pruned++;
    }
    return pruned;
  }

  return async () => {
    const size = Math.min(BATCH_THREADS, left);
    const deleted = await deleteExpired(size);
    const pruned = deleted < size ? await pruneOutgrown(size - deleted) : 0;
    left -= deleted + pruned;
    const more = deleted + pruned > 0 && left > 0;
    if (!more) {
      left = limit;
      failed.clear(); // the next sweep tries again
    }
    return { deleted, pruned, more };
  };
}
