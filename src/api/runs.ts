/** Runs on threads (R1–R9), without one (S1–S6), and the stop button of the design card. */
import { z } from "zod";
import { GatewayError, invalid, unsupported } from "../core/errors.js";
import { type CancelAction, RUN_STATUSES, type Run, STREAM_MODES } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";
import { RUN_SELECT } from "../storage/storage.js";
import { parseCursor } from "./cursor.js";
import { queryBoolean, queryList, queryString } from "./query.js";
import { paginationHeaders, pick, renderRun } from "./render.js";
import { json, noContent, type Route, type RouteRequest, route } from "./route.js";
import { type HeaderRules, refuseCheckpoint, toRunRequest } from "./run-request.js";
import type { RunAnswers } from "./run-stream.js";
import { cancelAction, id, queryLimit, queryOffset, type RunCreate, run, runCreate, withSnakeCase } from "./schemas.js";

export interface RunRoutesDeps {
  readonly manager: RunManager;
  readonly answers: RunAnswers;
  readonly headerRules: HeaderRules;
}

const threadParams = z.object({ thread_id: id });
const runParams = z.object({ thread_id: id, run_id: id });
const statelessParams = z.object({ run_id: id });

const joinQuery = z.object({
  stream_mode: queryList(z.enum(STREAM_MODES)),
  cancel_on_disconnect: queryBoolean(false),
  namespace: queryString(),
  checkpoint_id: queryString(),
});

const EVENT_STREAM = "text/event-stream: metadata, the events of the stream modes, then end or error";

export function runRoutes({ manager, answers, headerRules }: RunRoutesDeps): Route[] {
  const create = (threadId: string | null, body: RunCreate, headers: Headers): Promise<Run> => {
    const request = toRunRequest(body, headers, headerRules);
    if (threadId === null) refuseCheckpoint(request);
    return manager.create(threadId, request);
  };

  type JoinRequest = RouteRequest<{ thread_id?: string; run_id: string }, z.output<typeof joinQuery>, unknown>;

  /** A run's events, also those of a stateless run that is over and gone. */
  async function joinStream(request: JoinRequest, fallback: "start" | "now"): Promise<Response> {
    const { thread_id: threadId = null, run_id: runId } = request.params;
    refuseLaterQueries(request.query);
    const path = runPath(threadId, runId);
    const lastEventId = request.headers.get("last-event-id");
    const modes = request.query.stream_mode;
    try {
      const found = await manager.get(threadId, runId);
      const cursor =
        lastEventId === null && fallback === "now" ? { from: "now" as const } : parseCursor(lastEventId, found.fence);
      const cancelOnDisconnect = request.query.cancel_on_disconnect;
      return answers.stream({ run: found, path, cursor, modes, cancelOnDisconnect }, request);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const cursor = parseCursor(lastEventId, 1);
      const retained = answers.streamFinished(runId, { path, cursor, modes }, request);
      if (retained === undefined) throw error;
      return retained;
    }
  }

  async function join(request: JoinRequest): Promise<Response> {
    const { thread_id: threadId = null, run_id: runId } = request.params;
    const found = await manager.get(threadId, runId);
    const cancelOnDisconnect = request.query.cancel_on_disconnect;
    return answers.wait({ run: found, path: runPath(threadId, runId), cancelOnDisconnect }, request);
  }

  async function streamNew(
    threadId: string | null,
    request: RouteRequest<unknown, unknown, RunCreate>,
  ): Promise<Response> {
    const created = await create(threadId, request.body, request.headers);
    const cursor = parseCursor(request.headers.get("last-event-id"), created.fence);
    const cancelOnDisconnect = created.payload.onDisconnect === "cancel";
    return answers.stream(
      { run: created, path: runPath(threadId, created.runId), cursor, cancelOnDisconnect },
      request,
    );
  }

  async function waitNew(
    threadId: string | null,
    request: RouteRequest<unknown, unknown, RunCreate>,
  ): Promise<Response> {
    const created = await create(threadId, request.body, request.headers);
    const cancelOnDisconnect = created.payload.onDisconnect === "cancel";
    return answers.wait({ run: created, path: runPath(threadId, created.runId), cancelOnDisconnect }, request);
  }

  async function cancel(
    threadId: string,
    runId: string,
    action: CancelAction,
    signal: AbortSignal | null,
  ): Promise<void> {
    await manager.cancel(threadId, runId, action);
    if (signal !== null) await manager.ended(runId, signal);
  }

  return [
    route({
      method: "post",
      path: "/threads/{thread_id}/runs",
      summary: "Create a run in the background",
      tag: "runs",
      params: threadParams,
      body: runCreate,
      responses: { 200: run },
      async handle({ params, body, headers }) {
        const created = await create(params.thread_id, body, headers);
        return json(renderRun(created), { headers: { "content-location": runPath(params.thread_id, created.runId) } });
      },
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
      responses: { 200: z.array(run) },
      async handle({ params, query }) {
        const page = await manager.list(params.thread_id, query);
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
      handle: (request) => streamNew(request.params.thread_id, request),
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/wait",
      summary: "Create a run and wait for its final state",
      tag: "runs",
      params: threadParams,
      body: runCreate,
      responses: { 200: "the final state, after newlines that keep the connection alive" },
      handle: (request) => waitNew(request.params.thread_id, request),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/runs/{run_id}",
      summary: "Get a run",
      tag: "runs",
      params: runParams,
      responses: { 200: run },
      handle: async ({ params }) => json(renderRun(await manager.get(params.thread_id, params.run_id))),
    }),
    route({
      method: "delete",
      path: "/threads/{thread_id}/runs/{run_id}",
      summary: "Delete a run that has ended",
      tag: "runs",
      params: runParams,
      responses: { 204: "deleted" },
      async handle({ params }) {
        await manager.remove(params.thread_id, params.run_id);
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
      responses: { 200: "the final state, after newlines that keep the connection alive" },
      handle: join,
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/runs/{run_id}/stream",
      summary: "Stream a run's events, from the start or after Last-Event-ID",
      tag: "runs",
      params: runParams,
      query: joinQuery,
      responses: { 200: EVENT_STREAM },
      handle: (request) => joinStream(request, "start"),
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/runs/{run_id}/stream",
      summary: "Stop a run and stream what is left of it",
      tag: "runs",
      params: runParams,
      query: joinQuery.extend({
        action: queryString().pipe(cancelAction.optional()),
        wait: queryBoolean(false),
      }),
      responses: { 200: EVENT_STREAM, 204: "with wait=1: the run has stopped" },
      async handle(request) {
        const { params, query, signal } = request;
        if (query.action === undefined) return joinStream(request, "start");
        // The stream opens first: what the stop makes the run say must not be missed.
        const rest = query.wait ? undefined : await joinStream(request, "now");
        await cancel(params.thread_id, params.run_id, query.action, query.wait ? signal : null);
        return rest ?? noContent();
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
      async handle({ params, query, signal }) {
        await cancel(params.thread_id, params.run_id, query.action, query.wait ? signal : null);
        return noContent(query.wait ? 204 : 202);
      },
    }),

    // ---- without a thread
    route({
      method: "post",
      path: "/runs",
      summary: "Create a run on a thread of its own",
      tag: "stateless runs",
      body: runCreate,
      responses: { 200: run },
      async handle({ body, headers }) {
        const created = await create(null, body, headers);
        return json(renderRun(created), { headers: { "content-location": runPath(null, created.runId) } });
      },
    }),
    route({
      method: "post",
      path: "/runs/stream",
      summary: "Create a run on a thread of its own and stream its events",
      tag: "stateless runs",
      body: runCreate,
      responses: { 200: EVENT_STREAM },
      handle: (request) => streamNew(null, request),
    }),
    route({
      method: "post",
      path: "/runs/wait",
      summary: "Create a run on a thread of its own and wait for its final state",
      tag: "stateless runs",
      body: runCreate,
      responses: { 200: "the final state, after newlines that keep the connection alive" },
      handle: (request) => waitNew(null, request),
    }),
    route({
      method: "post",
      path: "/runs/batch",
      summary: "Create several runs, each on a thread of its own",
      tag: "stateless runs",
      body: z.array(z.preprocess(withSnakeCase, runCreate)).min(1).max(100),
      responses: { 200: z.array(run) },
      async handle({ body, headers }) {
        const created = [];
        for (const entry of body) created.push(renderRun(await create(null, entry, headers)));
        return json(created);
      },
    }),
    route({
      method: "post",
      path: "/runs/cancel",
      summary: "Cancel runs by status, or by their ids on one thread",
      tag: "stateless runs",
      query: z.object({ action: queryString().pipe(cancelAction.default("interrupt")) }),
      body: z.object({
        status: z.enum(["pending", "running", "all"]).nullish(),
        thread_id: id.nullish(),
        run_ids: z.array(id).nullish(),
      }),
      responses: { 204: "cancelled" },
      async handle({ query, body }) {
        const cancelled = await manager.cancelMany(selectionOf(body), query.action);
        if (cancelled === 0) throw new GatewayError("not_found", "no run in flight matches");
        return noContent();
      },
    }),
    route({
      method: "get",
      path: "/runs/{run_id}/stream",
      summary: "Stream the events of a run that was created without a thread",
      tag: "stateless runs",
      params: statelessParams,
      query: joinQuery,
      responses: { 200: EVENT_STREAM },
      handle: (request) => joinStream(request, "start"),
    }),
    route({
      method: "get",
      path: "/runs/{run_id}/join",
      summary: "Wait for the final state of a run that was created without a thread",
      tag: "stateless runs",
      params: statelessParams,
      query: joinQuery,
      responses: { 200: "the final state, after newlines that keep the connection alive" },
      handle: join,
    }),
  ];
}

/** Prefix-less, because clients append it to their own base URL (W1). */
function runPath(threadId: string | null, runId: string): string {
  return threadId === null ? `/runs/${runId}` : `/threads/${threadId}/runs/${runId}`;
}

function selectionOf(body: {
  status?: "pending" | "running" | "all" | null | undefined;
  thread_id?: string | null | undefined;
  run_ids?: string[] | null | undefined;
}): Parameters<RunManager["cancelMany"]>[0] {
  const byId = body.thread_id != null && body.run_ids != null;
  if (byId === (body.status != null)) throw invalid("give either status, or thread_id and run_ids");
  if (body.thread_id != null && body.run_ids != null) return { threadId: body.thread_id, runIds: body.run_ids };
  return { status: body.status ?? "all" };
}

function refuseLaterQueries(query: { namespace?: string | undefined; checkpoint_id?: string | undefined }): void {
  if (query.namespace !== undefined) throw unsupported("namespace", "filter the events' names instead");
  if (query.checkpoint_id !== undefined) throw unsupported("checkpoint_id", "start after an event with Last-Event-ID");
}

function isNotFound(error: unknown): boolean {
  return error instanceof GatewayError && error.code === "not_found";
}
