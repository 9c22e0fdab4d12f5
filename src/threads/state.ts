/** The state of a thread at a checkpoint: read it, walk its history, write to it. */
import { badRequest, notFound } from "../core/errors.js";
import type { CheckpointPointer, JsonObject, RunConfig, Thread, ThreadState } from "../core/model.js";
import type { GraphHost, HistoryQuery, StateRef, StateUpdate } from "../graphs/host.js";
import type { Checkpoints, ThreadStore } from "../storage/storage.js";
import type { WhileReserved } from "./reservation.js";

export interface ThreadStateService {
  /** A thread that no graph has touched has an empty state without a checkpoint. */
  get(
    threadId: string,
    checkpoint: CheckpointPointer | null,
    options: { readonly subgraphs: boolean },
  ): Promise<ThreadState>;
  /** Newest first. */
  history(threadId: string, checkpoint: CheckpointPointer | null, query: HistoryQuery): Promise<readonly ThreadState[]>;
  /** Writes new checkpoints; returns the pointer to the last. `thread_busy` while a run is in flight. */
  update(
    threadId: string,
    change: { readonly checkpoint: CheckpointPointer | null; readonly supersteps: readonly (readonly StateUpdate[])[] },
  ): Promise<JsonObject>;
}

export function createThreadStateService(deps: {
  readonly threads: ThreadStore;
  readonly checkpoints: Checkpoints;
  readonly host: GraphHost;
  /** What the assistant that ran last gives to its graph's factory; empty for an assistant that is gone. */
  readonly configOf: (assistantId: string) => Promise<RunConfig>;
  readonly whileReserved: WhileReserved;
}): ThreadStateService {
  const { threads, checkpoints, host } = deps;

  async function requireThread(threadId: string): Promise<Thread> {
    const thread = await threads.get(threadId);
    if (thread === undefined) throw notFound("thread", threadId);
    return thread;
  }

  async function refOf(
    { threadId, metadata }: Thread,
    checkpoint: CheckpointPointer | null,
  ): Promise<StateRef | undefined> {
    const { graph_id: graphId, assistant_id: assistantId } = metadata;
    if (typeof graphId !== "string" || !host.graphs().some((graph) => graph.graphId === graphId)) return undefined;
    const config = typeof assistantId === "string" ? await deps.configOf(assistantId) : {};
    return { graphId, threadId, checkpoint, config };
  }

  return {
    async get(threadId, checkpoint, options) {
      const ref = await refOf(await requireThread(threadId), checkpoint);
      if (ref !== undefined) return host.getState(ref, options);
      if (checkpoint?.checkpointId !== undefined) throw notFound("checkpoint", checkpoint.checkpointId);
      return EMPTY_STATE;
    },

    async history(threadId, checkpoint, query) {
      const ref = await refOf(await requireThread(threadId), checkpoint);
      return ref === undefined ? [] : host.getHistory(ref, query);
    },

    async update(threadId, { checkpoint, supersteps }) {
      const thread = await requireThread(threadId);
      const ref = await refOf(thread, checkpoint);
      if (ref === undefined) throw badRequest(withoutGraph(thread));
      return deps.whileReserved(threadId, async () => {
        // LangGraph would begin a new branch at a checkpoint that is not there.
        if (checkpoint?.checkpointId !== undefined) await host.getState(ref, { subgraphs: false });
        const written = await host.updateState(ref, supersteps);
        checkpoints.sync(); // durable before the row says so, and before the client hears of it
        await threads.saveProjection(threadId, written.projection);
        return written.checkpoint;
      });
    },
  };
}

function withoutGraph({ threadId, metadata }: Thread): string {
  return typeof metadata.graph_id === "string"
    ? `thread ${threadId} belongs to graph ${JSON.stringify(metadata.graph_id)}, which is not served here`
    : `thread ${threadId} has no graph id: run it once, or set metadata.graph_id`;
}

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
