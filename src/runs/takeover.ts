/**
 * Runs whose worker died, or stands still: found by any replica, at any time, by leases that are over on the store's clock.
 *
 * 1. They go back to the queue in one statement, their attempt spent; whoever claims them next goes on by the recovery rule.
 *    Their old owner finds the lease lost before it writes or says anything (`attempt.ts`).
 * 2. A rollback that was begun is finished, and its followers are told. Whatever of it was done before is done again.
 * 3. One that cannot be finished keeps no other from it, and no replica from its start; it is found again when this lease ends.
 */
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import type { BriefRun } from "../storage/ports/runs.js";
import { type EndingDeps, removeThread, resultOf, sayEnd, takeBack } from "./ending.js";

export interface RunTakeoverDeps extends EndingDeps {
  readonly log: Log;
  readonly leaseMs: number;
}

/** Returns one sweep; how many runs it took over. */
export function createRunTakeover(deps: RunTakeoverDeps): () => Promise<number> {
  const { runs, signals, metrics, log, leaseMs } = deps;
  const ownerId = newId();

  async function finishRollback(run: BriefRun): Promise<void> {
    const resultJson = await resultOf(deps, run);
    await takeBack(deps, run);
    await sayEnd(deps, run, { status: "rollback", resultJson });
    if (run.payload.temporary) await removeThread(deps, run.threadId);
  }

  async function attempt(run: BriefRun): Promise<boolean> {
    try {
      await finishRollback(run);
      return true;
    } catch (err) {
      log.error(
        { err, runId: run.runId, threadId: run.threadId },
        "a rollback could not be finished; it is tried again",
      ); // 3
      return false;
    }
  }

  return async () => {
    const recovered = await runs.recoverExpired();
    for (const { runId, threadId, attempt } of recovered) {
      log.warn({ runId, threadId, attempt }, "a run was taken over: its lease was over");
    }
    metrics.runsTakenOver.inc(recovered.length);
    if (recovered.length > 0) signals.send("runs");
    for (const { runId } of recovered) signals.send(`run:${runId}`); // whoever waits for it to stop
    const rollbacks = await runs.takeRollbacks(ownerId, leaseMs);
    let finished = 0;
    for (const run of rollbacks) if (await attempt(run)) finished++;
    return recovered.length + finished;
  };
}
