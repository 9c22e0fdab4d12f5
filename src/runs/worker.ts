/**
 * Keeps runs going: claims what is due and attends to as many at once as it may.
 *
 * 1. It holds at most `concurrency` leases, and claims again whenever one ends, a run is admitted, or a delayed one is due.
 * 2. Stopping claims nothing more; what does not finish in time goes back to the queue, its stream neither ended nor failed.
 */
import { newId } from "../core/ids.js";
import type { Run } from "../core/model.js";
import { type AttemptDeps, attend, SHUTDOWN } from "./attempt.js";

export interface WorkerDeps extends AttemptDeps {
  readonly concurrency: number;
}

export interface RunWorker {
  start(): void;
  /** Invariant 2. Resolves when no lease is held any more. */
  stop(graceMs: number): Promise<void>;
}

export function createWorker(deps: WorkerDeps): RunWorker {
  const { runs, signals, clock, log, metrics, concurrency, options } = deps;
  const workerId = newId();
  const active = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>();
  let stopListening = (): void => {};
  let forgetDueTimer = (): void => {};
  let stopping = false;
  let claiming: Promise<void> | undefined;
  let claimAgain = false;

  /** Invariant 1: one claim loop at a time; a wake-up during it makes it look once more. */
  function wake(): void {
    claimAgain = true;
    claiming ??= claimAll().finally(() => {
      claiming = undefined;
      if (claimAgain && !stopping && active.size < concurrency) wake();
    });
  }

  async function claimAll(): Promise<void> {
    while (!stopping && active.size < concurrency) {
      claimAgain = false;
      const run = await claim();
      if (run === undefined) {
        if (claimAgain) continue;
        await watchNextDue();
        return;
      }
      begin(run);
    }
  }

  async function claim(): Promise<Run | undefined> {
    try {
      return await runs.claim(workerId, options.leaseMs);
    } catch (error) {
      log.error({ err: error }, "claiming a run failed");
      forgetDueTimer = clock.after(1_000, wake);
      return undefined;
    }
  }

  async function watchNextDue(): Promise<void> {
    const dueAt = await runs.nextDueAt();
    forgetDueTimer();
    if (dueAt !== undefined && dueAt > clock.now()) forgetDueTimer = clock.after(dueAt - clock.now(), wake);
  }

  function begin(run: Run): void {
    const abort = new AbortController();
    const done = attend(deps, workerId, run, abort)
      .catch((error: unknown) => log.error({ err: error, runId: run.runId }, "a run could not be attended to its end"))
      .finally(() => {
        active.delete(run.runId);
        metrics.runsActive.set(active.size);
        wake();
      });
    active.set(run.runId, { abort, done });
    metrics.runsActive.set(active.size);
  }

  return {
    start() {
      stopListening = signals.on("runs", wake);
      wake();
    },

    async stop(graceMs) {
      stopping = true;
      stopListening();
      forgetDueTimer();
      await claiming;
      const all = Promise.allSettled([...active.values()].map(({ done }) => done));
      let forgetGrace = (): void => {};
      const grace = new Promise<void>((resolve) => {
        forgetGrace = clock.after(graceMs, resolve);
      });
      await Promise.race([all, grace]);
      forgetGrace();
      for (const { abort } of active.values()) abort.abort(SHUTDOWN);
      await all;
    },
  };
}
