/**
 * How an attempt ends: decided from what the graph did and why it was stopped, committed, and only then said.
 *
 * 1. What a run ended as is committed, its checkpoints durable before that, before its stream says so.
 * 2. A cancel that was accepted before the run ended decides how it ends, even when the graph came to its end first.
 * 3. A shutdown gives the run back to the queue, and so does an eviction: its stream is neither ended nor failed.
 */
import type { Signals } from "../bridge/bridge.js";
import type { Metrics } from "../core/metrics.js";
import type { Interrupt, Run, RunError, RunStatus } from "../core/model.js";
import type { ExecuteResult } from "../graphs/host.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import type { BriefRun, Lease, RunOutcome, RunStore } from "../storage/ports/runs.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import { resultJson } from "./result.js";
import { type LogEnding, openRunLog, type RunLog, type RunLogDeps } from "./run-log.js";

/** Why a run was told to stop; the reason that its signal aborts with. */
export type StopCause = "interrupt" | "rollback" | "timeout" | "lost" | "shutdown";

export interface Ending {
  readonly result: ExecuteResult;
  readonly cause: StopCause | null;
}

export type Verdict =
  /** Another claim owns the run. */
  | { readonly kind: "abandon" }
  | { readonly kind: "release" }
  | { readonly kind: "take back" }
  | { readonly kind: "finish"; readonly outcome: RunOutcome };

/** Pure. */
export function decideEnding(run: Run, { result, cause }: Ending): Verdict {
  switch (cause) {
    case "lost":
      return { kind: "abandon" };
    case "rollback":
      return { kind: "take back" };
    case "interrupt":
      return finish("interrupted", null); // 2
    case "timeout":
      if (result.kind !== "aborted") break;
      return finish("timeout", { error: "TimeoutError", message: "the run exceeded its time limit" });
    case "shutdown":
      if (result.kind !== "aborted") break;
      return { kind: "release" }; // 3
    case null:
  }
  if (result.kind === "evicted") return { kind: "release" };
  if (result.kind === "finished") return finish("success", null);
  if (result.kind === "failed") return finish("error", result.error);
  return finish("error", { error: "AbortError", message: "the graph stopped although nobody told it to" });

  function finish(status: RunOutcome["status"], error: RunError | null): Verdict {
    const projection = result.kind === "evicted" ? null : result.projection;
    const outcome = { status, error, projection };
    return { kind: "finish", outcome: { ...outcome, deleteThread: isThreadDone(run, outcome) } };
  }
}

/** A thread that was made for the run goes with it, unless the graph asks something that somebody may answer. */
function isThreadDone({ payload }: Run, outcome: Omit<RunOutcome, "deleteThread">): boolean {
  const asks = payload.keepWhenPaused === true && (questionsOf(outcome)?.length ?? 0) > 0;
  return payload.temporary && !asks;
}

export interface EndingDeps extends RunLogDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly checkpoints: Checkpoints;
  readonly signals: Signals;
  readonly metrics: Metrics;
}

/** What an attempt holds while it runs. */
interface Claim {
  readonly run: Run;
  readonly lease: Lease;
  readonly leaseMs: number;
  readonly runLog: RunLog;
}

/**
 * Carries the verdict out; returns what became of the run, for the log. May be called again after it threw: what was
 * committed stays committed, and nothing is said twice.
 */
export async function settle(deps: EndingDeps, claim: Claim, ending: Ending): Promise<RunStatus | Verdict["kind"]> {
  const { runs } = deps;
  const { run, lease } = claim;
  const verdict = decideEnding(run, ending);
  switch (verdict.kind) {
    case "abandon":
      return "abandon";
    case "release":
      return giveBack(deps, claim);
    case "take back": {
      const resultJson = await resultOf(deps, run);
      if (!(await runs.markRollingBack(lease))) return "abandon";
      await takeBack(deps, run);
      await say(deps, claim, { status: "rollback", error: null, resultJson, paused: null });
      if (run.payload.temporary) await removeThread(deps, run.threadId);
      return "take back";
    }
    case "finish": {
      const { status, error, deleteThread } = verdict.outcome;
      const resultJson = await resultOf(deps, run, verdict.outcome);
      await deps.checkpoints.sync(); // 1
      if (!(await runs.finish(lease, verdict.outcome))) {
        const { held, cancel } = await runs.renew(lease, claim.leaseMs);
        return held && cancel !== null ? settle(deps, claim, { ...ending, cause: cancel }) : "abandon"; // 2
      }
      deps.metrics.runsFinished.inc({ status });
      await say(deps, claim, { status, error, resultJson, paused: questionsOf(verdict.outcome) });
      if (deleteThread) await removeThread(deps, run.threadId);
      return status;
    }
  }
}

/** Lets others go on with the run, its attempt unspent; `abandon` where it was lost. */
export async function giveBack(
  { runs, ledgerWriter, signals }: EndingDeps,
  { run, lease }: Pick<Claim, "run" | "lease">,
): Promise<"release" | "abandon"> {
  await ledgerWriter.flush(run.runId); // before what its next owner writes
  if (!(await runs.release(lease))) return "abandon";
  signals.send("runs");
  return "release";
}

/** null where the graph came to an end, or did not say that it paused. */
function questionsOf({ status, projection }: Pick<RunOutcome, "status" | "projection">): readonly Interrupt[] | null {
  if (status !== "success" || projection === null) return null;
  const questions = Object.values(projection.interrupts).flat();
  return questions.length > 0 || projection.next.length > 0 ? questions : null;
}

/** Where the state is as it was, or cannot be read, the thread's row tells it. */
export async function resultOf(
  deps: Pick<EndingDeps, "threads">,
  run: Pick<Run, "threadId">,
  { projection, error }: Pick<RunOutcome, "projection" | "error"> = { projection: null, error: null },
): Promise<string> {
  const state = projection ?? (await deps.threads.get(run.threadId));
  return resultJson({ valuesJson: state?.valuesJson ?? null, interrupts: state?.interrupts ?? {}, error });
}

async function say({ signals }: EndingDeps, { run, runLog }: Claim, ending: LogEnding): Promise<void> {
  await runLog.end(ending);
  tell(signals, run);
}

/** The last words of a run that nobody executes, as its next claim would say them. Said twice they are heard once. */
export async function sayEnd(
  deps: RunLogDeps & Pick<EndingDeps, "signals">,
  run: BriefRun,
  ending: Pick<LogEnding, "status" | "resultJson">,
): Promise<void> {
  const runLog = await openRunLog(deps, run, run.fence + 1);
  await runLog.end({ ...ending, error: null, paused: null });
  tell(deps.signals, run);
}

/** The run is over, its thread free: hints for whoever waits for either. */
function tell(signals: Signals, run: Pick<BriefRun, "runId" | "threadId" | "payload">): void {
  signals.send(`run:${run.runId}`);
  signals.send(`thread:${run.threadId}`);
  signals.send("runs");
  if (run.payload.webhook !== undefined) signals.send("webhooks");
}

/**
 * Takes a rolled-back run out of its thread: first its checkpoints, then its row, and a temporary thread is marked for
 * deletion with it. Safe to repeat after a crash.
 */
export async function takeBack(
  deps: Pick<EndingDeps, "runs" | "checkpoints">,
  run: Pick<Run, "runId" | "threadId" | "fence">,
): Promise<void> {
  await deps.checkpoints.deleteRun(run);
  await deps.checkpoints.sync();
  await deps.runs.removeRolledBack(run);
}

/** Removes a thread that is marked for deletion: first its checkpoints, then its rows. Safe to repeat after a crash. */
export async function removeThread(deps: Pick<EndingDeps, "threads" | "checkpoints">, threadId: string): Promise<void> {
  await deps.checkpoints.deleteThread(threadId);
  await deps.checkpoints.sync();
  await deps.threads.remove(threadId);
}
