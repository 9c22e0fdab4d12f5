/**
 * One lease from its claim to its end: drives the graph, publishes what it says, hands the rest to `ending.ts`.
 *
 * 1. While it holds the lease and the graph's code reacts it renews it; a lost lease aborts the graph, and from then on nothing is published.
 * 2. The first reason to stop wins; it reaches the graph through the signal.
 * 3. An end that cannot be written down now is written down later: a full disk must not leave a thread busy for ever.
 */
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import { toJson } from "../core/json.js";
import type { Log } from "../core/log.js";
import type { Run } from "../core/model.js";
import { type RunTrace, SPAN_EVENT, type Tracing } from "../core/tracing.js";
import type { ExecuteRequest, ExecuteResult, GraphHost } from "../graphs/host.js";
import type { Lease } from "../storage/storage.js";
import { type Claim, type Ending, type EndingDeps, type StopCause, settle } from "./ending.js";
import type { LedgerWriter } from "./ledger-writer.js";
import { graphInputOf } from "./recovery.js";
import { ANSWERED_EVENT, openRunLog, type RunLog } from "./run-log.js";

export interface AttemptDeps extends EndingDeps {
  readonly host: GraphHost;
  readonly ledgerWriter: LedgerWriter;
  readonly clock: Clock;
  readonly log: Log;
  /** Absent where nobody collects traces. */
  readonly tracing?: Tracing | undefined;
  readonly options: AttemptOptions;
}

export interface AttemptOptions {
  readonly leaseMs: number;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly keepPartialOnCancel: boolean;
}

/** Stops the run of an attempt; the first cause wins. */
export class StopSwitch {
  readonly #abort = new AbortController();
  readonly signal = this.#abort.signal;
  #isShutDown = false;

  stop(cause: StopCause): void {
    this.#isShutDown ||= cause === "shutdown";
    this.#abort.abort(cause);
  }

  /** Whether the gateway stops, even when something else stopped the run first. */
  get isShutDown(): boolean {
    return this.#isShutDown;
  }

  /** null while nobody stopped it. */
  get cause(): StopCause | null {
    return this.signal.aborted ? (this.signal.reason as StopCause) : null; // only `stop` aborts it
  }
}

/** Runs `run` under the lease of `workerId` until it is over one way or another. */
export async function attend(deps: AttemptDeps, workerId: string, run: Run, stopSwitch: StopSwitch): Promise<void> {
  const { clock, log, options } = deps;
  const lease: Lease = { runId: run.runId, threadId: run.threadId, fence: run.fence, workerId };
  const ids = { runId: run.runId, threadId: run.threadId, attempt: run.attempt };
  const startedAt = clock.now();
  log.info(ids, "run started");
  const trace = deps.tracing?.begin(run, startedAt);
  let status: string | null = null;
  const stopWatching = watch(deps, run, lease, stopSwitch);
  try {
    const runLog = await openRunLog(deps, run, run.fence);
    deps.signals.send(`thread:${run.threadId}`);
    const result = await execute(deps, run, { runLog, trace, signal: stopSwitch.signal });
    const claim = { run, lease, leaseMs: options.leaseMs, runLog };
    const ended = await settleInTheEnd(deps, claim, { result, cause: stopSwitch.cause }, stopSwitch);
    status = ended;
    log.info({ ...ids, status: ended, ms: clock.now() - startedAt }, "run ended");
  } finally {
    stopWatching();
    trace?.end(status, clock.now());
  }
}

/** Renews the lease, and stops for a cancel, the timeout, or a lease that is lost. */
function watch(deps: AttemptDeps, run: Run, lease: Lease, stopSwitch: StopSwitch): () => void {
  const { host, runs, clock, signals, log, options } = deps;
  const renew = async (): Promise<void> => {
    if (!host.isAnswering(run.runId)) return; // its thread is given up before the lease ends
    try {
      const { held, cancel } = await runs.renew(lease, options.leaseMs);
      if (!held)
        stopSwitch.stop("lost"); // 1
      else if (cancel !== null) stopSwitch.stop(cancel);
    } catch (error) {
      log.warn({ err: error, runId: run.runId }, "a lease could not be renewed");
    }
  };
  /** A cancel is looked up, not renewed for: a write would keep it waiting for the disk. */
  const lookForCancel = async (): Promise<void> => {
    try {
      const row = await runs.get(run.threadId, run.runId);
      if (row?.fence === run.fence && row.cancelAction !== null) stopSwitch.stop(row.cancelAction);
    } catch (error) {
      log.warn({ err: error, runId: run.runId }, "a cancel could not be looked up; the next renewal sees it");
    }
  };
  let stopped = false;
  let forgetRenewal = (): void => {};
  const renewLater = (): void => {
    forgetRenewal = clock.after(options.leaseMs / 3, () => void renew().then(() => stopped || renewLater()));
  };
  renewLater();
  const forgetTimeout = clock.after(options.timeoutMs, () => stopSwitch.stop("timeout"));
  const stopListening = signals.on(`cancel:${run.runId}`, () => void lookForCancel());
  if (run.cancelAction !== null) stopSwitch.stop(run.cancelAction);
  return () => {
    stopped = true;
    forgetRenewal();
    forgetTimeout();
    stopListening();
  };
}

/** Publishes what the graph says; whatever goes wrong is a result. */
async function execute(
  deps: AttemptDeps,
  run: Run,
  { runLog, trace, signal }: { runLog: RunLog; trace: RunTrace | undefined; signal: AbortSignal },
): Promise<ExecuteResult> {
  const { host, clock, metrics, options } = deps;
  if (run.attempt > options.maxAttempts) return giveUp(deps, run);
  try {
    const request = { ...(await executeRequest(deps, run)), recording: trace?.recording };
    const answered = answeredBy(request);
    if (answered.length > 0) await runLog.publish(ANSWERED_EVENT, [], toJson(answered));
    const events = host.execute(request, signal);
    let first = true;
    for (;;) {
      const step = await events.next();
      if (step.done === true) return step.value;
      if (step.value.event === SPAN_EVENT) {
        trace?.add(step.value.data);
        continue;
      }
      if (first) metrics.firstEventSeconds.observe(Math.max(0, clock.now() - run.createdAt) / 1000);
      first = false;
      const published = runLog.publish(step.value.event, step.value.namespace, step.value.data);
      if (published !== undefined) await published;
    }
  } catch (error) {
    return { kind: "failed", error: describeError(error), projection: null };
  }
}

/** The ids of the questions that the run was made to answer. */
function answeredBy({ input }: ExecuteRequest): readonly string[] {
  const resume = input.kind === "command" ? input.command.resume : undefined;
  return typeof resume === "object" && resume !== null ? Object.keys(resume) : [];
}

async function executeRequest(deps: AttemptDeps, run: Run): Promise<ExecuteRequest> {
  const pendingBefore = await deps.threads.pendingInterrupts(run.threadId);
  const { checkpoints, host } = deps;
  const hasBreakpoints = host.graphs().some((graph) => graph.graphId === run.graphId && graph.hasBreakpoints);
  const input = graphInputOf(run, { pending: pendingBefore, checkpoints, hasBreakpoints });
  const keepPartialOn = deps.options.keepPartialOnCancel ? ("interrupt" satisfies StopCause) : undefined;
  return { ...run, input, pendingBefore, keepPartialOn };
}

/** Too many attempts died: nothing is driven any more, but the thread shows what they left behind. */
async function giveUp(deps: AttemptDeps, run: Run): Promise<ExecuteResult> {
  const message = `the run was started ${deps.options.maxAttempts} times and never came to its end`;
  const error = { error: "MaxAttemptsExceeded", message };
  const request = { ...run, input: { kind: "continue" }, pendingBefore: {}, keepPartialOn: undefined } as const;
  const { value } = await deps.host.execute(request, AbortSignal.abort()).next();
  const projection = value !== undefined && "projection" in value ? value.projection : null;
  return { kind: "failed", error, projection };
}

const SETTLE_AGAIN_MS = 1_000;

/** Invariant 3; a shutdown ends the trying, because the next start finds the run by its row. */
async function settleInTheEnd(
  deps: AttemptDeps,
  claim: Claim,
  ending: Ending,
  stopSwitch: StopSwitch,
): Promise<Awaited<ReturnType<typeof settle>>> {
  for (;;) {
    try {
      return await settle(deps, claim, ending);
    } catch (error) {
      if (stopSwitch.isShutDown) throw error;
      deps.log.error({ err: error, runId: claim.run.runId }, "the end of a run could not be written; trying again");
      await new Promise<void>((resolve) => void deps.clock.after(SETTLE_AGAIN_MS, resolve));
    }
  }
}
