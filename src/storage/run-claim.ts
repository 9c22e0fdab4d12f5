/**
 * Claiming: which run starts next, and the number of its claim.
 *
 * 1. A thread numbers the claims of its runs from 1. Its row counts them (a trigger, in the claim's own statement), and
 *    neither a rollback nor a deletion of runs takes one back: no number is given twice.
 * 2. A run that was claimed before goes ahead of all others of its thread, also of one that is due before it because the
 *    clock was set back. So the claims of one run are neighbours, and its first number and a fence tell the number of each.
 */
import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { Run } from "../core/model.js";
import type { Database } from "./database.js";
import { RUN_COLUMNS, toRun } from "./run-rows.js";

interface Claim {
  readonly workerId: string;
  readonly leaseMs: number;
  readonly now: number;
}

/** One statement. Throws a unique violation when another process took a run of the same thread at this moment. */
export async function claimNext(database: Database, { workerId, leaseMs, now }: Claim): Promise<Run | undefined> {
  const row = await database
    .updateTable("runs")
    .set((eb) => ({
      status: "running",
      attempt: eb("attempt", "+", 1),
      fence: eb("fence", "+", 1),
      first_claim: FIRST_CLAIM,
      started_at: eb.fn.coalesce("started_at", eb.val(now)),
      worker_id: workerId,
      lease_until: now + leaseMs,
      updated_at: now,
    }))
    .where("seq", "=", ({ selectFrom }) =>
      selectFrom("runs as r")
        .select("r.seq")
        .where("r.run_after", "<=", now)
        .where(NEXT_OF_FREE_THREAD)
        .orderBy("r.run_after")
        .orderBy("r.seq")
        .limit(1),
    )
    .returning(RUN_COLUMNS)
    .executeTakeFirst();
  return row === undefined ? undefined : toRun(row);
}

/** When the next run that only waits for its time becomes due, epoch milliseconds. */
export async function nextDueAt(database: Database): Promise<number | undefined> {
  const next = await database
    .selectFrom("runs as r")
    .select("r.run_after")
    .where(NEXT_OF_FREE_THREAD)
    .orderBy("r.run_after")
    .orderBy("r.seq")
    .limit(1)
    .executeTakeFirst();
  return next?.run_after;
}

/** Read before the trigger counts this claim. */
const FIRST_CLAIM: RawBuilder<number> = sql<number>`coalesce(first_claim,
  (select t.claims + 1 from threads t where t.thread_id = runs.thread_id))`;

/**
 * Run `r` waits, nothing of its thread runs or comes before it, and the thread is neither reserved nor being deleted.
 * What was claimed comes first (2): as long as it is in flight nothing else starts, so it is the newest of those that
 * started. Then the order is due time, then creation. Proven without overlap or double claim with `one_running` behind it.
 */
const NEXT_OF_FREE_THREAD: RawBuilder<SqlBool> = sql<SqlBool>`r.status = 'pending'
  and not exists (select 1 from runs o where o.thread_id = r.thread_id and o.status = 'running')
  and (r.first_claim is not null
    or not exists (select 1 from runs o where o.thread_id = r.thread_id and o.status in ('pending', 'running')
      and (o.run_after, o.seq) < (r.run_after, r.seq))
    and (select o.status from runs o where o.thread_id = r.thread_id and o.first_claim is not null
      order by o.first_claim desc limit 1) is distinct from 'pending')
  and exists (select 1 from threads t where t.thread_id = r.thread_id and t.reserved_by is null and t.deleting = 0)`;
