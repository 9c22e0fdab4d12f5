/** Reads what a gateway left in its data folder, for `checkHistory`. Changes nothing there. */
import { createRequire } from "node:module";
import { join } from "node:path";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";
import type { AuditRow, DatabaseDump, DumpedCheckpoint, History } from "./history-data.js";
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

export interface Connections {
  /** `heddle.db` */
  readonly database: SqliteDatabase;
  /** `checkpoints.db` */
  readonly checkpoints: SqliteDatabase;
}

/** Of the folder of a gateway that has stopped or died. */
export function dumpFolder(dataDir: string): Required<Pick<History, "audit" | "dump">> {
  const database = openReadOnly(join(dataDir, "heddle.db"));
  try {
    const checkpoints = openReadOnly(join(dataDir, "checkpoints.db"));
    try {
      return dumpDatabase({ database, checkpoints });
    } finally {
      checkpoints.close();
    }
  } finally {
    database.close();
  }
}

/** The parts of a history that the databases hold; `takenAt` is when, by the gateway's clock. */
export function dumpDatabase(
  { database, checkpoints }: Connections,
  takenAt = Date.now(),
): { readonly audit: readonly AuditRow[]; readonly dump: DatabaseDump } {
  const rowsOf = <Row>(sql: string): readonly Row[] => database.prepare<unknown[], Row>(sql).all();
  return {
    audit: rowsOf<AuditRow>(AUDIT_ROWS),
    dump: {
      takenAt,
      threads: rowsOf<ThreadRow>(THREAD_ROWS).map(toThread),
      runs: rowsOf<RunRow>(RUN_ROWS).map(toRun),
      rowsByThread: { ...countBy(database, "thread_id", ["threads"]), ...countBy(checkpoints, "thread_id", []) },
      rowsByRun: countBy(database, "run_id", tablesWith(database, "thread_id").concat("idempotency_keys")),
      checkpoints: checkpoints.prepare<unknown[], DumpedCheckpoint>(checkpointRows("checkpoints", "writes")).all(),
      items: rowsOf<ItemRow>(ITEM_ROWS).map(toItem),
    },
  };
}

/** Every table with the column, those that later migrations add included. */
function tablesWith(connection: SqliteDatabase, column: string): string[] {
  return connection
    .prepare<unknown[], string>(
      `SELECT tables.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND columns.name = ? ORDER BY 1`,
    )
    .pluck()
    .all(column);
}

/** By table and value of the column. */
function countBy(
  connection: SqliteDatabase,
  column: "thread_id" | "run_id",
  without: readonly string[],
): Record<string, Record<string, number>> {
  const tables = tablesWith(connection, column).filter((table) => !without.includes(table));
  const counted = (table: string) => connection.prepare<unknown[], CountRow>(countRows(table, column)).all();
  return Object.fromEntries(tables.map((table) => [table, countsOf(counted(table))]));
}

/** With the driver that `storage/sqlite.ts` chooses, which itself opens for writing only. */
function openReadOnly(file: string): SqliteDatabase {
  const name = Number(process.versions.node.split(".")[0]) < 22 ? "better-sqlite3" : "better-sqlite3-napi";
  const Driver = createRequire(import.meta.url)(name) as new (
    file: string,
    options: { readonly readonly: boolean },
  ) => SqliteDatabase; // its type is that of better-sqlite3
  return new Driver(file, { readonly: true });
}
