/** A thread's state: read it, walk its history, write to it (T9–T15). */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { invalid, unsupported } from "../core/errors.js";
import type { CheckpointPointer, ThreadState } from "../core/model.js";
import type { HistoryPage, StateUpdate } from "../graphs/host.js";
import type { RunManager } from "../runs/manager.js";
import type { ThreadStateService } from "../threads/state.js";
import type { ThreadService } from "../threads/threads.js";
import { queryBoolean, queryInteger, queryList, queryString } from "./query.js";
import { renderState, threadJson } from "./render.js";
import { json, type ResponseDescription, type Route, rawJson, route, stateJson } from "./route.js";
import {
  checkpointPointer,
  command,
  graphValue,
  id,
  jsonObject,
  label,
  limit,
  metadataObject,
  optional,
  smallObject,
  thread,
  threadState,
} from "./schemas.js";

export interface StateRoutesDeps {
  readonly threads: PerCaller<ThreadService>;
  readonly state: PerCaller<ThreadStateService>;
  readonly manager: PerCaller<Pick<RunManager, "active">>;
  readonly clock: Clock;
  /** Bytes that the states of one page may take. */
  readonly pageLimit: number;
}

const threadParams = z.object({ thread_id: id });

/** What one node writes. */
export const stateUpdate = z.object({
  values: graphValue.optional(),
  command: command.nullish(),
  as_node: label.nullish(),
});

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

const historyPage: ResponseDescription = {
  description: "Newest first; fewer than `limit` where there are no more, or where the page is full",
  schema: z.array(threadState),
  headers: { "x-pagination-next": "Where the page is full: the `before` of the next one" },
};

export function stateRoutes({ threads, state, manager, clock, pageLimit: maxBytes }: StateRoutesDeps): Route[] {
  async function isUnderWay(caller: Caller, threadId: string): Promise<boolean> {
    const run = await manager.as(caller).active(threadId);
    return run !== undefined && (run.status === "running" || run.runAfter <= clock.now());
  }

  return [
    route({
      method: "get",
      path: "/threads/{thread_id}/state",
      summary: "Get a thread's state",
      tag: "state",
      params: threadParams,
      query: z.object({ subgraphs: queryBoolean(false), select: queryList(z.string()) }),
      responses: { 200: threadState },
      async handle({ params, query, caller }) {
        if (query.select !== undefined) throw unsupported("select", "the whole state is answered");
        // Asked first: what ends in between is said to go on, never the other way round.
        const isBusy = await isUnderWay(caller, params.thread_id);
        const head = await state.as(caller).get(params.thread_id, null, query);
        return stateJson(renderState(isBusy ? goingOn(head) : head));
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/state",
      summary: "Write to a thread's state, as a node would",
      tag: "state",
      params: threadParams,
      body: stateUpdate.extend({
        checkpoint: optional(checkpointPointer, null),
        checkpoint_id: optional(id, null),
      }),
      responses: { 200: z.object({ checkpoint: jsonObject }) },
      async handle({ params, body, caller }) {
        const checkpoint = body.checkpoint ?? pointerTo(body.checkpoint_id);
        const written = await state
          .as(caller)
          .update(params.thread_id, { checkpoint, supersteps: [[toStateUpdate(body)]] });
        return json({ checkpoint: written, configurable: written, checkpoint_id: written.checkpoint_id });
      },
    }),
    route({
      method: "patch",
      path: "/threads/{thread_id}/state",
      summary: "Merge metadata into a thread (the older spelling of PATCH /threads/{thread_id})",
      tag: "state",
      params: threadParams,
      body: z.object({ metadata: metadataObject }),
      responses: { 200: thread },
      handle: async ({ params, body, caller }) =>
        rawJson(threadJson(await threads.as(caller).patch(params.thread_id, body))),
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/state/{checkpoint_id}",
      summary: "Get a thread's state at a checkpoint",
      tag: "state",
      params: z.object({ thread_id: id, checkpoint_id: id }),
      query: z.object({ subgraphs: queryBoolean(false) }),
      responses: { 200: threadState },
      async handle({ params, query, caller }) {
        return stateJson(
          renderState(await state.as(caller).get(params.thread_id, pointerTo(params.checkpoint_id), query)),
        );
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
      async handle({ params, body, caller }) {
        return stateJson(renderState(await state.as(caller).get(params.thread_id, body.checkpoint, body)));
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
      responses: { 200: historyPage },
      async handle({ caller, params, query: { limit, before = null } }) {
        return renderHistory(
          await state.as(caller).history(params.thread_id, null, { limit, before, metadata: {}, maxBytes }),
        );
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
        metadata: optional(smallObject, {}),
        checkpoint: optional(checkpointPointer, null),
      }),
      responses: { 200: historyPage },
      async handle({ caller, params, body: { checkpoint, ...query } }) {
        return renderHistory(await state.as(caller).history(params.thread_id, checkpoint, { ...query, maxBytes }));
      },
    }),
  ];
}

/** A hook shows the newest states of a thread, so a page that is full ends early instead of being refused. */
function renderHistory({ states, next }: HistoryPage): Response {
  return stateJson(states.map(renderState), { headers: next === null ? {} : { "x-pagination-next": next } });
}

/**
 * Between the end of a task and the next checkpoint, and before the first one, LangGraph names nothing that is next. Clients
 * take a thread for idle then, and do not follow the run that executes.
 */
function goingOn(head: ThreadState): ThreadState {
  if (head.next.length > 0) return head;
  const names = [...new Set(head.tasks.map(({ name }) => name))];
  return { ...head, next: names.length > 0 ? names : [START] };
}

const START = "__start__";

function pointerTo(checkpointId: string | null): CheckpointPointer | null {
  return checkpointId === null ? null : { checkpointNs: "", checkpointId };
}

/** Throws `validation` for values and a command at once. */
export function toStateUpdate({ values, command: sent, as_node }: z.output<typeof stateUpdate>): StateUpdate {
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
