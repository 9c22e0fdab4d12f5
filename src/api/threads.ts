/** Threads: create, find, open, change, copy, prune, delete (T1–T8). */
import { z } from "zod";
import { THREAD_STATUSES } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";
import { THREAD_SORT_COLUMNS, type ThreadFilter, type ThreadWithValues } from "../storage/storage.js";
import type { ThreadStateService } from "../threads/state.js";
import type { ThreadService } from "../threads/threads.js";
import { extractor } from "./extract.js";
import { queryList } from "./query.js";
import { paginationHeaders, renderRun, renderState, renderThread, renderTtl, threadJson } from "./render.js";
import { json, noContent, type Route, rawJson, route } from "./route.js";
import { id, jsonObject, limit, offset, optional, pageOf, sortOrder, thread, ttl } from "./schemas.js";
import { stateUpdate, toStateUpdate } from "./thread-state.js";

export interface ThreadRoutesDeps {
  readonly threads: ThreadService;
  readonly state: ThreadStateService;
  readonly manager: RunManager;
}

const threadParams = z.object({ thread_id: id });

const THREAD_SELECT = [
  "thread_id",
  "created_at",
  "updated_at",
  "state_updated_at",
  "metadata",
  "config",
  "context",
  "status",
  "values",
  "interrupts",
  "error",
] as const;

const THREAD_INCLUDES = ["ttl", "state", "active_run", "pending_interrupts"] as const;

const filter = {
  metadata: jsonObject.nullish(),
  values: jsonObject.nullish(),
  status: z.enum(THREAD_STATUSES).nullish(),
};

export function threadRoutes({ threads, state, manager }: ThreadRoutesDeps): Route[] {
  /** What else a client wants to know when it opens a thread, in one call. */
  async function included(found: ThreadWithValues, include: readonly string[]): Promise<Record<string, unknown>> {
    const extra: Record<string, unknown> = {};
    if (include.includes("ttl")) extra.ttl = renderTtl(found);
    if (include.includes("state")) {
      extra.state = renderState(await state.get(found.threadId, null, { subgraphs: false }));
    }
    if (include.includes("active_run")) {
      const active = await manager.active(found.threadId);
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
        metadata: optional(jsonObject, {}),
        if_exists: optional(z.enum(["raise", "do_nothing"]), "raise" as const),
        ttl: optional(ttl, null),
        supersteps: optional(z.array(z.object({ updates: z.array(stateUpdate).min(1) })).max(1_000), []),
      }),
      responses: { 200: thread },
      async handle({ body }) {
        const created = await threads.create({
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
      path: "/threads/search",
      summary: "Find threads",
      tag: "threads",
      body: z.object({
        ...filter,
        ids: z.array(id).max(1_000).nullish(),
        limit: limit(10),
        offset,
        sort_by: optional(z.enum(THREAD_SORT_COLUMNS), "updated_at" as const),
        sort_order: sortOrder,
        select: z.array(z.enum(THREAD_SELECT)).nullish(),
        extract: z.record(z.string(), z.string()).nullish(),
      }),
      responses: { 200: pageOf(thread) },
      async handle({ body }) {
        const extract = body.extract ? extractor(body.extract) : undefined;
        const select = body.select ?? undefined;
        const withValues = select === undefined || select.includes("values") || extract?.needsValues === true;
        const page = await threads.search(
          filterOf(body),
          { limit: body.limit, offset: body.offset, sortBy: body.sort_by, sortOrder: body.sort_order },
          { withValues },
        );
        const rows = page.rows.map((row) => {
          const extra = extract === undefined ? {} : { extracted: extract.apply(renderThread(row)) };
          return threadJson(row, { select, extra });
        });
        return rawJson(`[${rows.join(",")}]`, { headers: paginationHeaders(body, page) });
      },
    }),
    route({
      method: "post",
      path: "/threads/count",
      summary: "Count threads",
      tag: "threads",
      body: z.object(filter),
      responses: { 200: z.number().int() },
      handle: async ({ body }) => json(await threads.count(filterOf(body))),
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
      handle: async ({ body }) => json({ pruned_count: await threads.prune(body.thread_ids, body.strategy) }),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}",
      summary: "Get a thread; `include` adds its ttl, state, active run and pending interrupts",
      tag: "threads",
      params: threadParams,
      query: z.object({ include: queryList(z.enum(THREAD_INCLUDES)) }),
      responses: { 200: thread },
      async handle({ params, query }) {
        const found = await threads.require(params.thread_id);
        return rawJson(threadJson(found, { extra: await included(found, query.include ?? []) }));
      },
    }),
    route({
      method: "patch",
      path: "/threads/{thread_id}",
      summary: "Merge metadata into a thread, or change its ttl",
      tag: "threads",
      params: threadParams,
      body: z.object({ metadata: jsonObject.nullish(), ttl: ttl.nullish() }),
      responses: { 200: thread, 204: "with `Prefer: return=minimal`" },
      async handle({ params, body, headers }) {
        const patched = await threads.patch(params.thread_id, {
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
      async handle({ params }) {
        await threads.remove(params.thread_id);
        return noContent();
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/copy",
      summary: "Copy a thread with its history",
      tag: "threads",
      params: threadParams,
      responses: { 200: thread },
      handle: async ({ params }) => rawJson(threadJson(await threads.copy(params.thread_id))),
    }),
  ];
}

/** RFC 7240: preferences are a list, in any case. */
function prefersMinimal(headers: Headers): boolean {
  const preferences = headers.get("prefer")?.toLowerCase().split(",") ?? [];
  return preferences.some((preference) => preference.trim() === "return=minimal");
}

function filterOf(body: {
  ids?: string[] | null | undefined;
  metadata?: ThreadFilter["metadata"] | null;
  values?: ThreadFilter["values"] | null;
  status?: ThreadFilter["status"] | null;
}): ThreadFilter {
  return {
    ids: body.ids ?? undefined,
    metadata: body.metadata ?? undefined,
    values: body.values ?? undefined,
    status: body.status ?? undefined,
  };
}
