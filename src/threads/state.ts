/** The state of a thread at a checkpoint: read it, walk its history, write to it. */
import { randomUUID } from "node:crypto";
import { badRequest, conflict, notFound } from "../core/errors.js";
import type { CheckpointPointer, JsonObject, RunConfig, Thread, ThreadProjection, ThreadState } from "../core/model.js";
import type { GraphHost, HistoryQuery, StateRef, StateUpdate } from "../graphs/host.js";
import type { ThreadStore } from "../storage/storage.js";

export interface ThreadStateService {
  /** A thread that no graph has touched has an empty state without a checkpoint. */
  get(
    threadId: string,
    checkpoint: CheckpointPointer | null,
    options: { readonly subgraphs: boolean },
  ): Promise<ThreadState>;
  /** Newest first. */
  history(threadId: string, checkpoint: CheckpointPointer | null, query: HistoryQuery): Promise<readonly ThreadState[]>;
  /** Writes new checkpoints; returns the pointer to the last. `conflict` while a run is in flight. */
  update(
    threadId: string,
    change: { readonly checkpoint: CheckpointPointer | null; readonly supersteps: readonly (readonly StateUpdate[])[] },
  ): Promise<JsonObject>;
  /** What the thread's row should show for the state at its head. */
  projection(threadId: string, like: Pick<Thread, "metadata">): Promise<ThreadProjection>;
}

export function createThreadStateService(deps: {
  readonly threads: ThreadStore;
  readonly host: GraphHost;
  /** Called when a thread became free for its next run. */
  readonly wakeWorkers: () => void;
}): ThreadStateService {
  const { threads, host } = deps;

  async function requireThread(threadId: string): Promise<Thread> {
    const thread = await threads.get(threadId);
    if (thread === undefined) throw notFound("thread", threadId);
    return thread;
  }

  function refOf(
    threadId: string,
    thread: Pick<Thread, "metadata">,
    checkpoint: CheckpointPointer | null,
  ): StateRef | undefined {
    const graphId = thread.metadata.graph_id;
    if (typeof graphId !== "string" || !host.graphs().some((graph) => graph.graphId === graphId)) return undefined;
    return { graphId, threadId, checkpoint, config: NO_CONFIG };
  }

  return {
    async get(threadId, checkpoint, options) {
      const ref = refOf(threadId, await requireThread(threadId), checkpoint);
      if (ref !== undefined) return host.getState(ref, options);
      if (checkpoint?.checkpointId !== undefined) throw notFound("checkpoint", checkpoint.checkpointId);
      return EMPTY_STATE;
    },

    async history(threadId, checkpoint, query) {
      const ref = refOf(threadId, await requireThread(threadId), checkpoint);
      return ref === undefined ? [] : host.getHistory(ref, query);
    },

    async update(threadId, { checkpoint, supersteps }) {
      const ref = refOf(threadId, await requireThread(threadId), checkpoint);
      if (ref === undefined)
        throw badRequest(`thread ${threadId} has no graph id: run it once, or set metadata.graph_id`);
      const owner = randomUUID();
      const answer = await threads.reserve(threadId, owner);
      if (answer === "missing") throw notFound("thread", threadId);
      if (answer === "busy") throw conflict("Thread is busy: wait for its runs to end, or cancel them");
      try {
        const written = await host.updateState(ref, supersteps);
        await threads.saveProjection(threadId, written.projection);
        return written.checkpoint;
      } finally {
        await threads.release(threadId, owner);
        deps.wakeWorkers();
      }
    },

    async projection(threadId, like) {
      const ref = refOf(threadId, like, null);
      const state = ref === undefined ? EMPTY_STATE : await host.getState(ref, { subgraphs: false });
      const waiting = state.tasks.filter((task) => task.interrupts.length > 0);
      return {
        valuesJson: state.checkpoint === null ? null : JSON.stringify(state.values),
        interrupts: Object.fromEntries(waiting.map((task) => [task.id, task.interrupts])),
        next: state.next,
      };
    },
  };
}

const NO_CONFIG: RunConfig = {};

const EMPTY_STATE: ThreadState = {
  values: {},
  next: [],
  tasks: [],
  checkpoint: null,
  metadata: {},
  createdAt: null,
  parentCheckpoint: null,
  interrupts: [],
};
