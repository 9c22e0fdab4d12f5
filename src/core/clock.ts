/** Time as a dependency, so that leases, delays and heartbeats can be tested without waiting. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls `callback` once after `delayMs`; the returned function forgets it. Never keeps the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** A clock that can be set to another time while the process lives, and what it cannot be set in. */
export interface SystemClock extends Clock {
  /** Milliseconds, with fractions, that have passed since some moment: nothing but time changes it. */
  elapsed(): number;
}

const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: SystemClock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delayMs, 0), MAX_TIMER_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after so long, or at once when `signal` aborts, or has. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true || ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      forget();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const forget = clock.after(ms, done);
    signal?.addEventListener("abort", done);
  });
}

/** Being behind by less is the same time read twice, or a clock that is being corrected: told time stands still for it. */
const STEP_MS = 1_000;

/**
 * A clock that never goes back, beginning at `notBefore` or later. When the system's is set back, this one goes on from
 * where it was at the same pace, until the system's is ahead of it again; a jump forward it follows.
 */
export function createSteadyClock(system: SystemClock, notBefore: number): Clock {
  let told = notBefore;
  let toldAt = system.elapsed();
  return {
    now() {
      const shown = system.now(); // before `elapsed`: what passes in between must not count twice
      const elapsed = system.elapsed();
      const reckoned = told + (elapsed - toldAt);
      told = shown < reckoned - STEP_MS ? reckoned : Math.max(shown, told);
      toldAt = elapsed;
      return Math.floor(told);
    },
    after: (delayMs, callback) => system.after(delayMs, callback),
  };
}
