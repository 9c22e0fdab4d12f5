/**
 * Keeps runs going: claims what is due and attends to as many at once as it may.
 *
 * 1. It holds at most `concurrency` leases, and claims again whenever one ends, a run is admitted, or a delayed one is due.
 *    A run that nothing stands in the way of is claimed by its own admission and starts in the same tick.
 * 2. A draining worker claims nothing more. Stopping it gives what does not finish in time back to the queue, its stream
 *    neither ended nor failed.
 */
import { newId } from "../core/ids.js";
import type { Run } from "../core/model.js";
import type { AdmitRequest } from "../storage/ports/runs.js";
import { type AttemptDeps, attend, StopSwitch } from "./attempt.js";

export interface WorkerDeps extends AttemptDeps {
  readonly concurrency: number;
}

/** Room for one run that is about to be admitted. */
export interface Slot {
  /** For the admission: it claims the run in its own transaction when the thread is free. */
  readonly claim: NonNullable<AdmitRequest["claim"]>;
  /** Starts the run that was claimed so. */
  begin(run: Run): void;
  /** Gives the room back. */
  free(): void;
}

export interface RunWorker {
  /** Whose leases they are. */
  readonly id: string;
  /** How many runs it executes now. */
  leases(): number;
  start(): void;
  /** null when there is no room, or when older runs may be waiting for it. */
  reserve(): Slot | null;
  /** Claims nothing from now on, neither from the queue nor for admissions; what runs goes on. */
  drain(): void;
  /** Drains. Invariant 2. Resolves when no lease is held any more. */
  stop(graceMs: number): Promise<void>;
}

interface Attempt {
  readonly runId: string;
  readonly stopSwitch: StopSwitch;
  readonly done: Promise<void>;
}

const CLAIM_AGAIN_MS = 1_000;
/** Its clock may be ahead of the store's, which alone decides what is due. */
const NOT_DUE_YET_MS = 100;

export function createWorker(deps: WorkerDeps): RunWorker {
  const { runs, signals, clock, log, metrics, concurrency, options } = deps;
  const workerId = newId();
  const active = new Set<Attempt>();
  const undecided = new Set<Promise<void>>();
  let stopListening = (): void => {};
  let forgetTimer = (): void => {};
  let isWorking = false;
  let claiming: Promise<void> | undefined;
  let claimAgain = false;
  let wakeScheduled = false;

  /** After what this turn has to say was said: the end of a run reaches its readers before the next run is looked for. */
  function wakeSoon(): void {
    if (wakeScheduled) return;
    wakeScheduled = true;
    setImmediate(() => {
      wakeScheduled = false;
      if (isWorking) wake();
    });
  }

  /** Invariant 1: one claim loop at a time; a wake-up during it makes it look once more. */
  function wake(): void {
    claimAgain = true;
    claiming ??= claimAll()
      .catch((error: unknown) => {
        log.error({ err: error }, "claiming a run failed; trying again");
        wakeAfter(CLAIM_AGAIN_MS);
      })
      .finally(() => {
        claiming = undefined;
        if (claimAgain && hasRoom()) wake();
      });
  }

  function hasRoom(): boolean {
    return isWorking && active.size + undecided.size < concurrency;
  }

  function wakeAfter(delayMs: number): void {
    forgetTimer();
    forgetTimer = clock.after(delayMs, wake);
  }

  async function claimAll(): Promise<void> {
    for (let fellDue = false; hasRoom(); ) {
      claimAgain = false;
      const askedAt = clock.now();
      const run = await runs.claim(workerId, options.leaseMs);
      if (run !== undefined) {
        begin(run, askedAt);
      } else if (!claimAgain) {
        const dueAt = await runs.nextDueAt();
        if (dueAt === undefined) return;
        if (dueAt > clock.now()) return wakeAfter(dueAt - clock.now());
        if (fellDue) return wakeAfter(NOT_DUE_YET_MS);
        fellDue = true; // between the two questions
      }
    }
  }

  function begin(run: Run, askedAt: number): void {
    const stopSwitch = new StopSwitch();
    // One that was lost here, and comes back, begins when what is left of it has stopped.
    const earlier = Promise.all([...active].filter(({ runId }) => runId === run.runId).map(({ done }) => done));
    const done = attend(deps, { run, workerId, askedAt, earlier }, stopSwitch)
      .catch((error: unknown) => log.error({ err: error, runId: run.runId }, "a run could not be attended to its end"))
      .finally(() => {
        active.delete(attempt);
        metrics.runsActive.set(active.size);
        wakeSoon();
      });
    const attempt: Attempt = { runId: run.runId, stopSwitch, done };
    active.add(attempt);
    metrics.runsActive.set(active.size);
  }

  function drain(): void {
    isWorking = false;
    stopListening();
    forgetTimer();
  }

  return {
    id: workerId,
    leases: () => active.size,
    drain,

    start() {
      isWorking = true;
      stopListening = signals.on("runs", wakeSoon);
      wake();
    },

    reserve() {
      if (wakeScheduled || claiming !== undefined || !hasRoom()) return null;
      let resolve = (): void => {};
      const decided = new Promise<void>((settle) => {
        resolve = settle;
      });
      undecided.add(decided);
      const decide = (): void => {
        undecided.delete(decided);
        resolve();
      };
      const askedAt = clock.now();
      return {
        claim: { workerId, leaseMs: options.leaseMs },
        begin(run) {
          begin(run, askedAt);
          decide();
        },
        free() {
          decide();
          wake(); // somebody may have been turned away meanwhile
        },
      };
    },

    async stop(graceMs) {
      drain();
      await claiming;
      await Promise.all(undecided);
      forgetTimer();
      const all = Promise.all([...active].map(({ done }) => done));
      let forgetGrace = (): void => {};
      const grace = new Promise<void>((resolve) => {
        forgetGrace = clock.after(graceMs, resolve);
      });
      await Promise.race([all, grace]);
      forgetGrace();
      for (const { stopSwitch } of active) stopSwitch.stop("shutdown");
      await all;
    },
  };
}
