/**
 * How long the transitions of a run are kept (`run_audit`, which the database writes by itself). They go with their thread;
 * on a thread that lives for ever they go when they are old, those of runs whose rows were deleted included.
 */
import { type SqlBool, sql } from "kysely";
import type { Database } from "./database.js";

export const AUDIT_LIFE_MS = 30 * 24 * 60 * 60_000;

/** Bounds how long one sweep holds the connection. */
export const AUDIT_SWEEP_ROWS = 1_000;

export const AUDIT_SWEEP = {
  what: "transitions of runs",
  lifeMs: AUDIT_LIFE_MS,
  limit: AUDIT_SWEEP_ROWS,
  expire: expireAudit,
} as const;

/** Looks at the oldest rows only, which are in the order of their times, as far as these go forward. */
export async function expireAudit(database: Database, until: number): Promise<number> {
  const result = await database
    .deleteFrom("run_audit")
    .where("seq", "in", (eb) =>
      eb
        .selectFrom(
          eb
            .selectFrom("run_audit")
            .select(["seq", "run_id", "at"])
            .orderBy("seq")
            .limit(AUDIT_SWEEP_ROWS)
            .as("oldest"),
        )
        .select("oldest.seq")
        .where("oldest.at", "<=", until)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom("runs")
                .select("runs.seq")
                .whereRef("runs.run_id", "=", "oldest.run_id")
                .where(sql<SqlBool>`runs.status in ('pending', 'running')`),
            ),
          ),
        ),
    )
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}
