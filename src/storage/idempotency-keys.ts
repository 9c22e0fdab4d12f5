/**
 * How long an `Idempotency-Key` stands for the run that it made. Its row outlives the run and the thread: the same request
 * must not run again because its run was deleted. It holds no more than the key, a hash, the run's id and a time.
 */
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { CommitGroup } from "./commit-group.js";
import type { Database } from "./database.js";
import { type Sweeper, startSweeper } from "./sweeper.js";

export const KEY_LIFE_MS = 24 * 60 * 60_000;

const SWEEP_INTERVAL_MS = 60 * 60_000;
/** Bounds how long one sweep holds the connection. */
export const KEY_SWEEP_ROWS = 1_000;

/** Deletes keys that stand for nothing any more, whether anybody sends another one or not. */
export function startKeySweeper(deps: {
  readonly commits: CommitGroup;
  readonly clock: Clock;
  readonly log: Log;
}): Sweeper {
  const { commits, clock, log } = deps;
  return startSweeper({
    clock,
    log,
    intervalMs: SWEEP_INTERVAL_MS,
    what: "idempotency keys",
    async sweep() {
      const until = clock.now() - KEY_LIFE_MS;
      const deleted = await commits.run((transaction) => expireKeys(transaction, until));
      return { deleted, more: deleted === KEY_SWEEP_ROWS };
    },
  });
}

export async function expireKeys(database: Database, until: number): Promise<number> {
  const expired = database
    .selectFrom("idempotency_keys")
    .select(["owner", "key"])
    .where("created_at", "<=", until)
    .limit(KEY_SWEEP_ROWS);
  const result = await database
    .deleteFrom("idempotency_keys")
    .where(({ eb, refTuple }) => eb(refTuple("owner", "key"), "in", expired.$asTuple("owner", "key")))
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}
