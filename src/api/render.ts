/** From the model to the wire: snake case, ISO dates. */
import type { Assistant, AssistantVersion, RunPayload, StateTask, Thread, ThreadState } from "../core/model.js";
import type { CheckpointSizes } from "../storage/ports/checkpoints.js";
import type { ListedRun } from "../storage/ports/runs.js";
import type { ThreadWithValues } from "../storage/ports/threads.js";

type Wire = Record<string, unknown>;

export function iso(time: number): string {
  return new Date(time).toISOString();
}

/**
 * The JSON of a thread: its stored values go in as they are, because a long thread's would be parsed only to be written
 * again. `extra` are members that were asked for, `select` leaves others out.
 */
export function threadJson(
  thread: ThreadWithValues,
  { select, extra = {} }: { readonly select?: readonly string[] | undefined; readonly extra?: Wire } = {},
): string {
  const members = JSON.stringify({ ...pick(renderThreadRow(thread), select), ...extra }).slice(1, -1);
  const values = select === undefined || select.includes("values") ? `"values":${thread.valuesJson ?? "null"}` : "";
  const separator = members === "" || values === "" ? "" : ",";
  return `{${members}${separator}${values}}`; // not joined, which would copy them
}

/** A thread as an object, for what looks into its values. */
export function renderThread(thread: ThreadWithValues): Wire {
  return {
    ...renderThreadRow(thread),
    values: thread.valuesJson === null ? null : JSON.parse(thread.valuesJson),
  };
}

function renderThreadRow(thread: Thread): Wire {
  return {
    thread_id: thread.threadId,
    created_at: iso(thread.createdAt),
    updated_at: iso(thread.updatedAt),
    state_updated_at: thread.stateUpdatedAt === null ? null : iso(thread.stateUpdatedAt),
    metadata: thread.metadata,
    config: thread.config,
    status: thread.status,
    interrupts: thread.interrupts,
    error: thread.error,
  };
}

export function renderTtl({ ttl }: Thread): Wire | null {
  if (ttl === null) return null;
  return { strategy: ttl.strategy, ttl_minutes: ttl.ttlMinutes, expires_at: iso(ttl.expiresAt) };
}

export function renderStorage(
  threadId: string,
  { checkpoints, values, valuesByChannel, writes }: CheckpointSizes,
): Wire {
  const byChannel = [...valuesByChannel].map(([channel, { count, bytes }]) => [channel, { versions: count, bytes }]);
  return {
    thread_id: threadId,
    total_bytes: checkpoints.bytes + values.bytes + writes.bytes,
    checkpoints,
    channel_values: { ...values, by_channel: Object.fromEntries(byChannel) },
    pending_writes: writes,
  };
}

export function renderRun(run: ListedRun): Wire {
  const { payload } = run;
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    assistant_id: run.assistantId,
    created_at: iso(run.createdAt),
    updated_at: iso(run.updatedAt),
    status: run.status,
    metadata: run.metadata,
    ...(payload === null ? {} : { kwargs: renderPayload(payload) }),
    multitask_strategy: run.multitaskStrategy,
  };
}

function renderPayload(payload: RunPayload): Wire {
  return {
    input: payload.input,
    command: payload.command,
    config: payload.config,
    context: payload.context,
    stream_mode: payload.streamModes,
    interrupt_before: payload.interruptBefore,
    interrupt_after: payload.interruptAfter,
    subgraphs: payload.subgraphs,
    resumable: payload.resumable,
    durability: payload.durability,
    temporary: payload.temporary,
    checkpoint_id: payload.checkpoint?.checkpointId ?? null,
    webhook: shownWebhook(payload.webhook),
    ...(payload.feedbackKeys === undefined ? {} : { feedback_keys: payload.feedbackKeys }),
  };
}

/** That there is one, and where: paths and queries of webhooks hold the secrets of those who receive them. */
export function shownWebhook(url: string | undefined): string | null {
  if (url === undefined) return null;
  return URL.canParse(url) ? `${new URL(url).origin}/…` : "/…";
}

export function renderAssistantVersion(version: AssistantVersion): Wire {
  return {
    assistant_id: version.assistantId,
    graph_id: version.graphId,
    version: version.version,
    name: version.name,
    description: version.description,
    config: version.config,
    context: version.context,
    metadata: version.metadata,
    created_at: iso(version.createdAt),
  };
}

export function renderAssistant(assistant: Assistant): Wire {
  return { ...renderAssistantVersion(assistant), updated_at: iso(assistant.updatedAt) };
}

export function renderState(state: ThreadState): Wire {
  return {
    values: state.values,
    next: state.next,
    tasks: state.tasks.map(renderTask),
    checkpoint: state.checkpoint,
    metadata: state.metadata,
    created_at: state.createdAt,
    parent_checkpoint: state.parentCheckpoint,
    interrupts: state.interrupts,
  };
}

function renderTask(task: StateTask): Wire {
  return { ...task, state: task.state === null ? null : renderState(task.state) };
}

/** Keeps the members that `select` names; everything without it. */
export function pick(object: Wire, select: readonly string[] | undefined): Wire {
  return select === undefined
    ? object
    : Object.fromEntries(Object.entries(object).filter(([key]) => select.includes(key)));
}

/** The headers that tell how much there is and where the next page starts. */
export function paginationHeaders(
  page: { readonly limit: number; readonly offset: number },
  { rows, total }: { readonly rows: readonly unknown[]; readonly total: number },
): Record<string, string> {
  const next = page.offset + rows.length;
  return { "x-pagination-total": String(total), ...(next < total ? { "x-pagination-next": String(next) } : {}) };
}
