/** Threads as clients manage them: create, find, change, copy, prune, delete. Their state is `state.ts`'s subject. */
import { randomUUID } from "node:crypto";
import { conflict, GatewayError, invalid, notFound } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { JsonObject, ThreadTtl } from "../core/model.js";
import type { StateUpdate } from "../graphs/host.js";
import type { Checkpoints, Page, ThreadFilter, ThreadStore, ThreadWithValues } from "../storage/storage.js";
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
  readonly checkpoints: Checkpoints;
  readonly state: ThreadStateService;
  readonly stopRuns: (threadId: string) => Promise<void>;
}): ThreadService {
  const { threads, checkpoints, state, stopRuns } = deps;

  async function requireThread(threadId: string): Promise<ThreadWithValues> {
    const thread = await threads.get(threadId);
    if (thread === undefined) throw notFound("thread", threadId);
    return thread;
  }

  /** Checkpoints go first: what a crash leaves is a row that says "deleting". */
  async function finishDeletion(threadId: string): Promise<void> {
    checkpoints.deleteThread(threadId);
    checkpoints.sync();
    await threads.remove(threadId);
  }

  async function remove(threadId: string): Promise<void> {
    if (!(await threads.markDeleting(threadId))) throw notFound("thread", threadId);
    await stopRuns(threadId);
    await finishDeletion(threadId);
  }

  /** Runs `work` while no run of the thread can start. */
  async function whileReserved<T>(threadId: string, work: () => Promise<T>): Promise<T> {
    const owner = randomUUID();
    const answer = await threads.reserve(threadId, owner);
    if (answer === "missing") throw notFound("thread", threadId);
    if (answer === "busy") throw conflict(`thread ${threadId} is busy`);
    try {
      return await work();
    } finally {
      await threads.release(threadId, owner);
    }
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
        throw invalid("supersteps need metadata.graph_id: the graph that the imported state belongs to");
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
      return whileReserved(sourceId, async () => {
        const source = await requireThread(sourceId);
        const threadId = newId();
        checkpoints.copyThread(sourceId, threadId);
        checkpoints.sync();
        await threads.create({ threadId, metadata: source.metadata, ttl: null });
        await threads.saveProjection(threadId, await state.projection(threadId, source));
        return requireThread(threadId);
      }).catch((error: unknown) => {
        // The Platform answers 409 for a source that does not exist (api.md T8).
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
