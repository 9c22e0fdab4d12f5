/**
 * How long an `Idempotency-Key` stands for the run that it made. Its row outlives the run and the thread: the same request
 * must not run again because its run was deleted. It holds no more than the key, a hash, the run's id and a time.
 */
import type { Database } from "./database.js";

export const KEY_LIFE_MS = 24 * 60 * 60_000;

/** Bounds how long one sweep holds the connection. */
export const KEY_SWEEP_ROWS = 1_000;

/** Keys that stand for nothing any more go, whether anybody sends another one or not. */
export const KEY_SWEEP = {
  what: "idempotency keys",
  lifeMs: KEY_LIFE_MS,
  limit: KEY_SWEEP_ROWS,
  expire: expireKeys,
} as const;

export async function expireKeys(database: Database, until: number): Promise<number> {
  const expired = database
    .selectFrom("idempotency_keys")
    .select(["owner", "key"])
    .where("created_at", "<=", until)
    .limit(KEY_SWEEP_ROWS);
  const result = await database
    .deleteFrom("idempotency_keys")
    .where(({ eb, refTuple }) => eb(refTuple("owner", "key"), "in", expired.$asTuple("owner", "key")))
    .where("created_at", "<=", until) // again for each row that somebody wrote meanwhile
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}
