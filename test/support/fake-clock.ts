/** A clock that stands still until a test moves or sets it. */
import type { SystemClock } from "../../src/core/clock.js";

export interface FakeClock extends SystemClock {
  /** Moves time on and runs what falls due, in order, including what that schedules. */
  advance(ms: number): void;
  /** Shows another time from now on, so much later or earlier; no time passes. */
  set(offsetMs: number): void;
  /** How many callbacks wait. */
  pending(): number;
}

export function createFakeClock(startMs = Date.UTC(2030, 0, 1)): FakeClock {
  let elapsed = 0;
  let setAt = startMs; // what it would have shown at the beginning
  let timers: { readonly at: number; readonly callback: () => void }[] = [];
  return {
    now: () => setAt + elapsed,
    elapsed: () => elapsed,
    after(delayMs, callback) {
      const timer = { at: elapsed + Math.max(delayMs, 0), callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const end = elapsed + ms;
      for (;;) {
        const [next] = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        timers = timers.filter((other) => other !== next);
        elapsed = next.at;
        next.callback();
      }
      elapsed = end;
    },
    set(offsetMs) {
      setAt += offsetMs;
    },
    pending: () => timers.length,
  };
}
