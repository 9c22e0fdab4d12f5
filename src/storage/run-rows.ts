/** Run rows ↔ runs. */
import { type RawBuilder, type Selectable, type SqlBool, sql } from "kysely";
import type { JsonObject, Run, RunError, RunPayload } from "../core/model.js";
import type { Schema } from "./database.js";

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

export function toRow(run: Run): RunRow {
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    assistant_id: run.assistantId,
    graph_id: run.graphId,
    created_at: run.createdAt,
    updated_at: run.updatedAt,
    status: run.status,
    metadata: JSON.stringify(run.metadata),
    multitask_strategy: run.multitaskStrategy,
    payload: JSON.stringify(run.payload),
    attempt: run.attempt,
    fence: run.fence,
    run_after: run.runAfter,
    cancel_action: run.cancelAction,
    error: run.error === null ? null : JSON.stringify(run.error),
  };
}
