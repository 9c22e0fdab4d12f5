/** The system's clock with timers that are due fifty times sooner: what takes seconds can be seen in a test. */
import { type Clock, systemClock } from "../../src/core/clock.js";

const HURRY = 50;

export const hurriedClock: Clock = {
  now: () => systemClock.now(),
  after: (delayMs, callback) => systemClock.after(delayMs / HURRY, callback),
};
