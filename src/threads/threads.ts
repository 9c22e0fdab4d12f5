/** Threads as clients manage them: create, find, change, copy, prune, delete. Their state is `state.ts`'s subject. */
import { ANYONE, type Caller, type PerCaller } from "../core/caller.js";
import { badRequest, conflict, GatewayError, notFound, notImplemented, unsupported } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { JsonObject, ThreadTtl } from "../core/model.js";
import type { GraphHost, StateUpdate } from "../graphs/host.js";
import type { CheckpointSizes, Checkpoints } from "../storage/ports/checkpoints.js";
import type { Page } from "../storage/ports/page.js";
import type { ThreadFilter, ThreadStore, ThreadWithValues } from "../storage/ports/threads.js";
import type { FinishDeletion } from "./deletion.js";
import { type Reservations, reservationLost } from "./reservation.js";
import type { ThreadStateServices } from "./state.js";

export type TtlRequest = Omit<ThreadTtl, "expiresAt">;

export interface ThreadDraft {
  readonly threadId?: string | undefined;
  readonly metadata: JsonObject;
  readonly ifExists: "raise" | "do_nothing";
  /** null: the configured one, if there is one. */
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
  searchAfter: ThreadStore["searchAfter"];
  count(filter: ThreadFilter): Promise<number>;
  listIds(...args: Parameters<ThreadStore["listIds"]>): Promise<readonly string[]>;
  /** Stops its runs, then removes it with everything that belongs to it. */
  remove(threadId: string): Promise<void>;
  /** A new thread with the same checkpoints, values and metadata; `conflict` while a run of the source is in flight. */
  copy(threadId: string): Promise<ThreadWithValues>;
  /** Returns how many were pruned: missing and busy ones are skipped. */
  prune(threadIds: readonly string[], strategy: ThreadTtl["strategy"]): Promise<number>;
  /** What its state takes; `not_implemented` where its graph keeps that itself. */
  sizes(threadId: string): Promise<CheckpointSizes>;
}

export interface ThreadServices extends PerCaller<ThreadService> {
  /** At the start of a process that is alone: finishes deletions that a crash interrupted, and removes unfinished copies. */
  finishDeletions(): Promise<void>;
}

export function createThreadService(deps: {
  readonly threads: ThreadStore;
  readonly checkpoints: Checkpoints;
  readonly host: Pick<GraphHost, "graphs">;
  readonly state: ThreadStateServices;
  readonly reservations: Pick<Reservations, "whileReserved" | "whilePrepared">;
  readonly stopRuns: (threadId: string) => Promise<void>;
  readonly finishDeletion: FinishDeletion;
  readonly defaultTtl: TtlRequest | null;
}): ThreadServices {
  const { checkpoints, finishDeletion, defaultTtl } = deps;
  const { whileReserved, whilePrepared } = deps.reservations;
  const allThreads = deps.threads;
  const state = deps.state.as(ANYONE); // for threads whose use was authorised

  async function requireIn(threads: ThreadStore, threadId: string): Promise<ThreadWithValues> {
    const thread = await threads.get(threadId);
    if (thread === undefined) throw notFound("thread", threadId);
    return thread;
  }

  async function removeIn(threads: ThreadStore, threadId: string): Promise<void> {
    if (!(await threads.markDeleting(threadId))) throw notFound("thread", threadId);
    await deps.stopRuns(threadId);
    await finishDeletion(threadId);
  }

  async function copyTo(
    threadId: string,
    source: ThreadWithValues,
    { metadata, sourceOwner }: { readonly metadata: JsonObject; readonly sourceOwner: string },
  ): Promise<ThreadWithValues> {
    const next = await nextOfCopy(source);
    await whilePrepared({ threadId, metadata, ttl: defaultTtl }, async (owner) => {
      try {
        const hold = { kind: "reservation", owner: sourceOwner } as const;
        await checkpoints.copyThread({ from: source.threadId, to: threadId, preparedBy: owner, hold });
        await checkpoints.sync();
        const { valuesJson, interrupts } = source;
        const shown = source.stateUpdatedAt === null ? null : { valuesJson, interrupts, next };
        if (!(await allThreads.reveal(threadId, owner, shown))) throw reservationLost(threadId);
      } catch (error) {
        await finishDeletion(threadId); // half a copy is none
        throw error;
      }
    });
    return requireIn(allThreads, threadId);
  }

  /** The name of the thread's graph where that keeps its state in a checkpointer of its own. */
  function ownSaverOf({ metadata }: ThreadWithValues): string | undefined {
    const graph = deps.host.graphs().find(({ graphId }) => graphId === metadata.graph_id);
    return graph?.checkpointer === "own" ? graph.graphId : undefined;
  }

  /** A copy shows what its source shows; where its next step is, the state says. */
  async function nextOfCopy(source: ThreadWithValues): Promise<readonly string[]> {
    const { threadId } = source;
    // Not only by what is there: its saver may have nothing in this process, or since the last start.
    if (ownSaverOf(source) !== undefined) throw notToCopy();
    const { checkpoint, next } = await state.get(threadId, null, { subgraphs: false });
    const head = checkpoint as JsonObject | null; // a pointer, or nothing
    if (head !== null && !(await checkpoints.has(threadId, "", String(head.checkpoint_id)))) {
      throw notToCopy();
    }
    return next;
  }

  /** Whether it was; one that is in use is not. */
  async function pruneIn(threads: ThreadStore, threadId: string, strategy: ThreadTtl["strategy"]): Promise<boolean> {
    if (strategy === "delete") {
      const isMarked = await threads.markUnoccupied(threadId);
      if (isMarked) await finishDeletion(threadId);
      return isMarked;
    }
    await requireIn(threads, threadId);
    await whileReserved(threadId, async (owner) => checkpoints.pruneToLatest(threadId, { kind: "reservation", owner }));
    return true;
  }

  return {
    as: (caller) => asCaller(caller),

    async finishDeletions() {
      for (const threadId of await allThreads.listDeleting()) await finishDeletion(threadId);
    },
  };

  function asCaller(caller: Caller): ThreadService {
    /** The threads that the caller may do this to. */
    async function threadsFor(
      action: "threads:read" | "threads:update" | "threads:delete",
      threadId: string,
    ): Promise<ThreadStore> {
      const { scope } = await caller.authorize(action, { thread_id: threadId });
      return allThreads.within(scope);
    }

    async function require(threadId: string): Promise<ThreadWithValues> {
      return requireIn(await threadsFor("threads:read", threadId), threadId);
    }

    async function found(filter: ThreadFilter, limits: { readonly limit?: number; readonly offset?: number } = {}) {
      const { ids, metadata, values, status } = filter;
      const { scope } = await caller.authorize("threads:search", { ids, metadata, values, status, ...limits });
      return allThreads.within(scope);
    }

    return {
      require,

      async create(draft) {
        const threadId = draft.threadId ?? newId();
        const graphId = draft.metadata.graph_id;
        if (draft.supersteps.length > 0 && typeof graphId !== "string") {
          throw badRequest("supersteps need metadata.graph_id: the graph that the imported state belongs to");
        }
        const { scope, value } = await caller.authorize("threads:create", {
          thread_id: threadId,
          metadata: draft.metadata,
          if_exists: draft.ifExists,
        });
        const created = await allThreads.create({ threadId, metadata: value.metadata, ttl: draft.ttl ?? defaultTtl });
        if (created === undefined) {
          const existing = draft.ifExists === "raise" ? undefined : await allThreads.within(scope).get(threadId);
          if (existing === undefined) throw conflict(`thread ${threadId} exists already`);
          return existing;
        }
        if (draft.supersteps.length === 0) return { ...created, valuesJson: null };
        try {
          await state.update(threadId, { checkpoint: null, supersteps: draft.supersteps });
        } catch (error) {
          await removeIn(allThreads, threadId); // an import that failed leaves nothing behind
          throw error;
        }
        return requireIn(allThreads, threadId);
      },

      async patch(threadId, change) {
        const { scope, value } = await caller.authorize("threads:update", {
          thread_id: threadId,
          metadata: change.metadata,
        });
        const threads = allThreads.within(scope);
        const asked = value.metadata === undefined ? change : { ...change, metadata: value.metadata };
        if ((await threads.patch(threadId, asked)) === undefined) throw notFound("thread", threadId);
        return requireIn(threads, threadId);
      },

      async search(filter, page, options) {
        return (await found(filter, { limit: page.limit, offset: page.offset })).search(filter, page, options);
      },

      async searchAfter(filter, page, options) {
        return (await found(filter, { limit: page.limit, offset: 0 })).searchAfter(filter, page, options);
      },

      async count(filter) {
        return (await found(filter)).count(filter);
      },

      async listIds(filter, limit) {
        return (await found(filter, { limit })).listIds(filter, limit);
      },

      async remove(threadId) {
        await removeIn(await threadsFor("threads:delete", threadId), threadId);
      },

      async copy(sourceId) {
        const threadId = newId();
        const copied = (async () => {
          const { metadata } = await require(sourceId);
          const { value } = await caller.authorize("threads:create", { thread_id: threadId, metadata });
          return whileReserved(sourceId, async (owner) =>
            copyTo(threadId, await requireIn(allThreads, sourceId), { metadata: value.metadata, sourceOwner: owner }),
          );
        })();
        return copied.catch((error: unknown) => {
          // The Platform answers 409 for a source that does not exist.
          throw error instanceof GatewayError && error.code === "not_found" ? conflict(error.message) : error;
        });
      },

      async prune(threadIds, strategy) {
        const action = strategy === "delete" ? "threads:delete" : "threads:update";
        let pruned = 0;
        for (const threadId of new Set(threadIds)) {
          try {
            if (await pruneIn(await threadsFor(action, threadId), threadId, strategy)) pruned++;
          } catch (error) {
            if (!(error instanceof GatewayError)) throw error; // missing, busy, or not the caller's to prune
          }
        }
        return pruned;
      },

      async sizes(threadId) {
        const graphId = ownSaverOf(await require(threadId));
        if (graphId !== undefined) {
          throw notImplemented(`graph ${JSON.stringify(graphId)} keeps its state in a checkpointer of its own`);
        }
        return checkpoints.sizesOf(threadId);
      },
    };
  }
}

function notToCopy(): GatewayError {
  return unsupported("copy", "the graph of this thread keeps its state in a checkpointer of its own");
}
