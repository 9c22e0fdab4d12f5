/** Threads and their state (T1–T15). */
import { z } from "zod";
import { invalid, unsupported } from "../core/errors.js";
import { type CheckpointPointer, THREAD_STATUSES } from "../core/model.js";
import type { StateUpdate } from "../graphs/host.js";
import type { RunManager } from "../runs/manager.js";
import { THREAD_SORT_COLUMNS, type ThreadFilter, type ThreadWithValues } from "../storage/storage.js";
import type { ThreadStateService } from "../threads/state.js";
import type { ThreadService } from "../threads/threads.js";
import { extractor } from "./extract.js";
import { queryBoolean, queryInteger, queryList, queryString } from "./query.js";
import { paginationHeaders, pick, renderRun, renderState, renderThread, renderTtl } from "./render.js";
import { json, noContent, type Route, route } from "./route.js";
import {
  anyJson,
  checkpointPointer,
  command,
  id,
  jsonObject,
  limit,
  offset,
  optional,
  sortOrder,
  thread,
  threadState,
  ttl,
} from "./schemas.js";

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

const update = z.object({
  values: anyJson.optional(),
  command: command.nullish(),
  as_node: z.string().nullish(),
});

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
        supersteps: optional(z.array(z.object({ updates: z.array(update).min(1) })).max(1_000), []),
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
        return json(renderThread(created));
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
      responses: { 200: z.array(thread) },
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
          const rendered = renderThread(row);
          const shown = pick(rendered, select);
          return extract === undefined ? shown : { ...shown, extracted: extract.apply(rendered) };
        });
        return json(rows, { headers: paginationHeaders(body, page) });
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
        return json({ ...renderThread(found), ...(await included(found, query.include ?? [])) });
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
        return prefersMinimal(headers) ? noContent() : json(renderThread(patched));
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
      handle: async ({ params }) => json(renderThread(await threads.copy(params.thread_id))),
    }),

    // ---- state
    route({
      method: "get",
      path: "/threads/{thread_id}/state",
      summary: "Get a thread's state",
      tag: "state",
      params: threadParams,
      query: z.object({ subgraphs: queryBoolean(false), select: queryList(z.string()) }),
      responses: { 200: threadState },
      async handle({ params, query }) {
        if (query.select !== undefined) throw unsupported("select", "the whole state is answered");
        return json(renderState(await state.get(params.thread_id, null, query)));
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/state",
      summary: "Write to a thread's state, as a node would",
      tag: "state",
      params: threadParams,
      body: update.extend({
        checkpoint: optional(checkpointPointer, null),
        checkpoint_id: optional(id, null),
      }),
      responses: { 200: z.object({ checkpoint: jsonObject }) },
      async handle({ params, body }) {
        const checkpoint = body.checkpoint ?? pointerTo(body.checkpoint_id);
        const written = await state.update(params.thread_id, { checkpoint, supersteps: [[toStateUpdate(body)]] });
        return json({ checkpoint: written, configurable: written, checkpoint_id: written.checkpoint_id });
      },
    }),
    route({
      method: "patch",
      path: "/threads/{thread_id}/state",
      summary: "Merge metadata into a thread (the older spelling of PATCH /threads/{thread_id})",
      tag: "state",
      params: threadParams,
      body: z.object({ metadata: jsonObject }),
      responses: { 200: thread },
      handle: async ({ params, body }) => json(renderThread(await threads.patch(params.thread_id, body))),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/state/{checkpoint_id}",
      summary: "Get a thread's state at a checkpoint",
      tag: "state",
      params: z.object({ thread_id: id, checkpoint_id: id }),
      query: z.object({ subgraphs: queryBoolean(false) }),
      responses: { 200: threadState },
      async handle({ params, query }) {
        return json(renderState(await state.get(params.thread_id, pointerTo(params.checkpoint_id), query)));
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/state/checkpoint",
      summary: "Get a thread's state at a checkpoint of any namespace",
      tag: "state",
      params: threadParams,
      body: z.object({ checkpoint: checkpointPointer, subgraphs: optional(z.boolean(), false) }),
      responses: { 200: threadState },
      async handle({ params, body }) {
        return json(renderState(await state.get(params.thread_id, body.checkpoint, body)));
      },
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/history",
      summary: "List a thread's states, newest first",
      tag: "state",
      params: threadParams,
      query: z.object({
        limit: queryInteger({ min: 1, max: 1_000, fallback: 10 }),
        before: queryString().pipe(id.optional()),
      }),
      responses: { 200: z.array(threadState) },
      async handle({ params, query }) {
        const states = await state.history(params.thread_id, null, {
          ...query,
          before: query.before ?? null,
          metadata: {},
        });
        return json(states.map(renderState));
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/history",
      summary: "List a thread's states, newest first",
      tag: "state",
      params: threadParams,
      body: z.object({
        limit: limit(10),
        before: optional(before, null),
        metadata: optional(jsonObject, {}),
        checkpoint: optional(checkpointPointer, null),
      }),
      responses: { 200: z.array(threadState) },
      async handle({ params, body }) {
        const states = await state.history(params.thread_id, body.checkpoint, body);
        return json(states.map(renderState));
      },
    }),
  ];
}

/** RFC 7240: preferences are a list, in any case. */
function prefersMinimal(headers: Headers): boolean {
  const preferences = headers.get("prefer")?.toLowerCase().split(",") ?? [];
  return preferences.some((preference) => preference.trim() === "return=minimal");
}

/** A checkpoint id, a checkpoint, or a config that holds one. */
const before = z
  .union([
    id,
    z.looseObject({ checkpoint_id: id }).transform((checkpoint) => checkpoint.checkpoint_id),
    z
      .looseObject({ configurable: z.looseObject({ checkpoint_id: id }) })
      .transform((config) => config.configurable.checkpoint_id),
  ])
  .meta({ description: "exclusive: a checkpoint id, a checkpoint or a config" });

function pointerTo(checkpointId: string | null): CheckpointPointer | null {
  return checkpointId === null ? null : { checkpointNs: "", checkpointId };
}

function toStateUpdate({ values, command: sent, as_node }: z.output<typeof update>): StateUpdate {
  if (sent && values !== undefined && values !== null) throw invalid("an update has either values or a command");
  return {
    values: values ?? null,
    ...(sent ? { command: { ...withoutNull(sent) } } : {}),
    ...(as_node ? { asNode: as_node } : {}),
  };
}

function withoutNull(sent: z.output<typeof command>): NonNullable<StateUpdate["command"]> {
  return Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== null && value !== undefined));
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
