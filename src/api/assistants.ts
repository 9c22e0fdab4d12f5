/** Assistants and what their graphs look like (A1–A12). */
import { z } from "zod";
import { ANYONE, type PerCaller } from "../core/caller.js";
import { GatewayError, invalid } from "../core/errors.js";
import type { RunConfig } from "../core/model.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { GraphHost } from "../graphs/host.js";
import type { RunManager } from "../runs/manager.js";
import { ASSISTANT_SORT_COLUMNS, type AssistantFilter } from "../storage/ports/assistants.js";
import type { ThreadService } from "../threads/threads.js";
import { queryBoolean, queryString } from "./query.js";
import { paginationHeaders, pick, renderAssistant, renderAssistantVersion } from "./render.js";
import { json, noContent, type Route, type RouteRequest, route } from "./route.js";
import {
  assistant,
  assistantIdOrGraphId,
  assistantVersion,
  id,
  jsonObject,
  limit,
  metadataObject,
  offset,
  optional,
  pageOf,
  runConfig,
  smallObject,
  sortOrder,
} from "./schemas.js";

export interface AssistantRoutesDeps {
  readonly assistants: PerCaller<AssistantService>;
  readonly host: GraphHost;
  readonly threads: PerCaller<ThreadService>;
  readonly manager: PerCaller<RunManager>;
  /** Bytes that the rows of one page may take. */
  readonly pageLimit: number;
}

const params = z.object({ assistant_id: assistantIdOrGraphId });

const ASSISTANT_SELECT = [
  "assistant_id",
  "graph_id",
  "name",
  "description",
  "config",
  "context",
  "created_at",
  "updated_at",
  "metadata",
  "version",
] as const;

const settings = {
  config: runConfig.nullish(),
  context: jsonObject.nullish(),
  metadata: metadataObject.nullish(),
  name: z.string().min(1).max(512).nullish(),
  description: z.string().max(65_536).nullish(),
};

const filter = {
  metadata: smallObject.nullish(),
  graph_id: assistantIdOrGraphId.nullish(),
  name: z.string().max(512).nullish(),
};

const graphSchemas = z.object({
  input_schema: jsonObject.nullable(),
  output_schema: jsonObject.nullable(),
  state_schema: jsonObject.nullable(),
  config_schema: jsonObject.nullable(),
  context_schema: jsonObject.nullable(),
});

type SubgraphsRequest = RouteRequest<{ assistant_id: string }, { recurse: boolean }, unknown>;

export function assistantRoutes(deps: AssistantRoutesDeps): Route[] {
  const { assistants, host, threads, manager, pageLimit } = deps;

  async function subgraphs(
    { params, query, caller }: Pick<SubgraphsRequest, "params" | "query" | "caller">,
    namespace: string | null,
  ): Promise<Response> {
    const { graphId, config } = await assistants.as(caller).require(params.assistant_id);
    return json(await host.subgraphs(graphId, config, { namespace, recurse: query.recurse }));
  }

  return [
    route({
      method: "post",
      path: "/assistants",
      summary: "Create an assistant",
      tag: "assistants",
      body: z.object({
        ...settings,
        graph_id: assistantIdOrGraphId,
        assistant_id: id.nullish(),
        if_exists: optional(z.enum(["raise", "do_nothing"]), "raise" as const),
      }),
      responses: { 200: assistant },
      async handle({ body, caller }) {
        const created = await assistants.as(caller).create({
          ...settingsOf(body),
          graphId: body.graph_id,
          assistantId: body.assistant_id ?? undefined,
          ifExists: body.if_exists,
        });
        return json(renderAssistant(created));
      },
    }),
    route({
      method: "post",
      path: "/assistants/search",
      summary: "Find assistants",
      tag: "assistants",
      body: z.object({
        ...filter,
        limit: limit(10),
        offset,
        sort_by: optional(z.enum(ASSISTANT_SORT_COLUMNS), "created_at" as const),
        sort_order: sortOrder,
        select: z.array(z.enum(ASSISTANT_SELECT)).max(100).nullish(),
      }),
      responses: { 200: pageOf(assistant) },
      async handle({ body, caller }) {
        const page = await assistants.as(caller).search(filterOf(body), {
          limit: body.limit,
          offset: body.offset,
          sortBy: body.sort_by,
          sortOrder: body.sort_order,
          maxBytes: pageLimit,
        });
        const rows = page.rows.map((row) => pick(renderAssistant(row), body.select ?? undefined));
        return json(rows, { headers: paginationHeaders(body, page) });
      },
    }),
    route({
      method: "post",
      path: "/assistants/count",
      summary: "Count assistants",
      tag: "assistants",
      body: z.object(filter),
      responses: { 200: z.number().int() },
      handle: async ({ body, caller }) => json(await assistants.as(caller).count(filterOf(body))),
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}",
      summary: "Get an assistant by its id, or a graph's own by the graph's id",
      tag: "assistants",
      params,
      responses: { 200: assistant },
      handle: async (request) =>
        json(renderAssistant(await assistants.as(request.caller).require(request.params.assistant_id))),
    }),
    route({
      method: "patch",
      path: "/assistants/{assistant_id}",
      summary: "Change an assistant: a new version becomes current",
      tag: "assistants",
      params,
      body: z.object({ ...settings, graph_id: assistantIdOrGraphId.nullish() }),
      responses: { 200: assistant },
      async handle(request) {
        const { body } = request;
        const change = { ...settingsOf(body), ...(body.graph_id ? { graphId: body.graph_id } : {}) };
        return json(renderAssistant(await assistants.as(request.caller).patch(request.params.assistant_id, change)));
      },
    }),
    route({
      method: "delete",
      path: "/assistants/{assistant_id}",
      summary: "Stop an assistant's runs and delete it, with `delete_threads` also the threads that it ran on",
      tag: "assistants",
      params,
      query: z.object({ delete_threads: queryBoolean(false) }),
      responses: { 204: "deleted" },
      async handle(request) {
        const removed = await assistants.as(request.caller).remove(request.params.assistant_id);
        await manager.as(ANYONE).cancelMany({ assistantId: removed.assistantId }, "interrupt"); // whosever they are
        if (request.query.delete_threads) await removeThreadsOf(threads.as(request.caller), removed.assistantId);
        return noContent();
      },
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}/graph",
      summary: "Draw an assistant's graph",
      tag: "assistants",
      params,
      query: z.object({ xray }),
      responses: { 200: z.object({ nodes: z.array(jsonObject), edges: z.array(jsonObject) }) },
      async handle(request) {
        const { graphId, config } = await assistants.as(request.caller).require(request.params.assistant_id);
        return json(await host.drawing(graphId, config, request.query.xray));
      },
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}/schemas",
      summary: "Get the JSON schemas of an assistant's graph",
      tag: "assistants",
      params,
      responses: { 200: graphSchemas.extend({ graph_id: z.string() }) },
      async handle(request) {
        const { graphId, config } = await assistants.as(request.caller).require(request.params.assistant_id);
        return json({ graph_id: graphId, ...(await host.schemas(graphId, config)) });
      },
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}/subgraphs",
      summary: "Get the schemas of a graph's subgraphs",
      tag: "assistants",
      params,
      query: z.object({ recurse: queryBoolean(false), namespace: queryString() }),
      responses: { 200: z.record(z.string(), graphSchemas) },
      handle: (request) => subgraphs(request, request.query.namespace ?? null),
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}/subgraphs/{namespace}",
      summary: "Get the schemas of the subgraphs in a namespace",
      tag: "assistants",
      params: params.extend({ namespace: z.string().min(1).max(1_024) }),
      query: z.object({ recurse: queryBoolean(false) }),
      responses: { 200: z.record(z.string(), graphSchemas) },
      handle: (request) => subgraphs(request, request.params.namespace),
    }),
    route({
      method: "post",
      path: "/assistants/{assistant_id}/versions",
      summary: "List an assistant's versions, newest first",
      tag: "assistants",
      params,
      body: z.object({ metadata: smallObject.nullish(), limit: limit(10), offset }),
      responses: { 200: z.array(assistantVersion) },
      async handle(request) {
        const { metadata, ...page } = request.body;
        const versions = await assistants.as(request.caller).versions(request.params.assistant_id, {
          ...page,
          maxBytes: pageLimit,
          metadata: metadata ?? undefined,
        });
        return json(versions.map(renderAssistantVersion));
      },
    }),
    route({
      method: "post",
      path: "/assistants/{assistant_id}/latest",
      summary: "Make an earlier version current again",
      tag: "assistants",
      params,
      query: z.object({ version: queryString() }),
      body: z.object({ version: z.number().int().min(1).nullish() }),
      responses: { 200: assistant },
      async handle(request) {
        const version = request.body.version ?? Number(request.query.version);
        if (!Number.isInteger(version) || version < 1) throw invalid("body.version: expected a version number");
        return json(
          renderAssistant(await assistants.as(request.caller).setLatest(request.params.assistant_id, version)),
        );
      },
    }),
  ];
}

const xray = queryString()
  .transform((text) => {
    const words: Record<string, boolean | number> = { true: true, false: false, "0": false };
    return text === undefined ? false : (words[text.toLowerCase()] ?? Number(text));
  })
  .pipe(z.union([z.boolean(), z.number().int().min(1).max(100)]));

function settingsOf(body: z.output<z.ZodObject<typeof settings>>) {
  return {
    config: body.config ? toConfig(body.config) : undefined,
    context: body.context ?? undefined,
    metadata: body.metadata ?? undefined,
    name: body.name ?? undefined,
    ...(body.description === undefined ? {} : { description: body.description }),
  };
}

/** A member that is null says nothing. */
function toConfig(config: z.output<typeof runConfig>): RunConfig {
  const given = Object.entries(config).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(given) as RunConfig; // what the schema has checked, of a JSON body
}

function filterOf(body: z.output<z.ZodObject<typeof filter>>): AssistantFilter {
  return {
    metadata: body.metadata ?? undefined,
    graphId: body.graph_id ?? undefined,
    name: body.name ?? undefined,
  };
}

/** Those that the caller may delete; what they may see and not delete stays. */
async function removeThreadsOf(threads: ThreadService, assistantId: string): Promise<void> {
  const limit = 100;
  for (;;) {
    const ids = await threads.listIds({ metadata: { assistant_id: assistantId } }, limit);
    let removed = 0;
    for (const threadId of ids) if (await threads.remove(threadId).then(() => true, ignoreMissing)) removed++;
    if (ids.length < limit || removed === 0) return;
  }
}

/** Somebody else deleted it first, or may. */
function ignoreMissing(error: unknown): false {
  if (error instanceof GatewayError && error.code === "not_found") return false;
  throw error;
}
