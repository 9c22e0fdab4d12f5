/** Runs on threads (R1–R9), and the stop button of the design card. */
import { z } from "zod";
import { RUN_STATUSES } from "../core/model.js";
import { RUN_SELECT } from "../storage/ports/runs.js";
import { queryBoolean, queryList, queryString } from "./query.js";
import { paginationHeaders, pick, renderRun } from "./render.js";
import { json, noContent, type Route, route } from "./route.js";
import { createRunHandlers, EVENT_STREAM, FINAL_STATE, joinQuery, type RunRoutesDeps } from "./run-handlers.js";
import { cancelAction, id, pageOf, queryLimit, queryOffset, run, runCreate } from "./schemas.js";

const threadParams = z.object({ thread_id: id });
const runParams = z.object({ thread_id: id, run_id: id });

export interface ThreadRunRoutesDeps extends RunRoutesDeps {
  /** Bytes that the rows of one page may take. */
  readonly pageLimit: number;
}

export function runRoutes(deps: ThreadRunRoutesDeps): Route[] {
  const { manager } = deps;
  const handlers = createRunHandlers(deps);

  return [
    route({
      method: "post",
      path: "/threads/{thread_id}/runs",
      summary: "Create a run in the background",
      tag: "runs",
      params: threadParams,
      body: runCreate,
      responses: { 200: run },
      handle: (request) => handlers.create(request.params.thread_id, request),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/runs",
      summary: "List a thread's runs, newest first",
      tag: "runs",
      params: threadParams,
      query: z.object({
        limit: queryLimit,
        offset: queryOffset,
        status: queryString().pipe(z.enum(RUN_STATUSES).optional()),
        select: queryList(z.enum(RUN_SELECT)),
      }),
      responses: { 200: pageOf(run) },
      async handle({ params, query, caller }) {
        const withPayload = query.select === undefined || query.select.includes("kwargs");
        const page = await manager
          .as(caller)
          .list(params.thread_id, { ...query, withPayload, maxBytes: deps.pageLimit });
        const rows = page.rows.map((row) => pick(renderRun(row), query.select));
        return json(rows, { headers: paginationHeaders(query, page) });
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/stream",
      summary: "Create a run and stream its events",
      tag: "runs",
      params: threadParams,
      body: runCreate,
      responses: { 200: EVENT_STREAM },
      handle: (request) => handlers.stream(request.params.thread_id, request),
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/wait",
      summary: "Create a run and wait for its final state",
      tag: "runs",
      params: threadParams,
      body: runCreate,
      responses: { 200: FINAL_STATE },
      handle: (request) => handlers.wait(request.params.thread_id, request),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/runs/{run_id}",
      summary: "Get a run",
      tag: "runs",
      params: runParams,
      responses: { 200: run },
      handle: async ({ params, caller }) =>
        json(renderRun(await manager.as(caller).get(params.thread_id, params.run_id))),
    }),
    route({
      method: "delete",
      path: "/threads/{thread_id}/runs/{run_id}",
      summary: "Delete a run that has ended",
      tag: "runs",
      params: runParams,
      responses: { 204: "deleted" },
      async handle({ params, caller }) {
        await manager.as(caller).remove(params.thread_id, params.run_id);
        return noContent();
      },
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/runs/{run_id}/join",
      summary: "Wait for a run's final state",
      tag: "runs",
      params: runParams,
      query: joinQuery,
      responses: { 200: FINAL_STATE },
      handle: (request) => handlers.join(request.params.thread_id, request),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/runs/{run_id}/stream",
      summary: "Stream a run's events, from the start or after Last-Event-ID",
      tag: "runs",
      params: runParams,
      query: joinQuery,
      responses: { 200: EVENT_STREAM },
      handle: (request) => handlers.joinStream(request.params.thread_id, request),
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/{run_id}/stream",
      summary: "Stop a run and stream what is left of it; without an action only stream it",
      tag: "runs",
      params: runParams,
      query: joinQuery.extend({
        action: queryString().pipe(cancelAction.optional()),
        wait: queryBoolean(false),
      }),
      responses: { 200: EVENT_STREAM, 204: "with wait=1: the run has stopped" },
      async handle(request) {
        const { params, query } = request;
        if (query.action === undefined) return handlers.joinStream(params.thread_id, request);
        if (!query.wait) return handlers.cancelAndStream(params.thread_id, request, query.action);
        await handlers.cancelAndWait(params, request, query.action);
        return noContent();
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/{run_id}/cancel",
      summary: "Cancel a run: interrupt keeps what it did, rollback takes it back",
      tag: "runs",
      params: runParams,
      query: z.object({
        wait: queryBoolean(false),
        action: queryString().pipe(cancelAction.default("interrupt")),
      }),
      responses: { 202: "requested", 204: "with wait=1: the run has stopped" },
      async handle({ params, query, signal, caller }) {
        if (query.wait) await handlers.cancelAndWait(params, { signal, caller }, query.action);
        else await manager.as(caller).cancel(params.thread_id, params.run_id, query.action);
        return noContent(query.wait ? 204 : 202);
      },
    }),
  ];
}
