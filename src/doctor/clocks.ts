/** Clocks of others against this machine's, and how long a question to them takes. */
import type { Clock } from "../core/clock.js";
import { type Finding, ok, problem, warning } from "./finding.js";

export interface ClockSeen {
  /** How far the other clock is ahead of this one. */
  readonly aheadMs: number;
  /** How wrong that may be. */
  readonly doubtMs: number;
  /** Of the quickest of the questions. */
  readonly latencyMs: number;
}

const QUESTIONS = 5;

/** `ask`: what the other clock says now. The quickest answer counts: it leaves the least doubt. */
export async function measureClock(clock: Clock, ask: () => Promise<number>): Promise<ClockSeen> {
  const seen: ClockSeen[] = [];
  for (let question = 0; question < QUESTIONS; question++) {
    const from = clock.now();
    const started = performance.now();
    const there = await ask();
    const latencyMs = performance.now() - started;
    seen.push({ aheadMs: there - (from + latencyMs / 2), doubtMs: latencyMs / 2 + 1, latencyMs });
  }
  return seen.reduce((best, next) => (next.latencyMs < best.latencyMs ? next : best));
}

const WORTH_TELLING_MS = 1_000;
/** A lease: from here on times in logs, of crons and of keys are of no use together. */
const TOO_FAR_MS = 15_000;

export function judgeClock(check: string, { aheadMs, doubtMs }: ClockSeen): Finding {
  const off = Math.max(0, Math.abs(aheadMs) - doubtMs);
  const what = `${(Math.abs(aheadMs) / 1_000).toFixed(1)} s ${aheadMs > 0 ? "ahead of" : "behind"} this machine's`;
  const todo = "Let NTP set the clocks of all machines.";
  if (off < WORTH_TELLING_MS) return ok(check, "the same as this machine's");
  return off < TOO_FAR_MS ? warning(check, what, todo) : problem(check, what, todo);
}

const SLOW_MS = 20;

export function judgeLatency(check: string, { latencyMs }: ClockSeen): Finding {
  const what = `an answer takes ${latencyMs.toFixed(1)} ms`;
  if (latencyMs < SLOW_MS) return ok(check, what);
  return warning(check, what, "Every step of a run waits for several: bring the two closer together.");
}
