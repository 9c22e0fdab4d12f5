/** The runs of a thread in the order in which they began to execute, for those who follow the thread and not one run. */
import type { Signals } from "../bridge/bridge.js";
import type { Run } from "../core/model.js";
import type { RunStore } from "../storage/ports/runs.js";
import { nextSignal } from "./wait.js";

/** A run that has been claimed. */
export type StartedRun = Run & { readonly firstClaim: number };

export interface StartedRunsDeps {
  readonly runs: Pick<RunStore, "newestStarted" | "nextStarted">;
  readonly signals: Signals;
}

/** The newest run that has started, or that had when the thread's claim `claim` was made. */
export async function newestStarted(
  { runs }: Pick<StartedRunsDeps, "runs">,
  threadId: string,
  claim?: number,
): Promise<StartedRun | undefined> {
  const run = await runs.newestStarted(threadId, claim);
  return isStarted(run) ? run : undefined;
}

/**
 * Runs whose first claim is greater than `after`; null each time that none is left, before it waits for more. Ends when the
 * signal aborts. A thread that does not exist yet is waited for.
 */
export async function* startedRuns(
  { runs, signals }: StartedRunsDeps,
  threadId: string,
  { after, signal }: { readonly after: number; readonly signal: AbortSignal },
): AsyncGenerator<StartedRun | null> {
  let last = after;
  while (!signal.aborted) {
    const change = nextSignal(signals, `thread:${threadId}`, signal);
    const run = await runs.nextStarted(threadId, last);
    if (isStarted(run)) {
      change.forget();
      yield run;
      last = run.firstClaim;
    } else {
      yield null;
      await change.promise;
    }
  }
}

function isStarted(run: Run | undefined): run is StartedRun {
  return run !== undefined && run.firstClaim !== null;
}
