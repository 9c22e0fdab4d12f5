/**
 * Stopping runs that are in flight, wherever they execute: a cancel is asked for in the database, the worker is told by a
 * hint, and a run that never ran, which has no worker, is ended here.
 */
import type { Signals } from "../bridge/bridge.js";
import { conflict, GatewayError, notFound } from "../core/errors.js";
import { type CancelAction, isInFlight, type MultitaskStrategy, type RunStatus } from "../core/model.js";
import type { BriefRun, RunStore } from "../storage/ports/runs.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import { resultOf, sayEnd } from "./ending.js";
import type { RunLogDeps } from "./run-log.js";
import { nextSignal } from "./wait.js";

export interface StopperDeps extends RunLogDeps {
  /** Of everybody. */
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly signals: Signals;
}

export interface Cancel {
  readonly runId: string;
  readonly action: CancelAction;
}

export interface Stopper {
  /** Of the runs that `runs` shows. Idempotent; `conflict` for a run that ended otherwise, `notFound` without one. */
  cancel(runs: RunStore, threadId: string | null, cancel: Cancel): Promise<void>;
  /** Ends the log of a run that never ran, and removes a thread that was its own. */
  endUnstarted(run: BriefRun, status: "interrupted" | "rollback"): Promise<void>;
  /** Resolves when the run is in flight no more. */
  ended(runId: string, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing is in flight on a thread on which no run can start any more. */
  stopThread(threadId: string, signal: AbortSignal): Promise<void>;
}

export function createStopper(deps: StopperDeps): Stopper {
  const { signals, threads } = deps;

  async function endUnstarted(run: BriefRun, status: "interrupted" | "rollback"): Promise<void> {
    await sayEnd(deps, run, { status, resultJson: await resultOf(deps, run) });
    if (run.payload.temporary) await threads.remove(run.threadId);
  }

  /** The run's row when its status is like that; undefined when it is gone, or the signal aborts first. */
  async function change(
    runId: string,
    isAwaited: (status: RunStatus) => boolean,
    signal: AbortSignal,
  ): Promise<BriefRun | undefined> {
    while (!signal.aborted) {
      const next = nextSignal(signals, `run:${runId}`, signal);
      const run = await deps.runs.getBrief(null, runId);
      if (run === undefined || isAwaited(run.status)) {
        next.forget();
        return run;
      }
      await next.promise;
    }
    return undefined;
  }

  /** What waits, or is given back, has come to its end. */
  async function stopRun(run: BriefRun, signal: AbortSignal): Promise<void> {
    await deps.runs.requestCancel(run.threadId, run.runId, "interrupt");
    if (run.status === "pending") return endUnstarted(run, "interrupted"); // its row goes with the thread
    signals.send(`cancel:${run.runId}`);
    const stopped = await change(run.runId, (status) => status !== "running", signal);
    if (signal.aborted) throw new GatewayError("unavailable", `run ${run.runId} has not stopped yet; try again`);
    if (stopped?.status === "pending") await endUnstarted(stopped, "interrupted");
  }

  return {
    endUnstarted,

    async cancel(runs, threadId, { runId, action }) {
      const run = await briefOf(runs, threadId, runId);
      switch (await runs.requestCancel(threadId, runId, action)) {
        case "ended":
          return endUnstarted(run, cancelledAs(action));
        case "requested":
          signals.send(`cancel:${runId}`);
          return;
        case "already":
          return;
        case "finished": {
          const { status } = await briefOf(runs, threadId, runId);
          throw conflict(`run ${runId} has ended already with status ${status}`, { status });
        }
        case "missing":
          throw notFound("run", runId);
      }
    },

    async ended(runId, signal) {
      await change(runId, (status) => !isInFlight(status), signal);
    },

    async stopThread(threadId, signal) {
      const inFlight = await deps.runs.listInFlight({ threadId });
      await Promise.all(inFlight.map((run) => stopRun(run, signal)));
    },
  };
}

/** Throws `notFound` without one. */
export async function briefOf(runs: RunStore, threadId: string | null, runId: string): Promise<BriefRun> {
  const run = await runs.getBrief(threadId, runId);
  if (run === undefined) throw notFound("run", runId);
  return run;
}

/** How a run ends that is cancelled by that. */
export function cancelledAs(action: CancelAction | MultitaskStrategy): "interrupted" | "rollback" {
  return action === "rollback" ? "rollback" : "interrupted";
}
