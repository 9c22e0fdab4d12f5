/** What is about the server itself: health, capabilities, metrics, descriptions. */
import { z } from "zod";
import { GatewayError } from "../core/errors.js";
import type { Metrics } from "../core/metrics.js";
import type { RunStore } from "../storage/storage.js";
import { docsPage } from "./docs-page.js";
import { type OpenApiDocument, openApiDocument } from "./openapi.js";
import { queryBoolean, queryString } from "./query.js";
import { json, type Route, route } from "./route.js";
import { jsonObject } from "./schemas.js";

export interface SystemRoutesDeps {
  readonly version: string;
  readonly langgraphVersion: string;
  readonly runs: RunStore;
  readonly metrics: Metrics;
  /** All other routes: what the descriptions describe. */
  readonly routes: readonly Route[];
  /** Groups that the configuration switches off. */
  readonly disabled: { readonly assistants: boolean; readonly meta: boolean };
}

const serverInfo = z
  .object({
    version: z.string(),
    langgraph_js_version: z.string(),
    context: z.literal("js"),
    flags: z.record(z.string(), z.boolean()).meta({ description: "What this server can do" }),
  })
  .meta({ id: "ServerInfo" });

export function systemRoutes(deps: SystemRoutesDeps): Route[] {
  const { version, langgraphVersion, runs, metrics, disabled } = deps;

  const health = route({
    method: "get",
    path: "/ok",
    summary: "Whether the server answers; with `check_db=1` also whether its database does",
    tag: "system",
    query: z.object({ check_db: queryBoolean(false) }),
    responses: { 200: z.object({ ok: z.literal(true) }) },
    async handle({ query }) {
      if (query.check_db && !disabled.meta) await checkDatabase(runs);
      return json({ ok: true });
    },
  });
  if (disabled.meta) return [health];

  const meta: Route[] = [
    health,
    route({
      method: "get",
      path: "/info",
      summary: "Versions, and what this server can do",
      tag: "system",
      responses: { 200: serverInfo },
      handle: async () =>
        json({
          version,
          langgraph_js_version: langgraphVersion,
          context: "js",
          flags: {
            assistants: !disabled.assistants,
            crons: false,
            langsmith: false,
            langsmith_tracing_replicas: false,
            stream_namespaces: false,
            strict_resume: false,
            event_streaming: false,
            semantic_search: false,
            thread_ttl: false,
            webhooks: false,
          },
        }),
    }),
    route({
      method: "get",
      path: "/metrics",
      summary: "Metrics in the Prometheus format",
      tag: "system",
      query: z.object({ format: queryString().pipe(z.literal("prometheus").optional()) }),
      responses: { 200: { description: "Counters, gauges and histograms", contentType: "text/plain" } },
      async handle() {
        const text = await metrics.render(await runs.countPending());
        return new Response(text, { headers: { "content-type": metrics.contentType } });
      },
    }),
    route({
      method: "get",
      path: "/openapi.json",
      summary: "This API as an OpenAPI 3.1 document",
      tag: "system",
      responses: { 200: jsonObject },
      handle: async () => json(describe()),
    }),
    route({
      method: "get",
      path: "/docs",
      summary: "This API as a page",
      tag: "system",
      responses: { 200: { description: "HTML", contentType: "text/html" } },
      async handle() {
        return new Response(docsPage(describe()), { headers: { "content-type": "text/html; charset=utf-8" } });
      },
    }),
  ];

  let document: OpenApiDocument | undefined;
  function describe(): OpenApiDocument {
    document ??= openApiDocument([...deps.routes, ...meta], version); // made when first asked for
    return document;
  }
  return meta;
}

async function checkDatabase(runs: RunStore): Promise<void> {
  try {
    await runs.countPending();
  } catch (error) {
    throw new GatewayError("unavailable", `the database does not answer: ${(error as Error).message}`);
  }
}
