/** Sees to what has expired now and then. It may be late, and a failure only logs: the next sweep tries again. */
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { CommitGroup } from "./commit-group.js";
import type { Database } from "./database.js";

export interface SweeperDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs: number;
  /** How long others have the database to themselves before a sweep that left something is followed by the next. */
  readonly pauseMs?: number;
  /** From 0 to 1: sweeps of replicas that started together come apart. Without it every sweep is on time. */
  readonly jitter?: () => number;
  /** For the log, in the plural. */
  readonly what: string;
  /** Sees to some of it; tells how much, and whether there may be more. */
  readonly sweep: () => Promise<{ readonly deleted: number; readonly more: boolean }>;
}

export interface Sweeper {
  /** Returns when no sweep runs any more. */
  stop(): Promise<void>;
}

/** Sweeps first after one interval. A sweep that leaves something is followed by the next soon. */
export function startSweeper({ clock, log, intervalMs, pauseMs = 0, jitter, what, sweep }: SweeperDeps): Sweeper {
  let stopped = false;
  let running = Promise.resolve();
  let forget = sweepAfter(nextInterval());

  /** Between half of the interval and half as much again. */
  function nextInterval(): number {
    return jitter === undefined ? intervalMs : intervalMs * (0.5 + jitter());
  }

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
    if (!stopped) forget = sweepAfter(more ? pauseMs : nextInterval());
  }

  return {
    async stop() {
      stopped = true;
      forget();
      await running;
    },
  };
}

const AGE_SWEEP_INTERVAL_MS = 60 * 60_000;

/** Every hour deletes rows that are as old as `lifeMs`: up to `limit` of them in one commit, by `expire`, which tells how many. */
export function startAgeSweeper(
  { commits, clock, log }: { readonly commits: CommitGroup; readonly clock: Clock; readonly log: Log },
  {
    what,
    lifeMs,
    limit,
    expire,
  }: {
    /** For the log, in the plural. */
    readonly what: string;
    readonly lifeMs: number;
    readonly limit: number;
    readonly expire: (database: Database, until: number) => Promise<number>;
  },
): Sweeper {
  return startSweeper({
    clock,
    log,
    intervalMs: AGE_SWEEP_INTERVAL_MS,
    what,
    async sweep() {
      const until = clock.now() - lifeMs;
      const deleted = await commits.run((transaction) => expire(transaction, until));
      return { deleted, more: deleted === limit };
    },
  });
}
