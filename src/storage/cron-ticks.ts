/**
 * The ticks of crons. A tick is taken by moving its cron on, in the transaction that makes its run: whoever comes later
 * finds the cron moved on, and one who dies before the commit has taken nothing.
 *
 * The tick's own row is the wall behind that: a cron that is sent back in time, by a clock or a new schedule, fires nothing
 * twice. Rows are kept for as long as a clock may be wrong.
 */
import type { Database } from "./database.js";
import type { CronTick } from "./ports/crons.js";

const KEPT_MS = 7 * 24 * 60 * 60_000;

/**
 * Moves the cron on. `fired`: the tick was taken at another time, nothing is to be done but that. `not due`: the cron is
 * elsewhere already, and nothing has changed.
 */
export async function takeTick(database: Database, tick: CronTick): Promise<"taken" | "fired" | "not due"> {
  const { cronId, at } = tick;
  const moved = await database
    .updateTable("crons")
    .set({ next_run_at: tick.nextRunAt })
    .where("cron_id", "=", cronId)
    .where("next_run_at", "=", tick.dueAt)
    .executeTakeFirst();
  if (moved.numUpdatedRows === 0n) return "not due";
  await database
    .deleteFrom("cron_ticks")
    .where("cron_id", "=", cronId)
    .where("tick_at", "<", at - KEPT_MS)
    .execute();
  const inserted = await database
    .insertInto("cron_ticks")
    .values({ cron_id: cronId, tick_at: at, run_id: null })
    .onConflict((conflict) => conflict.columns(["cron_id", "tick_at"]).doNothing())
    .executeTakeFirst();
  return inserted.numInsertedOrUpdatedRows === 1n ? "taken" : "fired";
}

/** Says which run the tick, which was taken in this transaction, has become. */
export async function nameRun(database: Database, { cronId, at }: CronTick, runId: string): Promise<void> {
  await database
    .updateTable("cron_ticks")
    .set({ run_id: runId })
    .where("cron_id", "=", cronId)
    .where("tick_at", "=", at)
    .execute();
}
