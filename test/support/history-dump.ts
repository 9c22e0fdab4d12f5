/** Reads what a gateway left in its data folder, for `checkHistory`. Changes nothing there. */
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Json, JsonObject, RunPayload } from "../../src/core/model.js";
import { decodeNamespace } from "../../src/storage/item-namespace.js";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";
import type { AuditRow, DatabaseDump, DumpedCheckpoint, DumpedRun, DumpedThread, History } from "./history-data.js";

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
    audit: rowsOf<AuditRow>(
      `SELECT seq, run_id AS runId, thread_id AS threadId, at, old_status AS oldStatus, new_status AS newStatus, fence,
         attempt, worker_id AS workerId FROM run_audit ORDER BY seq`,
    ),
    dump: {
      takenAt,
      threads: rowsOf<ThreadRow>(
        `SELECT threads.thread_id AS threadId, status, metadata, "values", deleting FROM threads
           LEFT JOIN thread_values ON thread_values.thread_id = threads.thread_id ORDER BY threads.thread_id`,
      ).map(toThread),
      runs: rowsOf<RunRow>(
        `SELECT seq, run_id AS runId, thread_id AS threadId, status, run_after AS runAfter, metadata, payload FROM runs
           ORDER BY seq`,
      ).map(toRun),
      rowsByThread: { ...countBy(database, "thread_id", ["threads"]), ...countBy(checkpoints, "thread_id", []) },
      rowsByRun: countBy(database, "run_id", tablesWith(database, "thread_id").concat("idempotency_keys")),
      checkpoints: checkpoints
        .prepare<unknown[], DumpedCheckpoint>(
          `SELECT thread_id AS threadId, run_id AS runId, checkpoint_id AS checkpointId, 'checkpoint' AS kind
             FROM checkpoints WHERE run_id <> ''
           UNION ALL SELECT thread_id, run_id, checkpoint_id, 'write' FROM writes WHERE run_id <> ''`,
        )
        .all(),
      items: rowsOf<{ namespace: string; key: string; value: string }>("SELECT namespace, key, value FROM items").map(
        ({ namespace, key, value }) => ({
          namespace: decodeNamespace(namespace),
          key,
          value: JSON.parse(value) as Json,
        }),
      ),
    },
  };
}

type ThreadRow = Pick<DumpedThread, "threadId" | "status"> & {
  readonly metadata: string;
  readonly values: string | null;
  readonly deleting: number;
};

function toThread({ metadata, values, deleting, ...thread }: ThreadRow): DumpedThread {
  return {
    ...thread,
    metadata: JSON.parse(metadata) as JsonObject, // the stores wrote it
    values: JSON.parse(values ?? "null") as Json,
    deleting: deleting === 1,
  };
}

type RunRow = Omit<DumpedRun, "metadata" | "temporary"> & { readonly metadata: string; readonly payload: string };

function toRun({ metadata, payload, ...run }: RunRow): DumpedRun {
  const { temporary } = JSON.parse(payload) as RunPayload; // the run store wrote it
  return { ...run, temporary, metadata: JSON.parse(metadata) as JsonObject };
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

/** By table and value of the column. What is done in the outbox does not count. */
function countBy(
  connection: SqliteDatabase,
  column: "thread_id" | "run_id",
  without: readonly string[],
): Record<string, Record<string, number>> {
  const tables = tablesWith(connection, column).filter((table) => !without.includes(table));
  return Object.fromEntries(
    tables.map((table) => {
      const isOpen = table === "outbox" ? "AND done_at IS NULL" : "";
      const rows = connection
        .prepare<unknown[], { value: string; count: number }>(
          `SELECT ${column} AS value, count(*) AS count FROM ${table} WHERE ${column} IS NOT NULL ${isOpen} GROUP BY ${column}`,
        )
        .all();
      return [table, Object.fromEntries(rows.map(({ value, count }) => [value, count]))];
    }),
  );
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
