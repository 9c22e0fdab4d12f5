/** Run rows ↔ runs. */
import { type RawBuilder, type Selectable, type SqlBool, sql } from "kysely";
import type { JsonObject, Run, RunError, RunPayload } from "../core/model.js";
import type { Schema } from "./database.js";
import type { BriefRun, ListedRun } from "./ports/runs.js";

export const LISTED_COLUMNS = [
  "run_id",
  "thread_id",
  "assistant_id",
  "graph_id",
  "created_at",
  "updated_at",
  "status",
  "metadata",
  "multitask_strategy",
  "attempt",
  "fence",
  "first_claim",
  "run_after",
  "cancel_action",
  "error",
] as const;

export const RUN_COLUMNS = [...LISTED_COLUMNS, "payload"] as const;

type RunRow = Pick<Selectable<Schema["runs"]>, (typeof RUN_COLUMNS)[number]>;
type ListedRow = Omit<RunRow, "payload"> & { readonly payload?: string | undefined };

export const BRIEF_COLUMNS = [
  "run_id",
  "thread_id",
  "assistant_id",
  "created_at",
  "status",
  "attempt",
  "fence",
  "run_after",
  "cancel_action",
  "temporary",
  "webhook",
] as const;

type BriefRow = Pick<Selectable<Schema["runs"]>, (typeof BRIEF_COLUMNS)[number]>;

/** Spelled exactly as in the partial indexes, or the planner does not use them: values, not parameters. */
export const IN_FLIGHT: RawBuilder<SqlBool> = sql<SqlBool>`status in ('pending', 'running')`;

export function toRun(row: RunRow): Run {
  return { ...withoutPayload(row), payload: JSON.parse(row.payload) as RunPayload }; // as `toRow` wrote it
}

export function toListedRun(row: ListedRow): ListedRun {
  return {
    ...withoutPayload(row),
    payload: row.payload === undefined ? null : (JSON.parse(row.payload) as RunPayload),
  };
}

function withoutPayload(row: ListedRow): Omit<Run, "payload"> {
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
    attempt: row.attempt,
    fence: row.fence,
    firstClaim: row.first_claim,
    runAfter: row.run_after,
    cancelAction: row.cancel_action,
    error: row.error === null ? null : (JSON.parse(row.error) as RunError),
  };
}

export function toBriefRun(row: BriefRow): BriefRun {
  return {
    runId: row.run_id,
    threadId: row.thread_id,
    assistantId: row.assistant_id,
    createdAt: row.created_at,
    status: row.status,
    attempt: row.attempt,
    fence: row.fence,
    runAfter: row.run_after,
    cancelAction: row.cancel_action,
    payload: { temporary: row.temporary === 1, ...(row.webhook === null ? {} : { webhook: row.webhook }) },
  };
}

export function toRow(run: Run): RunRow & Pick<BriefRow, "temporary" | "webhook"> {
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
    temporary: run.payload.temporary ? 1 : 0,
    webhook: run.payload.webhook ?? null,
    attempt: run.attempt,
    fence: run.fence,
    first_claim: run.firstClaim,
    run_after: run.runAfter,
    cancel_action: run.cancelAction,
    error: run.error === null ? null : JSON.stringify(run.error),
  };
}
