/**
 * Finding threads: search, count (T2, T3), and a search that goes on. `filter`, `query` and `cursor` are additions to the
 * Platform's API (docs/thread-search.md); what leaves them out is answered as there.
 */
import { z } from "zod";
import type { PerCaller } from "../core/caller.js";
import { badRequest, invalid } from "../core/errors.js";
import { THREAD_STATUSES } from "../core/model.js";
import {
  THREAD_SORT_COLUMNS,
  type ThreadFilter,
  type ThreadPosition,
  type ThreadWithValues,
} from "../storage/ports/threads.js";
import { type LiveChange, type LiveSearchDeps, openLiveSearch } from "../threads/live-search.js";
import { parseThreadFilter } from "../threads/thread-filter.js";
import type { ThreadService } from "../threads/threads.js";
import type { EndlessStreams } from "./endless-stream.js";
import { extractor } from "./extract.js";
import { queryInteger, queryJson, queryList, queryString } from "./query.js";
import { paginationHeaders, renderThread, threadJson } from "./render.js";
import { json, type Route, rawJson, route } from "./route.js";
import { id, limit, offset, optional, pageOf, smallObject, sortOrder, thread } from "./schemas.js";

export interface ThreadSearchDeps extends Pick<LiveSearchDeps, "changes" | "clock"> {
  readonly threads: PerCaller<ThreadService>;
  readonly streams: EndlessStreams;
  /** Bytes that the rows of one page may take. */
  readonly pageLimit: number;
}

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

const MAX_QUERY_CHARS = 1_000;
const MAX_QUERY_WORDS = 32;

const filter = {
  metadata: smallObject.nullish(),
  values: smallObject.nullish(),
  status: z.enum(THREAD_STATUSES).nullish(),
  filter: smallObject.nullish().meta({
    description:
      "Conditions by field (`status`, `updated_at`, `metadata.team`, `values.title`, …), with `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`, `$contains`, and `$and`, `$or`, `$not` of filters",
  }),
  query: z
    .string()
    .max(MAX_QUERY_CHARS)
    .nullish()
    .meta({ description: "Words that begin words of the title or of the last messages" }),
};

const ids = z.array(id).max(1_000);

export function threadSearchRoutes(deps: ThreadSearchDeps): Route[] {
  return [search(deps), count(deps), stream(deps)];
}

function search({ threads, pageLimit }: ThreadSearchDeps): Route {
  const found = pageOf(thread);
  return route({
    method: "post",
    path: "/threads/search",
    summary: "Find threads",
    tag: "threads",
    body: z.object({
      ...filter,
      ids: ids.nullish(),
      limit: limit(10),
      offset,
      cursor: z.string().max(4_096).nullish().meta({
        description: "Instead of `offset`: empty for the first page, then the `X-Pagination-Next` of the last",
      }),
      sort_by: optional(z.enum(THREAD_SORT_COLUMNS), "updated_at" as const),
      sort_order: sortOrder,
      select: z.array(z.enum(THREAD_SELECT)).max(100).nullish(),
      extract: z.record(z.string(), z.string().max(1_024)).nullish(),
    }),
    responses: {
      200: {
        ...found,
        headers: {
          "x-pagination-total": "How many match, on all pages; not with `cursor`",
          "x-pagination-next": "The offset, or with `cursor` the cursor, of the next page; absent on the last",
        },
      },
    },
    async handle({ body, caller }) {
      const extract = body.extract ? extractor(body.extract) : undefined;
      const select = body.select ?? undefined;
      const withValues = select === undefined || select.includes("values") || extract?.needsValues === true;
      const page = {
        limit: body.limit,
        sortBy: body.sort_by,
        sortOrder: body.sort_order,
        maxBytes: pageLimit,
      };
      const answer = (rows: readonly ThreadWithValues[], headers: Record<string, string>) => {
        const shown = rows.map((row) => {
          const extra = extract === undefined ? {} : { extracted: extract.apply(renderThread(row)) };
          return threadJson(row, { select, extra });
        });
        return rawJson(`[${shown.join(",")}]`, { headers });
      };
      if (typeof body.cursor === "string") {
        if (body.offset > 0) throw invalid("offset: a cursor says where the page begins");
        const after = parsePosition(body.cursor, page);
        const { rows, next } = await threads.as(caller).searchAfter(filterOf(body), { ...page, after }, { withValues });
        return answer(rows, next === null ? {} : { "x-pagination-next": formatPosition(next, page) });
      }
      const { rows, total } = await threads
        .as(caller)
        .search(filterOf(body), { ...page, offset: body.offset }, { withValues });
      return answer(rows, paginationHeaders(body, { rows, total }));
    },
  });
}

function count({ threads }: ThreadSearchDeps): Route {
  return route({
    method: "post",
    path: "/threads/count",
    summary: "Count threads",
    tag: "threads",
    body: z.object(filter),
    responses: { 200: z.number().int() },
    handle: async ({ body, caller }) => json(await threads.as(caller).count(filterOf(body))),
  });
}

function stream({ threads, changes, clock, streams, pageLimit }: ThreadSearchDeps): Route {
  return route({
    method: "get",
    path: "/threads/search/stream",
    summary: "Find threads, and go on telling which match and which do so no more",
    tag: "threads",
    query: z.object({
      metadata: queryJson(smallObject),
      values: queryJson(smallObject),
      status: queryString().pipe(z.enum(THREAD_STATUSES).optional()),
      filter: queryJson(smallObject),
      query: queryString().pipe(z.string().max(MAX_QUERY_CHARS).optional()),
      ids: queryList(id),
      limit: queryInteger({ min: 1, max: 1_000, fallback: 10 }),
      select: queryList(z.enum(THREAD_SELECT)),
    }),
    responses: {
      200: {
        description:
          "`upsert`: a thread that matches, first the `limit` that changed last, then each that changes; `ready`: behind those; `remove`: one that was told matches no more, or is gone",
        contentType: "text/event-stream",
      },
    },
    async handle({ query, breakConnection, caller }) {
      const { select } = query;
      if ((query.ids?.length ?? 0) > 1_000) throw invalid("ids: at most 1000");
      const withValues = select === undefined || select.includes("values");
      const live = await openLiveSearch(
        { threads: threads.as(caller), changes, clock },
        { filter: filterOf(query), limit: query.limit, maxBytes: pageLimit, withValues },
      );
      const chunks = async function* (signal: AbortSignal): AsyncGenerator<Uint8Array> {
        for await (const told of live.changes(signal)) {
          yield Buffer.from(told.map((change) => frame(change, select)).join(""));
        }
      };
      return streams.open({ threadId: null, chunks }, { breakConnection });
    },
  });
}

function frame(change: LiveChange, select: readonly string[] | undefined): string {
  switch (change.kind) {
    case "upsert":
      return `event: upsert\ndata: ${threadJson(change.thread, { select })}\n\n`;
    case "remove":
      return `event: remove\ndata: ${JSON.stringify({ thread_id: change.threadId })}\n\n`;
    case "ready":
      return "event: ready\ndata: {}\n\n";
  }
}

function filterOf(asked: {
  readonly ids?: readonly string[] | null | undefined;
  readonly metadata?: ThreadFilter["metadata"] | null;
  readonly values?: ThreadFilter["values"] | null;
  readonly status?: ThreadFilter["status"] | null;
  readonly filter?: ThreadFilter["metadata"] | null;
  readonly query?: string | null | undefined;
}): ThreadFilter {
  return {
    ids: asked.ids ?? undefined,
    metadata: asked.metadata ?? undefined,
    values: asked.values ?? undefined,
    status: asked.status ?? undefined,
    where: asked.filter ? parseThreadFilter(asked.filter) : undefined,
    words: wordsOf(asked.query ?? ""),
  };
}

/** A query of no words asks for nothing. NUL and halves of surrogate pairs are in no word. */
function wordsOf(query: string): readonly string[] {
  const words = query.split(/[\s\0\p{Cs}]+/u).filter((word) => word !== "");
  if (words.length > MAX_QUERY_WORDS) throw invalid(`query: at most ${MAX_QUERY_WORDS} words`);
  return words;
}

interface Order {
  readonly sortBy: (typeof THREAD_SORT_COLUMNS)[number];
  readonly sortOrder: "asc" | "desc";
}

const order = z.enum(["asc", "desc"]);

/** Of each column with the values that it has. */
const position = z.union([
  z.tuple([z.enum(["thread_id", "status"]), order, z.string(), id]),
  z.tuple([z.enum(["created_at", "updated_at"]), order, z.int(), id]),
  z.tuple([z.literal("state_updated_at"), order, z.int().nullable(), id]),
]);

function formatPosition({ value, threadId }: ThreadPosition, { sortBy, sortOrder: direction }: Order): string {
  return Buffer.from(JSON.stringify([sortBy, direction, value, threadId])).toString("base64url");
}

/** null for the first page. A cursor of another order would miss threads. */
function parsePosition(cursor: string, asked: Order): ThreadPosition | null {
  if (cursor === "") return null;
  const parsed = position.safeParse(parseJson(Buffer.from(cursor, "base64url").toString()));
  if (!parsed.success) throw badRequest("cursor: expected what X-Pagination-Next said, or nothing for the first page");
  const [by, direction, value, threadId] = parsed.data;
  if (by !== asked.sortBy || direction !== asked.sortOrder) {
    throw badRequest(`cursor: it belongs to sort_by ${JSON.stringify(by)} and sort_order ${JSON.stringify(direction)}`);
  }
  return { value, threadId };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not what `formatPosition` made
  }
}
