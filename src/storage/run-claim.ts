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
import { transact } from "./commit-group.js";
import { type Database, isPostgres, lockedUnlessHeld, type Moment, momentAfter, momentOf } from "./database.js";
import { RUN_COLUMNS, toRun } from "./run-rows.js";

interface Claim {
  readonly workerId: string;
  readonly leaseMs: number;
  readonly now: number;
}

/**
 * On PostgreSQL it takes the run's thread as well: threads that another transaction has are passed over.
 * Throws a unique violation when another process took a run of the same thread at this moment, and finds nothing when it
 * ended that run, or when runs of the thread were claimed since the statement began to look.
 */
export async function claimNext(database: Database, claim: Claim): Promise<Run | undefined> {
  const moment = momentOf(database, claim.now);
  const row = await (isPostgres(database) ? claimOnPostgres : claimOnSqlite)(database, claim, moment);
  return row === undefined ? undefined : toRun(row);
}

function claimOnSqlite(database: Database, claim: Claim, moment: Moment) {
  const claims = sql<number>`(select t.claims from threads t where t.thread_id = runs.thread_id)`;
  return database
    .updateTable("runs")
    .set(claimed(claim, moment, claims))
    .where("seq", "=", nextDue(database, moment).select("r.seq"))
    .returning(RUN_COLUMNS)
    .executeTakeFirst();
}

/** What it says of the thread was looked at once more when the thread was taken: somebody may have changed it. */
function claimOnPostgres(database: Database, claim: Claim, moment: Moment) {
  return transact(database, async (transaction) => {
    await ONE_BY_ONE.execute(transaction);
    return transaction
      .with("next", () =>
        lockedUnlessHeld(nextDue(transaction, moment).innerJoin("threads as t", "t.thread_id", "r.thread_id"), "t")
          .where("t.reserved_by", "is", null)
          .where("t.deleting", "=", 0)
          .select(["r.seq as next_seq", "t.claims as claims_when_taken"]),
      )
      .updateTable("runs")
      .from("next")
      .set(claimed(claim, moment, sql<number>`claims_when_taken`))
      .whereRef("seq", "=", "next_seq")
      .where(STILL_PENDING)
      .where(NONE_CLAIMED_MEANWHILE)
      .returning(RUN_COLUMNS)
      .executeTakeFirst();
  });
}

/**
 * Until the end of the transaction. Statistics from before a queue grew say that few runs are due: PostgreSQL would read or
 * sort all of them for each claim, instead of walking the index to the first that is free (2,000 that wait: 20 ms for each,
 * not 3).
 */
const ONE_BY_ONE = sql`select ${sql.join(
  ["sort", "hashjoin", "mergejoin", "bitmapscan", "seqscan"].map(
    (way) => sql`set_config(${sql.lit(`enable_${way}`)}, 'off', true)`,
  ),
)}`;

/** In a form that the index of the runs that wait does not match: the one run is found by its key. */
const STILL_PENDING: RawBuilder<SqlBool> = sql<SqlBool>`coalesce(status, '') = 'pending'`;

function nextDue(database: Database, moment: Moment) {
  return database
    .selectFrom("runs as r")
    .where("r.run_after", "<=", moment)
    .where(NEXT_OF_FREE_THREAD)
    .orderBy("r.run_after")
    .orderBy("r.seq")
    .limit(1);
}

/** `claims`: how many claims the thread has counted; a trigger adds this one afterwards. */
function claimed({ workerId, leaseMs, now }: Claim, moment: Moment, claims: RawBuilder<number>) {
  return {
    status: "running",
    attempt: sql<number>`attempt + 1`,
    fence: sql<number>`fence + 1`,
    first_claim: sql<number>`coalesce(first_claim, ${claims} + 1)`,
    started_at: sql<number>`coalesce(started_at, ${now})`,
    worker_id: workerId,
    lease_until: momentAfter(moment, leaseMs),
    updated_at: now,
  } as const;
}

/**
 * On PostgreSQL a statement sees the runs as they were when it began. Where the thread has counted a claim by the time that
 * it is taken, another run may have come before this one, or may have its number.
 */
const NONE_CLAIMED_MEANWHILE: RawBuilder<SqlBool> = sql<SqlBool>`claims_when_taken =
  (select t.claims from threads t where t.thread_id = runs.thread_id)`;

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
