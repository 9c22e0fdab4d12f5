/**
 * One lease from its claim to its end: drives the graph, publishes what it says, hands the rest to `ending.ts`.
 *
 * 1. While it holds the lease and the graph's code reacts it renews it; a lost lease aborts the graph, and from then on nothing
 *    is published. Who stood still for so long that it may be lost asks before it says anything.
 * 2. The first reason to stop wins; it reaches the graph through the signal.
 * 3. A run does not fail because its storage is away: what it begins with is read when that can be read, and an end that
 *    cannot be written down now is written down later. A full disk must not leave a thread busy for ever.
 */
import { type Clock, pause } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import { toJson } from "../core/json.js";
import type { LeaseTimes } from "../core/lease.js";
import type { Log } from "../core/log.js";
import type { Run } from "../core/model.js";
import { type RunTrace, SPAN_EVENT, type Tracing } from "../core/tracing.js";
import type { ExecuteRequest, ExecuteResult, GraphHost } from "../graphs/host.js";
import type { Lease } from "../storage/ports/runs.js";
import { type EndingDeps, giveBack, type StopCause, settle } from "./ending.js";
import type { LedgerWriter } from "./ledger-writer.js";
import { graphInputOf } from "./recovery.js";
import { ANSWERED_EVENT, openRunLog, type RunLog } from "./run-log.js";

export interface AttemptDeps extends EndingDeps {
  readonly host: GraphHost;
  readonly ledgerWriter: LedgerWriter;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether it is the storage that failed, and may work again in a moment; absent where it never does. */
  readonly isAway?: ((error: unknown) => boolean) | undefined;
  /** Absent where nobody collects traces. */
  readonly tracing?: Tracing | undefined;
  readonly options: AttemptOptions;
}

export interface AttemptOptions extends LeaseTimes {
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

/** A run that a worker has claimed. */
export interface ClaimedRun {
  readonly run: Run;
  readonly workerId: string;
  /** When it asked for it: the lease began then or later. */
  readonly askedAt: number;
  /** Resolves when nothing of an earlier attempt at the run is left in this worker, which had lost it. */
  readonly earlier: Promise<unknown>;
}

/** Runs a run under its lease until it is over one way or another. */
export async function attend(deps: AttemptDeps, claimed: ClaimedRun, stopSwitch: StopSwitch): Promise<void> {
  const { clock, log, options } = deps;
  const { run, workerId } = claimed;
  const lease: Lease = { runId: run.runId, threadId: run.threadId, fence: run.fence, workerId };
  const ids = { runId: run.runId, threadId: run.threadId, attempt: run.attempt };
  const hold = holdLease(deps, { run, lease, askedAt: claimed.askedAt }, stopSwitch);
  let trace: RunTrace | undefined;
  let status: string | null = null;
  try {
    await claimed.earlier;
    const startedAt = clock.now();
    log.info(ids, "run started");
    trace = deps.tracing?.begin(run, startedAt);
    if (!(await hold.mayPublish())) {
      const isLost = stopSwitch.cause === "lost"; // or the gateway stops, and nobody knows
      status = isLost ? "abandon" : await inTheEnd(deps, run, stopSwitch, () => giveBack(deps, { run, lease }));
      log.warn({ ...ids, status }, "run lost, or given back, before it began");
      return;
    }
    const runLog = heldLog(await openRunLog(deps, run, run.fence), hold);
    deps.signals.send(`thread:${run.threadId}`);
    const result = await execute(deps, run, { runLog, trace, signal: stopSwitch.signal, hold });
    const claim = { run, lease, leaseMs: options.leaseMs, runLog };
    const ending = { result, cause: stopSwitch.cause };
    const ended = await inTheEnd(deps, run, stopSwitch, () => settle(deps, claim, ending));
    status = ended;
    log.info({ ...ids, status: ended, ms: clock.now() - startedAt }, "run ended");
  } finally {
    hold.letGo();
    trace?.end(status, clock.now());
  }
}

/** A lease while it is being kept. */
interface Hold {
  /**
   * Whether what the run says may still be said: nobody else can have it. Asks the store when it was not renewed for so long
   * that somebody might; waits while that does not answer.
   */
  mayPublish(): true | Promise<boolean>;
  /** The graph has begun, or ended: in between the lease is renewed only while its code reacts. */
  isDriving: boolean;
  letGo(): void;
}

interface HeldRun {
  readonly run: Run;
  readonly lease: Lease;
  readonly askedAt: number;
}

/** Renews the lease, and stops for a cancel, the timeout, or a lease that is lost. */
function holdLease(deps: AttemptDeps, { run, lease, askedAt }: HeldRun, stopSwitch: StopSwitch): Hold {
  const { host, runs, clock, signals, log, options } = deps;
  let renewedAt = askedAt;
  let isLost = false;
  let hasReacted = false;

  /** Whether its code has begun and does not react any more: its thread is given up before the lease ends. */
  function isStuck(): boolean {
    if (!hold.isDriving) return false; // what reacts may be the rest of an earlier attempt
    const reacts = host.isAnswering(run.runId);
    hasReacted ||= reacts; // before that it waits for a thread
    return hasReacted && !reacts;
  }

  async function renew(): Promise<void> {
    if (isStuck()) return;
    const at = clock.now();
    try {
      const { held, cancel } = await runs.renew(lease, options.leaseMs);
      if (held) renewedAt = at;
      else lose(); // 1
      if (cancel !== null) stopSwitch.stop(cancel);
    } catch (error) {
      log.warn({ err: error, runId: run.runId }, "a lease could not be renewed");
    }
  }

  function lose(): void {
    if (!isLost) deps.metrics.leasesLost.inc();
    isLost = true;
    stopSwitch.stop("lost");
  }

  function isTrusted(): boolean {
    return options.trustMs === Number.POSITIVE_INFINITY || clock.now() - renewedAt < options.trustMs;
  }

  async function isStillHeld(): Promise<boolean> {
    while (!isLost && !isTrusted()) {
      await renew();
      if (isLost || isTrusted()) break;
      if (stopSwitch.isShutDown) return false;
      await pause(clock, RENEW_AGAIN_MS);
    }
    return !isLost;
  }

  /** A cancel is looked up, not renewed for: a write would keep it waiting for the disk. */
  async function lookForCancel(): Promise<void> {
    try {
      const row = await runs.getBrief(run.threadId, run.runId);
      if (row?.fence === run.fence && row.cancelAction !== null) stopSwitch.stop(row.cancelAction);
    } catch (error) {
      log.warn({ err: error, runId: run.runId }, "a cancel could not be looked up; the next renewal sees it");
    }
  }

  let stopped = false;
  let forgetRenewal = (): void => {};
  const renewLater = (): void => {
    forgetRenewal = clock.after(options.heartbeatMs, () => void renew().then(() => stopped || renewLater()));
  };
  renewLater();
  const forgetTimeout = clock.after(options.timeoutMs, () => stopSwitch.stop("timeout"));
  const stopListening = signals.on(`cancel:${run.runId}`, () => void lookForCancel());
  if (run.cancelAction !== null) stopSwitch.stop(run.cancelAction);
  const hold: Hold = {
    mayPublish: () => (!isLost && isTrusted() ? true : isStillHeld()),
    isDriving: false,
    letGo() {
      stopped = true;
      forgetRenewal();
      forgetTimeout();
      stopListening();
    },
  };
  return hold;
}

/** 1: what is said under a lease that was lost is not said. */
function heldLog(runLog: RunLog, hold: Hold): RunLog {
  return {
    ...runLog,
    publish(event, namespace, data) {
      const may = hold.mayPublish();
      if (may === true) return runLog.publish(event, namespace, data);
      return may.then((isHeld) => (isHeld ? runLog.publish(event, namespace, data) : undefined));
    },
  };
}

/** Publishes what the graph says; whatever goes wrong is a result. */
async function execute(
  deps: AttemptDeps,
  run: Run,
  { runLog, trace, signal, hold }: { runLog: RunLog; trace: RunTrace | undefined; signal: AbortSignal; hold: Hold },
): Promise<ExecuteResult> {
  const { host, clock, metrics, options } = deps;
  if (run.attempt > options.maxAttempts) return giveUp(deps, run);
  try {
    const begin = await requestInTheEnd(deps, run, signal);
    if (begin === null) return { kind: "aborted", projection: null };
    const request = { ...begin, recording: trace?.recording };
    const answered = answeredBy(request);
    if (answered.length > 0) await runLog.publish(ANSWERED_EVENT, [], toJson(answered));
    const events = host.execute(request, signal);
    hold.isDriving = true;
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
  } finally {
    hold.isDriving = false;
  }
}

/** The ids of the questions that the run was made to answer. */
function answeredBy({ input }: ExecuteRequest): readonly string[] {
  const resume = input.kind === "command" ? input.command.resume : undefined;
  return typeof resume === "object" && resume !== null ? Object.keys(resume) : [];
}

/** Invariant 3; null when something stopped the run first. */
async function requestInTheEnd(deps: AttemptDeps, run: Run, signal: AbortSignal): Promise<ExecuteRequest | null> {
  for (;;) {
    try {
      return await executeRequest(deps, run);
    } catch (error) {
      if (deps.isAway?.(error) !== true) throw error;
      if (signal.aborted) return null;
      deps.log.warn({ err: error, runId: run.runId }, "what a run begins with could not be read; trying again");
      await new Promise<void>((resolve) => void deps.clock.after(BEGIN_AGAIN_MS, resolve));
    }
  }
}

async function executeRequest(deps: AttemptDeps, run: Run): Promise<ExecuteRequest> {
  const pendingBefore = await deps.threads.pendingInterrupts(run.threadId);
  const { checkpoints, host } = deps;
  const hasBreakpoints = host.graphs().some((graph) => graph.graphId === run.graphId && graph.hasBreakpoints);
  const input = await graphInputOf(run, { pending: pendingBefore, checkpoints, hasBreakpoints });
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

const BEGIN_AGAIN_MS = 1_000;
const RENEW_AGAIN_MS = 1_000;
const SETTLE_AGAIN_MS = 1_000;
/** A stop that takes longer than five seconds after the grace would be ended by whoever asked for it. */
const SETTLE_AT_STOP_MS = 3_000;

/**
 * Invariant 3: `work`, which writes down what becomes of a run, until it succeeds. A shutdown ends the trying after a while,
 * because the run is found by its row: by the next start, or by another replica when its lease is over, its attempt spent.
 */
async function inTheEnd<T>(
  { clock, log }: AttemptDeps,
  { runId }: Run,
  stopSwitch: StopSwitch,
  work: () => Promise<T>,
): Promise<T> {
  for (let until: number | undefined; ; ) {
    try {
      return await work();
    } catch (error) {
      if (stopSwitch.isShutDown) until ??= clock.now() + SETTLE_AT_STOP_MS;
      if (until !== undefined && clock.now() >= until) throw error;
      log.error({ err: error, runId }, "the end of a run could not be written; trying again");
      await new Promise<void>((resolve) => void clock.after(SETTLE_AGAIN_MS, resolve));
    }
  }
}
