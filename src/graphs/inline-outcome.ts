/** What an execution leaves on its thread: told by the stream where that says enough, read from the state otherwise. */
import { toJson } from "../core/json.js";
import type { Interrupt, InterruptsByTask, RunCommand, ThreadProjection } from "../core/model.js";
import type { BoundGraph, StateSnapshotLike } from "./bound-graph.js";
import type { GraphChunk } from "./chunks.js";
import type { ExecuteRequest, GraphEvent } from "./host.js";
import { finishedTasks, projectionAfterUpdate, projectionOf, toInterrupt } from "./snapshot.js";

export interface Observer {
  chunk(chunk: GraphChunk): void;
  event(chunk: GraphChunk, event: GraphEvent): void;
  readonly interrupts: ReadonlyMap<string, Interrupt>;
  /** Whether the graph said that it paused, at an interrupt or at a breakpoint. */
  paused(): boolean;
  /** The last full root state as wire JSON; null before the first. */
  valuesJson(): string | null;
}

/** Remembers from the stream what the run's result needs, so that most runs end without reading the state back. */
export function createObserver(): Observer {
  const interrupts = new Map<string, Interrupt>();
  let paused = false;
  let last: { readonly payload: unknown; json: string | null } | undefined;

  return {
    interrupts,
    chunk({ namespace, mode, payload }) {
      if (mode !== "values" || namespace.length > 0) return;
      const asked = interruptsIn(payload);
      if (asked === undefined) {
        last = { payload, json: null };
        return;
      }
      paused = true;
      for (const interrupt of asked) interrupts.set(interrupt.id, interrupt);
    },
    event(chunk, event) {
      if (last !== undefined && event.event === "values" && last.payload === chunk.payload) last.json = event.data;
    },
    paused: () => paused,
    valuesJson() {
      if (last === undefined) return null;
      last.json ??= toJson(last.payload);
      return last.json;
    },
  };
}

function interruptsIn(payload: unknown): Interrupt[] | undefined {
  if (typeof payload !== "object" || payload === null || !("__interrupt__" in payload)) return undefined;
  const list = payload.__interrupt__;
  return Array.isArray(list) ? list.map(toInterrupt) : [];
}

/** `driven`: until its end, until something stopped it, or not at all, because it was stopped before it began. */
export interface Execution {
  readonly request: ExecuteRequest;
  readonly seen: Observer;
  readonly driven: "to its end" | "partly" | "never";
}

/** What the thread shows after an execution; null where nothing was ever persisted. Throws what the saver throws. */
export async function projectExecution(
  graph: BoundGraph,
  { request, seen, driven }: Execution,
): Promise<ThreadProjection | null> {
  const streamed = projectStream(seen);
  if (graph.checkpointer === false) return streamed;
  if (driven === "to its end" && !seen.paused() && streamed.valuesJson !== null) return streamed;
  const snapshot = await graph.getState({ configurable: { thread_id: request.threadId } });
  if (snapshot.config.configurable?.checkpoint_id === undefined) return null;
  const finished = await finishedTasks(graph, snapshot);
  if (driven === "never") return projectionAfterUpdate(snapshot, finished);
  return projectionOf(snapshot, {
    emitted: byTask(snapshot, seen.interrupts),
    before: request.pendingBefore,
    answered: answeredIds(request.payload.command),
    finished,
  });
}

/** What the stream alone tells of a graph that did not pause. */
export function projectStream(seen: Observer): ThreadProjection {
  return { valuesJson: seen.valuesJson(), interrupts: {}, next: [] };
}

function byTask(snapshot: StateSnapshotLike, emitted: ReadonlyMap<string, Interrupt>): InterruptsByTask {
  const tasks = snapshot.tasks.map((task) => {
    const asked = task.interrupts.flatMap((interrupt) => emitted.get(interrupt.id ?? "") ?? []);
    return [task.id, asked] as const;
  });
  return Object.fromEntries(tasks.filter(([, asked]) => asked.length > 0));
}

function answeredIds(command: RunCommand | null): ReadonlySet<string> {
  const resume = command?.resume;
  return new Set(typeof resume === "object" && resume !== null ? Object.keys(resume) : []);
}
