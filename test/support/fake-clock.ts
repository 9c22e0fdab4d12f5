/** A clock that stands still until a test moves it. */
import type { Clock } from "../../src/core/clock.js";

export interface FakeClock extends Clock {
  /** Moves time on and runs what falls due, in order, including what that schedules. */
  advance(ms: number): void;
  /** How many callbacks wait. */
  pending(): number;
}

export function createFakeClock(startMs = Date.UTC(2030, 0, 1)): FakeClock {
  let now = startMs;
  let timers: { readonly at: number; readonly callback: () => void }[] = [];
  return {
    now: () => now,
    after(delayMs, callback) {
      const timer = { at: now + Math.max(delayMs, 0), callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        timers = timers.filter((other) => other !== next);
        now = next.at;
        next.callback();
      }
      now = end;
    },
    pending: () => timers.length,
  };
}
