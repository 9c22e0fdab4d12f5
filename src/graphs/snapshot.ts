/** LangGraph's state snapshots → `ThreadState`, and the projection of the root state that a thread row mirrors. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { toJson, toPlain } from "../core/json.js";
import type {
  Interrupt,
  InterruptsByTask,
  Json,
  JsonObject,
  StateTask,
  ThreadProjection,
  ThreadState,
} from "../core/model.js";
import { projectionOfState } from "../core/projection.js";
import type { BoundGraph, SnapshotTaskLike, StateSnapshotLike } from "./bound-graph.js";
import { pointerOf } from "./checkpoint-chunks.js";

/** Ids of tasks that have done their part of the superstep: what they once asked is answered. */
export type FinishedTasks = ReadonlySet<string>;

const NO_TASK_FINISHED: FinishedTasks = new Set();

/**
 * A task that waits at its second `interrupt()` is missing from LangGraph.js's `next`, and a finished task still lists
 * the interrupts it had: both are put right with `finished` (docs/wire.md).
 */
export function toThreadState(snapshot: StateSnapshotLike, finished: FinishedTasks = NO_TASK_FINISHED): ThreadState {
  const tasks = snapshot.tasks.map((task) => toStateTask(task, finished));
  const waiting = tasks.filter((task) => task.interrupts.length > 0).map((task) => task.name);
  return {
    values: toPlain(snapshot.values),
    next: nextNodes(snapshot.next, waiting),
    tasks,
    checkpoint: isPersisted(snapshot) ? toPlain(pointerOf(snapshot.config)) : null,
    metadata: toPlain(snapshot.metadata ?? {}) as JsonObject,
    createdAt: snapshot.createdAt ?? null,
    parentCheckpoint: toPlain(pointerOf(snapshot.parentConfig)),
    interrupts: tasks.flatMap((task) => task.interrupts),
  };
}

/** Where there is no checkpoint LangGraph answers with the namespace that it was asked for. */
function isPersisted({ config }: StateSnapshotLike): boolean {
  return config.configurable?.checkpoint_id !== undefined;
}

/**
 * The root state as its thread shows it. Pending is what `emitted` asked in this execution, and what was pending before
 * and is neither answered nor superseded.
 */
export function projectionOf(
  snapshot: StateSnapshotLike,
  pending: {
    readonly emitted: InterruptsByTask;
    readonly before: InterruptsByTask;
    readonly answered: ReadonlySet<string>;
    readonly finished: FinishedTasks;
  },
): ThreadProjection {
  const interrupts: Record<string, readonly Interrupt[]> = {};
  for (const task of snapshot.tasks) {
    if (pending.finished.has(task.id)) continue;
    const kept = (pending.before[task.id] ?? []).filter(({ id }) => !pending.answered.has(id));
    const open = pending.emitted[task.id] ?? kept;
    if (open.length > 0) interrupts[task.id] = open;
  }
  const waiting = snapshot.tasks.filter((task) => task.id in interrupts).map((task) => task.name);
  return { valuesJson: toJson(snapshot.values), interrupts, next: nextNodes(snapshot.next, waiting) };
}

/** After an update outside of runs nothing was asked in this checkpoint yet, except what its own tasks still ask. */
export function projectionAfterUpdate(snapshot: StateSnapshotLike, finished: FinishedTasks): ThreadProjection {
  return projectionOfState(toThreadState(snapshot, finished));
}

function nextNodes(next: readonly string[], waiting: readonly string[]): string[] {
  return [...next, ...waiting.filter((name) => !next.includes(name))];
}

function toStateTask(task: SnapshotTaskLike, finished: FinishedTasks): StateTask {
  const nested = task.state !== undefined && "values" in task.state ? task.state : null;
  const pointer = nested === null ? pointerOf(task.state as { configurable?: JsonObject } | undefined) : null;
  return {
    id: task.id,
    name: task.name,
    path: toPlain(task.path ?? []),
    error: task.error === undefined || task.error === null ? null : errorText(task.error),
    interrupts: finished.has(task.id) ? [] : task.interrupts.map(toInterrupt),
    checkpoint: toPlain(nested === null ? pointer : pointerOf(nested.config)),
    state: nested === null ? null : toThreadState(nested),
    result: task.result === undefined ? null : toPlain(task.result),
  };
}

export function toInterrupt(interrupt: { readonly id?: string; readonly value?: unknown }): Interrupt {
  return { id: interrupt.id ?? "", value: toPlain(interrupt.value) };
}

/** A string: clients parse it when it is JSON and show it as it is otherwise. */
function errorText(error: unknown): Json {
  return typeof error === "string" ? error : toJson(error);
}

/** Tasks that wrote to a channel of the state, or said that they write nothing: they are done. */
export async function finishedTasks(graph: BoundGraph, snapshot: StateSnapshotLike): Promise<FinishedTasks> {
  if (!snapshot.tasks.some((task) => task.interrupts.length > 0)) return new Set();
  const saver = graph.checkpointer;
  if (typeof saver !== "object" || saver === null || !("getTuple" in saver)) return new Set();
  const tuple = await (saver as BaseCheckpointSaver).getTuple(snapshot.config);
  const writes = tuple?.pendingWrites ?? [];
  return new Set(writes.filter(([, channel]) => !MARKER_CHANNELS.has(String(channel))).map(([taskId]) => taskId));
}

/** Writes that say something about a task instead of being its result. */
const MARKER_CHANNELS: ReadonlySet<string> = new Set(["__interrupt__", "__resume__", "__error__", "__scheduled__"]);
