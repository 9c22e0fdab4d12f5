/** Deletes what has expired now and then. Nobody counts on it, so it may be late, and a failure only logs. */
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";

export interface SweeperDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs: number;
  /** How long others have the database to themselves before a sweep that left something is followed by the next. */
  readonly pauseMs?: number;
  /** For the log, in the plural. */
  readonly what: string;
  /** Deletes some of it; tells whether there may be more. */
  readonly sweep: () => Promise<{ readonly deleted: number; readonly more: boolean }>;
}

export interface Sweeper {
  /** Returns when no sweep runs any more. */
  stop(): Promise<void>;
}

/** Sweeps first after one interval. A sweep that leaves something is followed by the next soon. */
export function startSweeper({ clock, log, intervalMs, pauseMs = 0, what, sweep }: SweeperDeps): Sweeper {
  let stopped = false;
  let running = Promise.resolve();
  let forget = sweepAfter(intervalMs);

  function sweepAfter(delayMs: number): () => void {
    return clock.after(delayMs, () => {
      running = sweepOnce();
    });
  }

  async function sweepOnce(): Promise<void> {
    let more = false;
    try {
      const result = await sweep();
      more = result.more;
      if (result.deleted > 0) log.debug({ deleted: result.deleted }, `expired ${what} swept`);
    } catch (err) {
      log.error({ err }, `sweep of expired ${what} failed`);
    }
    if (!stopped) forget = sweepAfter(more ? pauseMs : intervalMs);
  }

  return {
    async stop() {
      stopped = true;
      forget();
      await running;
    },
  };
}
