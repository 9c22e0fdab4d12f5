/**
 * Writes to a thread outside of its runs. While one lasts no run of the thread starts; runs that were admitted meanwhile
 * start when it is over. A reservation outlives its process: the next one finds what was being written to.
 */
import { randomUUID } from "node:crypto";
import { conflict, notFound, threadBusy } from "../core/errors.js";
import type { Run } from "../core/model.js";
import type { ThreadStore } from "../storage/storage.js";

/** Does `work` while the thread is taken; throws `not_found`, `thread_busy` with the active run, or `conflict`. */
export type WhileReserved = <T>(threadId: string, work: () => Promise<T>) => Promise<T>;

export function createReservations(deps: {
  readonly threads: Pick<ThreadStore, "reserve" | "release">;
  readonly activeRun: (threadId: string) => Promise<Run | undefined>;
  /** Called when a thread became free for its next run. */
  readonly onFree: (threadId: string) => void;
}): WhileReserved {
  const { threads } = deps;

  async function refusal(threadId: string): Promise<Error> {
    const active = await deps.activeRun(threadId);
    return active === undefined
      ? conflict(`thread ${threadId} is being written to by another request; try again`)
      : threadBusy("Thread is busy: wait for its runs to end, or cancel them", active);
  }

  return async (threadId, work) => {
    const owner = randomUUID();
    const answer = await threads.reserve(threadId, owner);
    if (answer === "missing") throw notFound("thread", threadId);
    if (answer === "busy") throw await refusal(threadId);
    try {
      return await work();
    } finally {
      await threads.release(threadId, owner);
      deps.onFree(threadId);
    }
  };
}
