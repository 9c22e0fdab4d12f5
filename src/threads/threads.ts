/** Threads as clients manage them: create, find, change, copy, prune, delete. Their state is `state.ts`'s subject. */
import type { StreamBridge } from "../bridge/bridge.js";
import { badRequest, conflict, GatewayError, notFound, unsupported } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { JsonObject, ThreadTtl } from "../core/model.js";
import type { StateUpdate } from "../graphs/host.js";
import type { Checkpoints, Page, RunStore, ThreadFilter, ThreadStore, ThreadWithValues } from "../storage/storage.js";
import type { WhileReserved } from "./reservation.js";
import type { ThreadStateService } from "./state.js";

export type TtlRequest = Omit<ThreadTtl, "expiresAt">;

export interface ThreadDraft {
  readonly threadId?: string | undefined;
  readonly metadata: JsonObject;
  readonly ifExists: "raise" | "do_nothing";
  readonly ttl: TtlRequest | null;
  /** Imports a history: one checkpoint per superstep. Needs `metadata.graph_id`. */
  readonly supersteps: readonly (readonly StateUpdate[])[];
}

export interface ThreadService {
  create(draft: ThreadDraft): Promise<ThreadWithValues>;
  require(threadId: string): Promise<ThreadWithValues>;
  patch(threadId: string, change: { metadata?: JsonObject; ttl?: TtlRequest | null }): Promise<ThreadWithValues>;
  search(
    filter: ThreadFilter,
    page: Parameters<ThreadStore["search"]>[1],
    options: { readonly withValues: boolean },
  ): Promise<Page<ThreadWithValues>>;
  count(filter: ThreadFilter): Promise<number>;
  /** Stops its runs, then removes it with everything that belongs to it. */
  remove(threadId: string): Promise<void>;
  /** A new thread with the same checkpoints, values and metadata; `conflict` while a run of the source is in flight. */
  copy(threadId: string): Promise<ThreadWithValues>;
  /** Returns how many were pruned: missing and busy ones are skipped. */
  prune(threadIds: readonly string[], strategy: ThreadTtl["strategy"]): Promise<number>;
  /** At start: finishes deletions that a crash interrupted. */
  finishDeletions(): Promise<void>;
}

export function createThreadService(deps: {
  readonly threads: ThreadStore;
  readonly runs: Pick<RunStore, "list">;
  readonly checkpoints: Checkpoints;
  readonly bridge: Pick<StreamBridge, "drop">;
  readonly state: ThreadStateService;
  readonly whileReserved: WhileReserved;
  readonly stopRuns: (threadId: string) => Promise<void>;
}): ThreadService {
  const { threads, checkpoints, state, whileReserved } = deps;

  async function requireThread(threadId: string): Promise<ThreadWithValues> {
    const thread = await threads.get(threadId);
    if (thread === undefined) throw notFound("thread", threadId);
    return thread;
  }

  /** Checkpoints go first: what a crash leaves is a row that says "deleting". */
  async function finishDeletion(threadId: string): Promise<void> {
    checkpoints.deleteThread(threadId);
    checkpoints.sync();
    const runIds = await runsOf(threadId);
    await threads.remove(threadId);
    for (const runId of runIds) await deps.bridge.drop(runId); // a finished run's log would be served for a while yet
  }

  async function runsOf(threadId: string): Promise<readonly string[]> {
    const limit = 1_000;
    const runIds: string[] = [];
    for (;;) {
      const { rows } = await deps.runs.list(threadId, { limit, offset: runIds.length });
      runIds.push(...rows.map(({ runId }) => runId));
      if (rows.length < limit) return runIds;
    }
  }

  async function remove(threadId: string): Promise<void> {
    if (!(await threads.markDeleting(threadId))) throw notFound("thread", threadId);
    await deps.stopRuns(threadId);
    await finishDeletion(threadId);
  }

  return {
    require: requireThread,
    remove,
    search: (filter, page, options) => threads.search(filter, page, options),
    count: (filter) => threads.count(filter),

    async create(draft) {
      const threadId = draft.threadId ?? newId();
      const graphId = draft.metadata.graph_id;
      if (draft.supersteps.length > 0 && typeof graphId !== "string") {
        throw badRequest("supersteps need metadata.graph_id: the graph that the imported state belongs to");
      }
      const created = await threads.create({ threadId, metadata: draft.metadata, ttl: draft.ttl });
      if (created === undefined) {
        if (draft.ifExists === "raise") throw conflict(`thread ${threadId} exists already`);
        return requireThread(threadId);
      }
      if (draft.supersteps.length === 0) return { ...created, valuesJson: null };
      try {
        await state.update(threadId, { checkpoint: null, supersteps: draft.supersteps });
      } catch (error) {
        await remove(threadId); // an import that failed leaves nothing behind
        throw error;
      }
      return requireThread(threadId);
    },

    async patch(threadId, change) {
      if ((await threads.patch(threadId, change)) === undefined) throw notFound("thread", threadId);
      return requireThread(threadId);
    },

    async copy(sourceId) {
      const copied = whileReserved(sourceId, async () => {
        const threadId = newId();
        try {
          await copyTo(threadId, await requireThread(sourceId));
        } catch (error) {
          await finishDeletion(threadId); // half a copy is none
          throw error;
        }
        return requireThread(threadId);
      });
      return copied.catch((error: unknown) => {
        // The Platform answers 409 for a source that does not exist.
        throw error instanceof GatewayError && error.code === "not_found" ? conflict(error.message) : error;
      });
    },

    async prune(threadIds, strategy) {
      let pruned = 0;
      for (const threadId of new Set(threadIds)) {
        if (await pruneOne(threadId, strategy)) pruned++;
      }
      return pruned;
    },

    async finishDeletions() {
      for (const threadId of await threads.listDeleting()) await finishDeletion(threadId);
    },
  };

  /** The copy shows what its source shows; where its next step is, its own state says. */
  async function copyTo(threadId: string, source: ThreadWithValues): Promise<void> {
    checkpoints.copyThread(source.threadId, threadId);
    checkpoints.sync();
    await threads.create({ threadId, metadata: source.metadata, ttl: null });
    const [before, after] = await Promise.all(
      [source.threadId, threadId].map((id) => state.get(id, null, { subgraphs: false })),
    );
    if (before?.checkpoint && !after?.checkpoint) {
      throw unsupported("copy", "the graph of this thread keeps its state in a checkpointer of its own");
    }
    if (source.stateUpdatedAt === null) return;
    const { valuesJson, interrupts } = source;
    await threads.saveProjection(threadId, { valuesJson, interrupts, next: after?.next ?? [] });
  }

  async function pruneOne(threadId: string, strategy: ThreadTtl["strategy"]): Promise<boolean> {
    try {
      await whileReserved(threadId, async () => {
        if (strategy === "keep_latest") checkpoints.pruneToLatest(threadId);
        else await threads.markDeleting(threadId);
      });
    } catch (error) {
      if (error instanceof GatewayError) return false; // missing or busy
      throw error;
    }
    if (strategy === "delete") await finishDeletion(threadId);
    return true;
  }
}
