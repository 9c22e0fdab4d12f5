/**
 * Threads whose ttl is over. Each function is a part of its caller's transaction.
 *
 * 1. What is in use never goes: neither while a run is in flight, a delayed one included, nor while a write outside of
 *    runs lasts. That is looked at in the statement, or transaction, that takes the thread.
 * 2. Whoever sweeps second finds nothing left to do.
 */
import { type ExpressionBuilder, type ExpressionWrapper, type SqlBool, sql } from "kysely";
import {
  type Database,
  isPostgres,
  lockedUnlessHeld,
  type Moment,
  momentOf,
  type Schema,
  takeThread,
} from "./database.js";
import type { Awaitable, StoreTransaction } from "./ports/page.js";
import { renewedExpiry } from "./thread-rows.js";
import { dropWebhooks } from "./webhook-outbox.js";

type Condition = ExpressionWrapper<Schema, "threads", SqlBool>;
type Threads = ExpressionBuilder<Schema, "threads">;

/** Whether the thread is there, and nothing holds it (1). */
export function isUnoccupied(eb: Threads): Condition {
  const inFlight = eb
    .selectFrom("runs")
    .select("runs.seq")
    .whereRef("runs.thread_id", "=", "threads.thread_id")
    .where(sql<SqlBool>`runs.status in ('pending', 'running')`); // literals, as in the partial index
  return eb.and([eb("threads.deleting", "=", 0), eb("threads.reserved_by", "is", null), eb.not(eb.exists(inFlight))]);
}

function isOver(eb: Threads, strategy: "delete" | "keep_latest", now: Moment): Condition {
  return eb.and([eb("threads.expires_at", "<=", now), eb("threads.ttl_strategy", "=", strategy), isUnoccupied(eb)]);
}

interface Batch {
  readonly now: number;
  readonly limit: number;
}

/** Marks for deletion what is to be deleted; returns it. */
export async function markExpired(database: Database, { now, limit }: Batch): Promise<readonly string[]> {
  const over = listOver(database, "delete", { now, limit });
  // What is looked at must not change any more: a run that was admitted meanwhile would not be seen (1).
  const taken = isPostgres(database) ? await idsOf(lockedUnlessHeld(over)) : undefined;
  if (taken?.length === 0) return [];
  const marked = await database
    .updateTable("threads")
    .set({ deleting: 1 })
    .where("threads.thread_id", "in", taken ?? over)
    .where((eb) => isOver(eb, "delete", momentOf(database, now))) // again for each row that another sweep held (2)
    .returning("threads.thread_id")
    .execute();
  const threadIds = marked.map((row) => row.thread_id);
  await dropPlansOf(database, threadIds);
  return threadIds;
}

/** What was to happen later with threads that are marked for deletion: their crons fire no more, and nobody is told of their runs. */
export async function dropPlansOf(database: Database, threadIds: readonly string[]): Promise<void> {
  if (threadIds.length === 0) return;
  await database.deleteFrom("crons").where("thread_id", "in", threadIds).execute();
  for (const threadId of threadIds) await dropWebhooks(database, { threadId });
}

/** What is to be pruned. */
export function listOutgrown(database: Database, batch: Batch): Promise<readonly string[]> {
  return idsOf(listOver(database, "keep_latest", batch));
}

async function idsOf(threads: ReturnType<typeof listOver>): Promise<readonly string[]> {
  const rows = await threads.execute();
  return rows.map((row) => row.thread_id);
}

/** The longest expired first. */
export function listOver(database: Database, strategy: "delete" | "keep_latest", { now, limit }: Batch) {
  return database
    .selectFrom("threads")
    .select("threads.thread_id")
    .where((eb) => isOver(eb, strategy, momentOf(database, now)))
    .orderBy("threads.expires_at")
    .limit(limit);
}

/** The transaction keeps others from the thread while `prune` does what it does. */
export async function pruneOutgrown(
  database: Database,
  threadId: string,
  { now, prune }: { readonly now: number; readonly prune: (transaction: StoreTransaction) => Awaitable<void> },
): Promise<boolean> {
  await takeThread(database, threadId);
  const found = await database
    .selectFrom("threads")
    .select("threads.thread_id")
    .where("threads.thread_id", "=", threadId)
    .where((eb) => isOver(eb, "keep_latest", momentOf(database, now)))
    .executeTakeFirst();
  if (found === undefined) return false; // 2
  await prune(database);
  await database
    .updateTable("threads")
    .set({ expires_at: renewedExpiry(now) })
    .where("thread_id", "=", threadId)
    .execute();
  return true;
}
