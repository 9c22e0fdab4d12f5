/** Reads what gateways left in PostgreSQL, for `checkHistory`. Changes nothing there. */
import { CompiledQuery } from "kysely";
import { silentLog } from "../../src/core/log.js";
import { openPostgres } from "../../src/storage/postgres.js";
import type { AuditRow, DumpedCheckpoint, History } from "./history-data.js";
import {
  AUDIT_ROWS,
  type CountRow,
  checkpointRows,
  countRows,
  countsOf,
  ITEM_ROWS,
  type ItemRow,
  RUN_ROWS,
  type RunRow,
  THREAD_ROWS,
  type ThreadRow,
  toItem,
  toRun,
  toThread,
} from "./history-rows.js";

/** The parts of a history that the database holds, with the texts that the gateway would read. */
export async function dumpPostgres(url: string): Promise<Required<Pick<History, "audit" | "dump">>> {
  const { database } = openPostgres({ url, poolSize: 1, timeoutMs: 60_000 }, silentLog);
  const rowsOf = async <Row>(sql: string): Promise<readonly Row[]> =>
    (await database.executeQuery<Row>(CompiledQuery.raw(sql))).rows;
  const tablesWith = async (column: string): Promise<readonly string[]> => {
    const tables = await rowsOf<{ readonly name: string }>(
      `SELECT table_name::text AS name FROM information_schema.columns JOIN information_schema.tables
         USING (table_schema, table_name)
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND column_name = '${column}' ORDER BY 1`,
    );
    return tables.map(({ name }) => name);
  };
  const countBy = async (column: "thread_id" | "run_id", without: readonly string[]) => {
    const counts: Record<string, Record<string, number>> = {};
    for (const table of await tablesWith(column)) {
      if (!without.includes(table)) counts[table] = countsOf(await rowsOf<CountRow>(countRows(table, column)));
    }
    return counts;
  };
  try {
    return {
      audit: await rowsOf<AuditRow>(AUDIT_ROWS),
      dump: {
        takenAt: Date.now(),
        threads: (await rowsOf<ThreadRow>(THREAD_ROWS)).map(toThread),
        runs: (await rowsOf<RunRow>(RUN_ROWS)).map(toRun),
        rowsByThread: await countBy("thread_id", ["threads"]),
        rowsByRun: await countBy("run_id", [...(await tablesWith("thread_id")), "idempotency_keys"]),
        checkpoints: await rowsOf<DumpedCheckpoint>(checkpointRows("state_checkpoints", "state_writes")),
        items: (await rowsOf<ItemRow>(ITEM_ROWS)).map(toItem),
      },
    };
  } finally {
    await database.destroy();
  }
}
