/** Threads: create, open, change, copy, prune, delete (T1, T4–T8). */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import type { RunManager } from "../runs/manager.js";
import type { ThreadWithValues } from "../storage/ports/threads.js";
import type { ThreadStateService } from "../threads/state.js";
import type { ThreadService } from "../threads/threads.js";
import { queryList } from "./query.js";
import { renderRun, renderState, renderStorage, renderTtl, threadJson } from "./render.js";
import { json, noContent, type Route, rawJson, route } from "./route.js";
import { id, metadataObject, optional, thread, threadStorage, ttl } from "./schemas.js";
import { stateUpdate, toStateUpdate } from "./thread-state.js";

export interface ThreadRoutesDeps {
  readonly threads: PerCaller<ThreadService>;
  readonly state: PerCaller<ThreadStateService>;
  readonly manager: PerCaller<RunManager>;
}

const threadParams = z.object({ thread_id: id });

const THREAD_INCLUDES = ["ttl", "state", "active_run", "pending_interrupts"] as const;

export function threadRoutes({ threads, state, manager }: ThreadRoutesDeps): Route[] {
  /** What else a client wants to know when it opens a thread, in one call. */
  async function included(
    caller: Caller,
    found: ThreadWithValues,
    include: readonly string[],
  ): Promise<Record<string, unknown>> {
    const extra: Record<string, unknown> = {};
    if (include.includes("ttl")) extra.ttl = renderTtl(found);
    if (include.includes("state")) {
      extra.state = renderState(await state.as(caller).get(found.threadId, null, { subgraphs: false }));
    }
    if (include.includes("active_run")) {
      const active = await manager.as(caller).active(found.threadId);
      extra.active_run = active === undefined ? null : renderRun(active);
    }
    if (include.includes("pending_interrupts")) extra.pending_interrupts = Object.values(found.interrupts).flat();
    return extra;
  }

  return [
    route({
      method: "post",
      path: "/threads",
      summary: "Create a thread",
      tag: "threads",
      body: z.object({
        thread_id: id.nullish(),
        metadata: optional(metadataObject, {}),
        if_exists: optional(z.enum(["raise", "do_nothing"]), "raise" as const),
        ttl: optional(ttl, null),
        supersteps: optional(z.array(z.object({ updates: z.array(stateUpdate).min(1).max(1_000) })).max(1_000), []),
      }),
      responses: { 200: thread },
      async handle({ body, caller }) {
        const created = await threads.as(caller).create({
          threadId: body.thread_id ?? undefined,
          metadata: body.metadata,
          ifExists: body.if_exists,
          ttl: body.ttl,
          supersteps: body.supersteps.map(({ updates }) => updates.map(toStateUpdate)),
        });
        return rawJson(threadJson(created));
      },
    }),
    route({
      method: "post",
      path: "/threads/prune",
      summary: "Delete threads, or all but their latest state",
      tag: "threads",
      body: z.object({
        thread_ids: z.array(id).max(1_000),
        strategy: optional(z.enum(["delete", "keep_latest"]), "delete" as const),
      }),
      responses: { 200: z.object({ pruned_count: z.number().int() }) },
      handle: async ({ body, caller }) =>
        json({ pruned_count: await threads.as(caller).prune(body.thread_ids, body.strategy) }),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}",
      summary: "Get a thread; `include` adds its ttl, state, active run and pending interrupts",
      tag: "threads",
      params: threadParams,
      query: z.object({ include: queryList(z.enum(THREAD_INCLUDES)) }),
      responses: { 200: thread },
      async handle({ params, query, caller }) {
        const found = await threads.as(caller).require(params.thread_id);
        return rawJson(threadJson(found, { extra: await included(caller, found, query.include ?? []) }));
      },
    }),
    route({
      method: "patch",
      path: "/threads/{thread_id}",
      summary: "Merge metadata into a thread, or change its ttl",
      tag: "threads",
      params: threadParams,
      body: z.object({ metadata: metadataObject.nullish(), ttl: ttl.nullish() }),
      responses: { 200: thread, 204: "with `Prefer: return=minimal`" },
      async handle({ params, body, headers, caller }) {
        const patched = await threads.as(caller).patch(params.thread_id, {
          ...(body.metadata ? { metadata: body.metadata } : {}),
          ...(body.ttl ? { ttl: body.ttl } : {}),
        });
        return prefersMinimal(headers) ? noContent() : rawJson(threadJson(patched));
      },
    }),
    route({
      method: "delete",
      path: "/threads/{thread_id}",
      summary: "Stop a thread's runs and delete it with everything that belongs to it",
      tag: "threads",
      params: threadParams,
      responses: { 204: "deleted" },
      async handle({ params, caller }) {
        await threads.as(caller).remove(params.thread_id);
        return noContent();
      },
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/storage",
      summary: "What a thread's state takes in the database, by channel",
      tag: "threads",
      params: threadParams,
      responses: { 200: threadStorage, 501: "its graph keeps its state in a checkpointer of its own" },
      async handle({ params, caller }) {
        const sizes = await threads.as(caller).sizes(params.thread_id);
        return json(renderStorage(params.thread_id, sizes));
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/copy",
      summary: "Copy a thread with its history",
      tag: "threads",
      params: threadParams,
      responses: { 200: thread },
      handle: async ({ params, caller }) => rawJson(threadJson(await threads.as(caller).copy(params.thread_id))),
    }),
  ];
}

/** RFC 7240: preferences are a list, in any case. */
function prefersMinimal(headers: Headers): boolean {
  const preferences = headers.get("prefer")?.toLowerCase().split(",") ?? [];
  return preferences.some((preference) => preference.trim() === "return=minimal");
}
