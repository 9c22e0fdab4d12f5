/** Runs without a thread of the client's (S1–S6): each gets one of its own, which goes with it unless it is kept. */
import { z } from "zod";
import { GatewayError, invalid } from "../core/errors.js";
import type { CancelSelection } from "../runs/manager.js";
import { queryString } from "./query.js";
import { renderRun } from "./render.js";
import { json, noContent, type Route, route } from "./route.js";
import { createRunHandlers, EVENT_STREAM, FINAL_STATE, joinQuery, type RunRoutesDeps } from "./run-handlers.js";
import { toBatch } from "./run-request.js";
import { cancelAction, id, run, runCreate, withSnakeCase } from "./schemas.js";

const runParams = z.object({ run_id: id });

export function statelessRunRoutes(deps: RunRoutesDeps): Route[] {
  const { manager, headerRules } = deps;
  const handlers = createRunHandlers(deps);

  return [
    route({
      method: "post",
      path: "/runs",
      summary: "Create a run on a thread of its own",
      tag: "stateless runs",
      body: runCreate,
      responses: { 200: run },
      handle: (request) => handlers.create(null, request),
    }),
    route({
      method: "post",
      path: "/runs/stream",
      summary: "Create a run on a thread of its own and stream its events",
      tag: "stateless runs",
      body: runCreate,
      responses: { 200: EVENT_STREAM },
      handle: (request) => handlers.stream(null, request),
    }),
    route({
      method: "post",
      path: "/runs/wait",
      summary: "Create a run on a thread of its own and wait for its final state",
      tag: "stateless runs",
      body: runCreate,
      responses: { 200: FINAL_STATE },
      handle: (request) => handlers.wait(null, request),
    }),
    route({
      method: "post",
      path: "/runs/batch",
      summary: "Create several runs, each on a thread of its own",
      tag: "stateless runs",
      body: z.array(z.preprocess(withSnakeCase, runCreate)).min(1).max(100),
      responses: { 200: z.array(run) },
      async handle({ body, headers, caller }) {
        const created = await manager.as(caller).createBatch(toBatch(body, headers, headerRules));
        return json(created.map(renderRun));
      },
    }),
    route({
      method: "post",
      path: "/runs/cancel",
      summary: "Cancel the runs in flight that match: by thread, by their ids on one, by status",
      tag: "stateless runs",
      query: z.object({ action: queryString().pipe(cancelAction.default("interrupt")) }),
      body: z.object({
        status: z.enum(["pending", "running", "all"]).nullish(),
        thread_id: id.nullish(),
        run_ids: z.array(id).max(1_000).nullish(),
      }),
      responses: { 204: "cancelled" },
      async handle({ query, body, caller }) {
        const cancelled = await manager.as(caller).cancelMany(selectionOf(body), query.action);
        if (cancelled === 0) throw new GatewayError("not_found", "no run in flight matches");
        return noContent();
      },
    }),
    route({
      method: "get",
      path: "/runs/{run_id}/stream",
      summary: "Stream the events of a run that was created without a thread",
      tag: "stateless runs",
      params: runParams,
      query: joinQuery,
      responses: { 200: EVENT_STREAM },
      handle: (request) => handlers.joinStream(null, request),
    }),
    route({
      method: "get",
      path: "/runs/{run_id}/join",
      summary: "Wait for the final state of a run that was created without a thread",
      tag: "stateless runs",
      params: runParams,
      query: joinQuery,
      responses: { 200: FINAL_STATE },
      handle: (request) => handlers.join(null, request),
    }),
  ];
}

interface CancelBody {
  readonly status?: "pending" | "running" | "all" | null | undefined;
  readonly thread_id?: string | null | undefined;
  readonly run_ids?: readonly string[] | null | undefined;
}

/** What is given narrows the selection; nothing at all would select everything, which a client must ask for by name. */
function selectionOf({ status, thread_id: threadId, run_ids: runIds }: CancelBody): CancelSelection {
  if (runIds && !threadId) throw invalid("run_ids: give their thread_id as well");
  if (!status && !threadId) throw invalid('give thread_id, thread_id and run_ids, or status ("all" for every run)');
  return {
    threadId: threadId ?? undefined,
    runIds: runIds ?? undefined,
    status: status === "all" ? undefined : (status ?? undefined),
  };
}
