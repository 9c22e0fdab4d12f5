/** Runs whose owner is gone, or has left an end undone: they wait again, or whoever asks takes over what is left to do. */
import { type RawBuilder, type SqlBool, sql, type UpdateQueryBuilder, type UpdateResult } from "kysely";
import { type Database, momentAfter, momentOf, type Schema } from "./database.js";
import type { BriefRun } from "./ports/runs.js";
import { BRIEF_COLUMNS, toBriefRun } from "./run-rows.js";

/** A literal, as in the partial index `one_running`. */
const RUNNING: RawBuilder<SqlBool> = sql<SqlBool>`status = 'running'`;

/** All that run: for a process that is alone with its database, as it starts. */
export async function recoverOrphans(database: Database, now: number): Promise<readonly BriefRun[]> {
  return briefly(await waitingAgain(database, now).returning(BRIEF_COLUMNS).execute());
}

/** Those whose lease has ended: a renewal that comes first wins, one that comes later finds it lost. */
export async function recoverExpired(database: Database, now: number): Promise<readonly BriefRun[]> {
  const expired = waitingAgain(database, now).where("lease_until", "<=", momentOf(database, now));
  return briefly(await expired.returning(BRIEF_COLUMNS).execute());
}

function waitingAgain(database: Database, now: number): UpdateQueryBuilder<Schema, "runs", "runs", UpdateResult> {
  return database
    .updateTable("runs")
    .set({ status: "pending", worker_id: null, lease_until: null, updated_at: now })
    .where(RUNNING)
    .where("rolling_back", "=", 0); // they keep their thread until they are removed
}

export async function listRollingBack(database: Database): Promise<readonly BriefRun[]> {
  const rows = await database
    .selectFrom("runs")
    .select(BRIEF_COLUMNS)
    .where(RUNNING)
    .where("rolling_back", "=", 1)
    .orderBy("seq")
    .execute();
  return briefly(rows);
}

/** Those that nobody goes on taking back belong to who asks, for so long. */
export async function takeRollbacks(
  database: Database,
  { workerId, leaseMs, now }: { readonly workerId: string; readonly leaseMs: number; readonly now: number },
): Promise<readonly BriefRun[]> {
  const moment = momentOf(database, now);
  const rows = await database
    .updateTable("runs")
    .set({ worker_id: workerId, lease_until: momentAfter(moment, leaseMs) })
    .where(RUNNING)
    .where("rolling_back", "=", 1)
    .where("lease_until", "<=", moment)
    .returning(BRIEF_COLUMNS)
    .execute();
  return briefly(rows);
}

const briefly = (rows: readonly Parameters<typeof toBriefRun>[0][]): readonly BriefRun[] => rows.map(toBriefRun);
