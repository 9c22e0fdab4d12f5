/** Crons (C1–C7): schedules by which runs are created. */
import { z } from "zod";
import type { PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import type { CronService } from "../crons/crons.js";
import { CRON_SORT_COLUMNS, type CronFilter } from "../storage/ports/crons.js";
import { CRON_SELECT, cron, cronCreate, cronPatch, renderCron, toChange, toDraft } from "./cron-wire.js";
import { iso, paginationHeaders, pick } from "./render.js";
import { json, type Route, route } from "./route.js";
import { assistantIdOrGraphId, id, limit, offset, optional, pageOf, smallObject, sortOrder } from "./schemas.js";

export interface CronRoutesDeps {
  readonly crons: PerCaller<CronService>;
  readonly clock: Clock;
  /** Bytes that the rows of one page may take. */
  readonly pageLimit: number;
}

const params = z.object({ cron_id: id });

const filter = {
  assistant_id: assistantIdOrGraphId.nullish(),
  thread_id: id.nullish(),
  enabled: z.boolean().nullish(),
  metadata: smallObject.nullish(),
};

export function cronRoutes({ crons, clock, pageLimit }: CronRoutesDeps): Route[] {
  return [
    route({
      method: "post",
      path: "/runs/crons",
      summary: "Create a cron whose runs each get a thread of their own",
      tag: "crons",
      body: cronCreate,
      responses: { 200: cron },
      handle: async ({ body, caller }) => json(renderCron(await crons.as(caller).create(toDraft(null, body)))),
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/crons",
      summary: "Create a cron whose runs continue a thread",
      tag: "crons",
      params: z.object({ thread_id: id }),
      body: cronCreate,
      responses: { 200: cron },
      handle: async (request) =>
        json(renderCron(await crons.as(request.caller).create(toDraft(request.params.thread_id, request.body)))),
    }),
    route({
      method: "post",
      path: "/runs/crons/search",
      summary: "Find crons",
      tag: "crons",
      body: z.object({
        ...filter,
        limit: limit(10),
        offset,
        sort_by: optional(z.enum(CRON_SORT_COLUMNS), "created_at" as const),
        sort_order: sortOrder,
        select: z
          .array(z.enum([...CRON_SELECT, "now"]))
          .max(100)
          .nullish(),
      }),
      responses: { 200: pageOf(cron) },
      async handle({ body, caller }) {
        const page = await crons.as(caller).search(filterOf(body), {
          limit: body.limit,
          offset: body.offset,
          sortBy: body.sort_by,
          sortOrder: body.sort_order,
          maxBytes: pageLimit,
        });
        const now = body.select?.includes("now") ? { now: iso(clock.now()) } : {};
        const rows = page.rows.map((row) => pick({ ...renderCron(row), ...now }, body.select ?? undefined));
        return json(rows, { headers: paginationHeaders(body, page) });
      },
    }),
    route({
      method: "post",
      path: "/runs/crons/count",
      summary: "Count crons",
      tag: "crons",
      body: z.object(filter),
      responses: { 200: z.number().int() },
      handle: async ({ body, caller }) => json(await crons.as(caller).count(filterOf(body))),
    }),
    route({
      method: "get",
      path: "/runs/crons/{cron_id}",
      summary: "Get a cron",
      tag: "crons",
      params,
      responses: { 200: cron },
      handle: async (request) => json(renderCron(await crons.as(request.caller).require(request.params.cron_id))),
    }),
    route({
      method: "patch",
      path: "/runs/crons/{cron_id}",
      summary: "Change a cron: what is absent stays, metadata is merged, null takes a setting back",
      tag: "crons",
      params,
      body: cronPatch,
      responses: { 200: cron },
      handle: async (request) =>
        json(renderCron(await crons.as(request.caller).patch(request.params.cron_id, toChange(request.body)))),
    }),
    route({
      method: "delete",
      path: "/runs/crons/{cron_id}",
      summary: "Delete a cron; the runs that it created stay",
      tag: "crons",
      params,
      responses: { 200: z.object({}) },
      async handle(request) {
        await crons.as(request.caller).remove(request.params.cron_id);
        return json({});
      },
    }),
  ];
}

function filterOf(body: z.output<z.ZodObject<typeof filter>>): CronFilter {
  return {
    assistantId: body.assistant_id ?? undefined,
    threadId: body.thread_id ?? undefined,
    enabled: body.enabled ?? undefined,
    metadata: body.metadata ?? undefined,
  };
}
