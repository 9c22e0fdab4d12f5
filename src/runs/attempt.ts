/**
 * One lease from its claim to its end: drives the graph, publishes what it says, commits how it ended.
 *
 * 1. While it holds the lease it renews it; a lost lease aborts the graph, and from then on nothing is published.
 * 2. What a run ended as is committed, its checkpoints durable before that, before its stream says so.
 * 3. A cancel that was accepted before the run ended decides how it ends, even when the graph came to its end first.
 * 4. A shutdown gives the run back to the queue: its stream is neither ended nor failed.
 */
import type { Signals, StreamBridge } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import { toJson } from "../core/json.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { Run, RunError, RunStatus } from "../core/model.js";
import type { ExecuteResult, GraphHost } from "../graphs/host.js";
import type { Checkpoints, Lease, RunOutcome, RunStore, ThreadStore } from "../storage/storage.js";
import { graphInputOf } from "./recovery.js";
import { RESULT_EVENT, resultJson } from "./result.js";

export interface AttemptDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly checkpoints: Checkpoints;
  readonly host: GraphHost;
  readonly bridge: StreamBridge;
  readonly signals: Signals;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly options: AttemptOptions;
}

export interface AttemptOptions {
  readonly leaseMs: number;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly keepPartialOnCancel: boolean;
}

type AbortCause = "interrupt" | "rollback" | "timeout" | "lost" | typeof SHUTDOWN;

/** Abort reason of a gateway that stops. */
export const SHUTDOWN = "shutdown";

/** Runs `run` under the lease of `workerId` until it is over one way or another. */
export async function attend(deps: AttemptDeps, workerId: string, run: Run, abort: AbortController): Promise<void> {
  const { clock, log } = deps;
  const lease: Lease = { runId: run.runId, threadId: run.threadId, fence: run.fence, workerId };
  const ids = { runId: run.runId, threadId: run.threadId, attempt: run.attempt };
  const startedAt = clock.now();
  log.info(ids, "run started");
  const stopWatching = watch(deps, run, lease, abort);
  try {
    const stream = openStream(deps.bridge, run);
    const result = await execute(deps, run, stream, abort.signal);
    const cause = abort.signal.aborted ? (abort.signal.reason as AbortCause) : null; // only this file aborts it
    const ended = await settle(deps, run, lease, stream, { result, cause });
    log.info({ ...ids, status: ended, ms: clock.now() - startedAt }, "run ended");
  } finally {
    stopWatching();
  }
}

/** Invariant 1: renews the lease, and aborts for a cancel, the timeout, or a lease that is lost. */
function watch(deps: AttemptDeps, run: Run, lease: Lease, abort: AbortController): () => void {
  const { runs, clock, signals, log, options } = deps;
  const renew = async (): Promise<void> => {
    try {
      const { held, cancel } = await runs.renew(lease, options.leaseMs);
      if (!held) abort.abort("lost" satisfies AbortCause);
      else if (cancel !== null) abort.abort(cancel satisfies AbortCause);
    } catch (error) {
      log.warn({ err: error, runId: run.runId }, "a lease could not be renewed");
    }
  };
  let stopped = false;
  let forgetRenewal = (): void => {};
  const renewLater = (): void => {
    forgetRenewal = clock.after(options.leaseMs / 3, () => void renew().then(() => stopped || renewLater()));
  };
  renewLater();
  const forgetTimeout = clock.after(options.timeoutMs, () => abort.abort("timeout" satisfies AbortCause));
  const stopListening = signals.on(`cancel:${run.runId}`, () => void renew());
  if (run.cancelAction !== null) abort.abort(run.cancelAction satisfies AbortCause);
  return () => {
    stopped = true;
    forgetRenewal();
    forgetTimeout();
    stopListening();
  };
}

/** Numbers and publishes the events of one claim. */
interface RunStream {
  publish(event: string, namespace: readonly string[], data: string): Promise<void>;
}

function openStream(bridge: StreamBridge, run: Run): RunStream {
  let seq = 0;
  return {
    async publish(event, namespace, data) {
      const accepted = bridge.publish(run.runId, { id: { fence: run.fence, seq: ++seq }, event, namespace, data });
      if (typeof accepted !== "boolean") await accepted; // a remote bridge sets the pace, the memory bridge never waits
    },
  };
}

async function execute(deps: AttemptDeps, run: Run, stream: RunStream, signal: AbortSignal): Promise<ExecuteResult> {
  const { host, threads, checkpoints, clock, metrics, options } = deps;
  if (run.attempt > options.maxAttempts) {
    const message = `the run was started ${options.maxAttempts} times and never came to its end`;
    return { kind: "failed", error: { error: "MaxAttemptsExceeded", message }, projection: null };
  }
  if (signal.aborted) return { kind: "aborted", projection: null };
  try {
    await stream.publish("metadata", [], toJson({ run_id: run.runId, attempt: run.attempt, thread_id: run.threadId }));
    const pendingBefore = (await threads.get(run.threadId))?.interrupts ?? {};
    const input = graphInputOf(run, pendingBefore, checkpoints);
    const keepPartialOn = options.keepPartialOnCancel ? ("interrupt" satisfies AbortCause) : undefined;
    const events = host.execute({ ...run, input, pendingBefore, keepPartialOn }, signal);
    for (let first = true; ; first = false) {
      const step = await events.next();
      if (step.done === true) return step.value;
      if (first) metrics.firstEventSeconds.observe(Math.max(0, clock.now() - run.createdAt) / 1000);
      await stream.publish(step.value.event, step.value.namespace, step.value.data);
    }
  } catch (error) {
    return { kind: "failed", error: describeError(error), projection: null };
  }
}

interface Ending {
  readonly result: ExecuteResult;
  readonly cause: AbortCause | null;
}

async function settle(
  deps: AttemptDeps,
  run: Run,
  lease: Lease,
  stream: RunStream,
  ending: Ending,
): Promise<RunStatus | "lost" | "released" | "rolled back"> {
  const { runs, checkpoints, metrics } = deps;
  if (ending.cause === "lost") return "lost";
  if (ending.cause === SHUTDOWN && ending.result.kind !== "finished") {
    return (await runs.release(lease)) ? "released" : "lost";
  }
  if (ending.cause === "rollback") {
    if (!(await runs.markRollingBack(lease))) return "lost";
    await takeBack(deps, run);
    await stream.publish("end", [], toJson({ run_id: run.runId, status: "rollback" }));
    await close(deps, run);
    return "rolled back";
  }
  const outcome = outcomeOf(run, ending);
  checkpoints.sync(); // invariant 2
  if (!(await runs.finish(lease, outcome))) return "lost";
  metrics.runsFinished.inc({ status: outcome.status });
  await publishEnd(stream, run, outcome);
  await close(deps, run);
  if (outcome.deleteThread) await removeThread(deps, run.threadId);
  return outcome.status;
}

/** Takes a rolled-back run out of its thread: first its checkpoints, then its row. Safe to repeat after a crash. */
export async function takeBack(deps: Pick<AttemptDeps, "runs" | "checkpoints">, run: Run): Promise<void> {
  deps.checkpoints.deleteRun(run.threadId, run.runId);
  deps.checkpoints.sync();
  await deps.runs.removeRolledBack(run);
}

/** Removes a thread that is marked for deletion: first its checkpoints, then its rows. Safe to repeat after a crash. */
export async function removeThread(
  deps: Pick<AttemptDeps, "threads" | "checkpoints">,
  threadId: string,
): Promise<void> {
  deps.checkpoints.deleteThread(threadId);
  deps.checkpoints.sync();
  await deps.threads.remove(threadId);
}

function outcomeOf(run: Run, { result, cause }: Ending): RunOutcome {
  const deleteThread = run.payload.temporary;
  const { projection } = result;
  if (cause === "interrupt") return { status: "interrupted", error: null, projection, deleteThread }; // invariant 3
  if (cause === "timeout" && result.kind !== "finished") {
    const error: RunError = { error: "TimeoutError", message: "the run exceeded its time limit" };
    return { status: "timeout", error, projection, deleteThread };
  }
  if (result.kind === "failed") return { status: "error", error: result.error, projection, deleteThread };
  return { status: "success", error: null, projection, deleteThread };
}

/** The result for waiters, then `error`, or `end` for every other end. */
async function publishEnd(stream: RunStream, run: Run, outcome: RunOutcome): Promise<void> {
  const { status, error, projection } = outcome;
  const result = {
    status,
    error,
    valuesJson: projection?.valuesJson ?? null,
    interrupts: projection?.interrupts ?? {},
  };
  await stream.publish(RESULT_EVENT, [], resultJson(result));
  if (error !== null) await stream.publish("error", [], toJson(error));
  else await stream.publish("end", [], toJson({ run_id: run.runId, status }));
}

async function close({ bridge, signals }: AttemptDeps, run: Run): Promise<void> {
  await bridge.end(run.runId);
  signals.send(`run:${run.runId}`);
  signals.send(`thread:${run.threadId}`);
  signals.send("runs");
}
