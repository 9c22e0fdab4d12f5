/**
 * The end of a deletion that is marked on the thread's row. Safe to repeat after a crash, which leaves that row: checkpoints
 * go first, then the rows, then what memory still holds.
 */
import type { StreamBridge } from "../bridge/bridge.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import type { RunStore } from "../storage/ports/runs.js";
import type { ThreadStore } from "../storage/ports/threads.js";

export type FinishDeletion = (threadId: string) => Promise<void>;

export function createDeletion(deps: {
  readonly threads: Pick<ThreadStore, "remove">;
  readonly runs: Pick<RunStore, "listIds">;
  readonly checkpoints: Pick<Checkpoints, "deleteThread" | "sync">;
  readonly bridge: Pick<StreamBridge, "drop">;
}): FinishDeletion {
  return async (threadId) => {
    await deps.checkpoints.deleteThread(threadId);
    await deps.checkpoints.sync();
    const runIds = await deps.runs.listIds(threadId);
    await deps.threads.remove(threadId);
    for (const runId of runIds) await deps.bridge.drop(runId); // a finished run's log would be served for a while yet
  };
}
