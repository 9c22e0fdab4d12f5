/**
 * What replicas that died, or stand still, were doing to threads: finished by whoever finds it, on any replica, at any time.
 *
 * 1. What was reserved is taken when its time is over: the thread shows what was written to it, and is free again.
 * 2. A deletion is finished by others when it has been there for as long as a lease: until then it may be on its way. So is
 *    half a copy when its reservation is over. One of those who find it takes it.
 * 3. One thread that cannot be put right keeps no other from it; the next sweep tries again.
 */
import type { Clock } from "../core/clock.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import type { FinishDeletion } from "./deletion.js";
import type { Reservations } from "./reservation.js";

export interface ThreadTakeoverDeps {
  readonly threads: Pick<ThreadStore, "takeReserved" | "release" | "listHalfDeleted" | "takeHalfDeleted">;
  readonly whileHeld: Reservations["whileHeld"];
  readonly showHead: (threadId: string) => Promise<void>;
  readonly stopRuns: (threadId: string, signal: AbortSignal) => Promise<void>;
  readonly finishDeletion: FinishDeletion;
  /** Called when a thread became free for its next run. */
  readonly onFree: (threadId: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs: number;
}

const THREADS_AT_ONCE = 20;

/** Returns one sweep; how many threads it put right. */
export function createThreadTakeover(deps: ThreadTakeoverDeps): () => Promise<number> {
  const { threads, clock, log, leaseMs } = deps;
  /** Since when a deletion has been seen. */
  const seenAt = new Map<string, number>();

  async function freeReserved(): Promise<number> {
    const owner = newId();
    const taken = await threads.takeReserved({ owner, leaseMs }, THREADS_AT_ONCE);
    const freed = taken.map((threadId) =>
      attempt(threadId, async () => {
        await deps.whileHeld(threadId, owner, () => deps.showHead(threadId));
        await threads.release(threadId, owner);
        deps.onFree(threadId);
        log.warn({ threadId }, "a thread was freed whose writer is gone");
      }),
    );
    return count(await Promise.all(freed));
  }

  async function finishDeletions(): Promise<number> {
    const found = new Set(await threads.listHalfDeleted());
    const now = clock.now();
    for (const threadId of seenAt.keys()) if (!found.has(threadId)) seenAt.delete(threadId);
    for (const threadId of found) if (!seenAt.has(threadId)) seenAt.set(threadId, now);
    const due = [...found].filter((threadId) => now - (seenAt.get(threadId) ?? now) >= leaseMs); // 2
    const done = due.slice(0, THREADS_AT_ONCE).map((threadId) =>
      attempt(threadId, async () => {
        const owner = newId();
        if (!(await threads.takeHalfDeleted(threadId, { owner, leaseMs }))) return false;
        await deps.whileHeld(threadId, owner, async () => {
          await stopRuns(threadId);
          await deps.finishDeletion(threadId);
        });
        seenAt.delete(threadId);
        log.warn({ threadId }, "a deletion was finished that others had begun");
        return true;
      }),
    );
    return count(await Promise.all(done));
  }

  /** A run that goes on for longer holds up no sweep. */
  async function stopRuns(threadId: string): Promise<void> {
    const limit = new AbortController();
    const forget = clock.after(leaseMs, () => limit.abort());
    await deps.stopRuns(threadId, limit.signal).finally(forget);
  }

  async function attempt(threadId: string, work: () => Promise<unknown>): Promise<boolean> {
    try {
      return (await work()) !== false;
    } catch (err) {
      log.error({ err, threadId }, "a thread could not be put right; it is tried again"); // 3
      return false;
    }
  }

  return async () => (await freeReserved()) + (await finishDeletions());
}

function count(outcomes: readonly boolean[]): number {
  return outcomes.filter(Boolean).length;
}
