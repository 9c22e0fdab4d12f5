/** Assistants and what their graphs look like (A1–A12). */
import { z } from "zod";
import { GatewayError, invalid } from "../core/errors.js";
import type { RunConfig } from "../core/model.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { GraphHost } from "../graphs/host.js";
import type { RunManager } from "../runs/manager.js";
import { ASSISTANT_SORT_COLUMNS, type AssistantFilter } from "../storage/storage.js";
import type { ThreadService } from "../threads/threads.js";
import { queryBoolean, queryString } from "./query.js";
import { paginationHeaders, pick, renderAssistant, renderAssistantVersion } from "./render.js";
import { json, noContent, type Route, route } from "./route.js";
import {
  assistant,
  assistantIdOrGraphId,
  assistantVersion,
  id,
  jsonObject,
  limit,
  offset,
  optional,
  pageOf,
  runConfig,
  sortOrder,
} from "./schemas.js";

export interface AssistantRoutesDeps {
  readonly assistants: AssistantService;
  readonly host: GraphHost;
  readonly threads: ThreadService;
  readonly manager: RunManager;
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
  metadata: jsonObject.nullish(),
  name: z.string().min(1).max(512).nullish(),
  description: z.string().max(65_536).nullish(),
};

const filter = {
  metadata: jsonObject.nullish(),
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

export function assistantRoutes({ assistants, host, threads, manager }: AssistantRoutesDeps): Route[] {
  async function subgraphs(assistantId: string, namespace: string | null, recurse: boolean): Promise<Response> {
    const { graphId, config } = await assistants.require(assistantId);
    return json(await host.subgraphs(graphId, config, { namespace, recurse }));
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
      async handle({ body }) {
        const created = await assistants.create({
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
        select: z.array(z.enum(ASSISTANT_SELECT)).nullish(),
      }),
      responses: { 200: pageOf(assistant) },
      async handle({ body }) {
        const page = await assistants.search(filterOf(body), {
          limit: body.limit,
          offset: body.offset,
          sortBy: body.sort_by,
          sortOrder: body.sort_order,
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
      handle: async ({ body }) => json(await assistants.count(filterOf(body))),
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}",
      summary: "Get an assistant by its id, or a graph's own by the graph's id",
      tag: "assistants",
      params,
      responses: { 200: assistant },
      handle: async (request) => json(renderAssistant(await assistants.require(request.params.assistant_id))),
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
        return json(renderAssistant(await assistants.patch(request.params.assistant_id, change)));
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
        const removed = await assistants.remove(request.params.assistant_id);
        await manager.cancelMany({ assistantId: removed.assistantId }, "interrupt");
        if (request.query.delete_threads) await removeThreadsOf(threads, removed.assistantId);
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
        const { graphId, config } = await assistants.require(request.params.assistant_id);
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
        const { graphId, config } = await assistants.require(request.params.assistant_id);
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
      handle: (request) =>
        subgraphs(request.params.assistant_id, request.query.namespace ?? null, request.query.recurse),
    }),
    route({
      method: "get",
      path: "/assistants/{assistant_id}/subgraphs/{namespace}",
      summary: "Get the schemas of the subgraphs in a namespace",
      tag: "assistants",
      params: params.extend({ namespace: z.string().min(1).max(1_024) }),
      query: z.object({ recurse: queryBoolean(false) }),
      responses: { 200: z.record(z.string(), graphSchemas) },
      handle: (request) => subgraphs(request.params.assistant_id, request.params.namespace, request.query.recurse),
    }),
    route({
      method: "post",
      path: "/assistants/{assistant_id}/versions",
      summary: "List an assistant's versions, newest first",
      tag: "assistants",
      params,
      body: z.object({ metadata: jsonObject.nullish(), limit: limit(10), offset }),
      responses: { 200: z.array(assistantVersion) },
      async handle(request) {
        const { metadata, ...page } = request.body;
        const versions = await assistants.versions(request.params.assistant_id, {
          ...page,
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
        return json(renderAssistant(await assistants.setLatest(request.params.assistant_id, version)));
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

async function removeThreadsOf(threads: ThreadService, assistantId: string): Promise<void> {
  const page = { limit: 100, offset: 0, sortBy: "created_at", sortOrder: "asc" } as const;
  for (;;) {
    const { rows } = await threads.search({ metadata: { assistant_id: assistantId } }, page, { withValues: false });
    for (const { threadId } of rows) await threads.remove(threadId).catch(ignoreMissing);
    if (rows.length < page.limit) return;
  }
}

/** Somebody else deleted it first. */
function ignoreMissing(error: unknown): void {
  if (!(error instanceof GatewayError) || error.code !== "not_found") throw error;
}
