/** A thread's state: read it, walk its history, write to it (T9–T15). */
import { z } from "zod";
import { invalid, unsupported } from "../core/errors.js";
import type { CheckpointPointer } from "../core/model.js";
import type { StateUpdate } from "../graphs/host.js";
import type { ThreadStateService } from "../threads/state.js";
import type { ThreadService } from "../threads/threads.js";
import { queryBoolean, queryInteger, queryList, queryString } from "./query.js";
import { renderState, threadJson } from "./render.js";
import { json, type Route, rawJson, route } from "./route.js";
import {
  anyJson,
  checkpointPointer,
  command,
  id,
  jsonObject,
  limit,
  optional,
  thread,
  threadState,
} from "./schemas.js";

export interface StateRoutesDeps {
  readonly threads: ThreadService;
  readonly state: ThreadStateService;
}

const threadParams = z.object({ thread_id: id });

/** What one node writes. */
export const stateUpdate = z.object({
  values: anyJson.optional(),
  command: command.nullish(),
  as_node: z.string().nullish(),
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

export function stateRoutes({ threads, state }: StateRoutesDeps): Route[] {
  return [
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
      body: stateUpdate.extend({
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
      handle: async ({ params, body }) => rawJson(threadJson(await threads.patch(params.thread_id, body))),
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
