/** The system's clock with timers that are due fifty times sooner: what takes seconds can be seen in a test. */
import { type SystemClock, systemClock } from "../../src/core/clock.js";

const HURRY = 50;

export const hurriedClock = hurriedBy(HURRY);

export function hurriedBy(times: number): SystemClock {
  return { ...systemClock, after: (delayMs, callback) => systemClock.after(delayMs / times, callback) };
}

/** One whose time passes as fast, too: for what is due at a time that is written down. It begins now. */
export function createFastClock(): SystemClock {
  const startedAt = systemClock.now();
  const startedElapsed = systemClock.elapsed();
  const elapsed = (): number => (systemClock.elapsed() - startedElapsed) * HURRY;
  return { ...hurriedClock, elapsed, now: () => startedAt + Math.floor(elapsed()) };
}
