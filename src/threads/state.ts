/**
 * The state of a thread at a checkpoint: read it, walk its history, write to it.
 *
 * A write is a checkpoint in one database and the thread's row in another. The reservation stands around both, so a start
 * knows which threads may show less than was written.
 */
import { withLimit } from "../core/async.js";
import type { Caller, PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { badRequest, notFound } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { CheckpointPointer, JsonObject, RunConfig, Thread, ThreadState } from "../core/model.js";
import { projectionOfState } from "../core/projection.js";
import type { GraphHost, HistoryPage, HistoryQuery, StateRef, StateUpdate } from "../graphs/host.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import { reservationLost, type WhileReserved } from "./reservation.js";

export interface ThreadStateService {
  /** A thread that no graph has touched has an empty state without a checkpoint. */
  get(
    threadId: string,
    checkpoint: CheckpointPointer | null,
    options: { readonly subgraphs: boolean },
  ): Promise<ThreadState>;
  history(threadId: string, checkpoint: CheckpointPointer | null, query: HistoryQuery): Promise<HistoryPage>;
  /** Writes new checkpoints; returns the pointer to the last. `thread_busy` while a run is in flight. */
  update(
    threadId: string,
    change: { readonly checkpoint: CheckpointPointer | null; readonly supersteps: readonly (readonly StateUpdate[])[] },
  ): Promise<JsonObject>;
}

export interface ThreadStateServices extends PerCaller<ThreadStateService> {
  /**
   * At the start of a process that is alone: threads that were being written to when another one died show what was written,
   * and are free again.
   */
  finishUpdates(): Promise<void>;
  /** The thread, which is the caller's alone, shows what was last written to it. Does not throw what its graph throws. */
  showHead(threadId: string): Promise<void>;
}

/** What a graph may take at start to show the state of a thread: without an end nothing would be served. */
const READ_MS = 10_000;

export function createThreadStateService(deps: {
  readonly threads: ThreadStore;
  readonly checkpoints: Checkpoints;
  readonly host: GraphHost;
  /** What the assistant that ran last gives to its graph's factory; empty for an assistant that is gone. */
  readonly configOf: (assistantId: string) => Promise<RunConfig>;
  readonly whileReserved: WhileReserved;
  readonly clock: Clock;
  readonly log: Log;
}): ThreadStateServices {
  const { threads, checkpoints, host, clock, log } = deps;

  async function requireThread(
    caller: Caller,
    action: "threads:read" | "threads:update",
    threadId: string,
  ): Promise<Thread> {
    const { scope } = await caller.authorize(action, { thread_id: threadId });
    const thread = await threads.within(scope).find(threadId);
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

  async function showHead(threadId: string): Promise<void> {
    if (!(await checkpoints.isHeadOutsideRuns(threadId))) return; // nothing was written: the row shows what the last run left
    const thread = await threads.find(threadId);
    if (thread === undefined) return;
    const head = await readHead(thread);
    if (head === undefined) return;
    await checkpoints.sync(); // durable before the row says so
    await threads.catchUp(threadId, projectionOfState(head));
  }

  async function readHead(thread: Thread): Promise<ThreadState | undefined> {
    const { threadId } = thread;
    try {
      const ref = await refOf(thread, null);
      if (ref === undefined) throw badRequest(withoutGraph(thread));
      const error = new Error(`the graph did not answer for ${READ_MS} ms`);
      return await withLimit(host.getState(ref, { subgraphs: false }), { limitMs: READ_MS, error, clock });
    } catch (error) {
      log.error({ err: error, threadId }, "a state update was cut short, and its thread may not show it");
      return undefined;
    }
  }

  return {
    as: (caller) => ({
      async get(threadId, checkpoint, options) {
        const ref = await refOf(await requireThread(caller, "threads:read", threadId), checkpoint);
        if (ref !== undefined) return host.getState(ref, options);
        if (checkpoint?.checkpointId !== undefined) throw notFound("checkpoint", checkpoint.checkpointId);
        return EMPTY_STATE;
      },

      async history(threadId, checkpoint, query) {
        const ref = await refOf(await requireThread(caller, "threads:read", threadId), checkpoint);
        return ref === undefined ? { states: [], next: null } : host.getHistory(ref, query);
      },

      async update(threadId, { checkpoint, supersteps }) {
        const thread = await requireThread(caller, "threads:update", threadId);
        const ref = await refOf(thread, checkpoint);
        if (ref === undefined) throw badRequest(withoutGraph(thread));
        return deps.whileReserved(threadId, async (owner) => {
          // LangGraph would begin a new branch at a checkpoint that is not there.
          if (checkpoint?.checkpointId !== undefined) await host.getState(ref, { subgraphs: false });
          const written = await host
            .updateState({ ...ref, reservation: owner }, supersteps)
            .catch(async (error: unknown) => {
              await showHead(threadId); // a checkpoint may have come before the failure
              throw error;
            });
          await checkpoints.sync(); // durable before the row says so, and before the client hears of it
          if (!(await threads.saveProjection(threadId, written.projection, { owner }))) throw reservationLost(threadId);
          return written.checkpoint;
        });
      },
    }),

    showHead,

    async finishUpdates() {
      for (const { threadId, owner } of await threads.listReserved()) {
        await showHead(threadId);
        await threads.release(threadId, owner);
      }
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
