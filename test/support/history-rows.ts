/** What is asked of the databases for a history, in SQL that SQLite and PostgreSQL both know, and what rows become. */
import type { Json, JsonObject, RunPayload } from "../../src/core/model.js";
import { decodeNamespace } from "../../src/storage/item-namespace.js";
import type { DatabaseDump, DumpedCheckpoint, DumpedRun, DumpedThread } from "./history-data.js";

export const AUDIT_ROWS = `SELECT seq, run_id AS "runId", thread_id AS "threadId", at, old_status AS "oldStatus",
  new_status AS "newStatus", fence, attempt, worker_id AS "workerId" FROM run_audit ORDER BY seq`;

export const THREAD_ROWS = `SELECT threads.thread_id AS "threadId", status, metadata, "values", deleting FROM threads
  LEFT JOIN thread_states ON thread_states.thread_id = threads.thread_id ORDER BY threads.thread_id`;

export const RUN_ROWS = `SELECT seq, run_id AS "runId", thread_id AS "threadId", status, run_after AS "runAfter", metadata, payload
  FROM runs ORDER BY seq`;

export const ITEM_ROWS = "SELECT namespace, key, value FROM items";

/** Of what is done in the outbox nothing counts. */
export function countRows(table: string, column: "thread_id" | "run_id"): string {
  const isOpen = table === "outbox" ? "AND done_at IS NULL" : "";
  return `SELECT ${column} AS value, count(*) AS count FROM ${table} WHERE ${column} IS NOT NULL ${isOpen} GROUP BY ${column}`;
}

/** The checkpoints and pending writes of runs. */
export function checkpointRows(checkpoints: string, writes: string): string {
  const from = (table: string, kind: DumpedCheckpoint["kind"]) =>
    `SELECT thread_id AS "threadId", run_id AS "runId", checkpoint_id AS "checkpointId", '${kind}' AS kind
       FROM ${table} WHERE run_id <> ''`;
  return `${from(checkpoints, "checkpoint")} UNION ALL ${from(writes, "write")}`;
}

export interface CountRow {
  readonly value: string;
  readonly count: number;
}

export function countsOf(rows: readonly CountRow[]): Record<string, number> {
  return Object.fromEntries(rows.map(({ value, count }) => [value, Number(count)]));
}

export interface ThreadRow extends Pick<DumpedThread, "threadId" | "status"> {
  readonly metadata: string;
  readonly values: string | null;
  readonly deleting: number;
}

export function toThread({ metadata, values, deleting, ...thread }: ThreadRow): DumpedThread {
  return {
    ...thread,
    metadata: JSON.parse(metadata) as JsonObject, // the stores wrote it
    values: JSON.parse(values ?? "null") as Json,
    deleting: deleting === 1,
  };
}

export interface RunRow extends Omit<DumpedRun, "metadata" | "temporary"> {
  readonly metadata: string;
  readonly payload: string;
}

export function toRun({ metadata, payload, ...run }: RunRow): DumpedRun {
  const { temporary } = JSON.parse(payload) as RunPayload; // the run store wrote it
  return { ...run, temporary, metadata: JSON.parse(metadata) as JsonObject };
}

export interface ItemRow {
  readonly namespace: string;
  readonly key: string;
  readonly value: string;
}

export function toItem({ namespace, key, value }: ItemRow): DatabaseDump["items"][number] {
  return { namespace: decodeNamespace(namespace), key, value: JSON.parse(value) as Json };
}
