/** Run rows ↔ runs. */
import { type RawBuilder, type Selectable, type SqlBool, sql } from "kysely";
import type { JsonObject, Run, RunError, RunPayload } from "../core/model.js";
import type { Schema } from "./database.js";
import type { NewRun } from "./storage.js";

export const RUN_COLUMNS = [
  "run_id",
  "thread_id",
  "assistant_id",
  "graph_id",
  "created_at",
  "updated_at",
  "status",
  "metadata",
  "multitask_strategy",
  "payload",
  "attempt",
  "fence",
  "run_after",
  "cancel_action",
  "error",
] as const;

type RunRow = Pick<Selectable<Schema["runs"]>, (typeof RUN_COLUMNS)[number]>;

/** Spelled exactly as in the partial indexes, or the planner does not use them: values, not parameters. */
export const IN_FLIGHT: RawBuilder<SqlBool> = sql<SqlBool>`status in ('pending', 'running')`;

export function toRun(row: RunRow): Run {
  return {
    runId: row.run_id,
    threadId: row.thread_id,
    assistantId: row.assistant_id,
    graphId: row.graph_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    status: row.status,
    metadata: JSON.parse(row.metadata) as JsonObject, // JSON columns hold what `toRow` and `finish` wrote
    multitaskStrategy: row.multitask_strategy,
    payload: JSON.parse(row.payload) as RunPayload,
    attempt: row.attempt,
    fence: row.fence,
    runAfter: row.run_after,
    cancelAction: row.cancel_action,
    error: row.error === null ? null : (JSON.parse(row.error) as RunError),
  };
}

/** The row of a run that nobody has claimed yet. */
export function toRow(run: NewRun, now: number): RunRow {
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    assistant_id: run.assistantId,
    graph_id: run.graphId,
    created_at: now,
    updated_at: now,
    status: "pending",
    metadata: JSON.stringify(run.metadata),
    multitask_strategy: run.multitaskStrategy,
    payload: JSON.stringify(run.payload),
    attempt: 0,
    fence: 0,
    run_after: run.runAfter,
    cancel_action: null,
    error: null,
  };
}
