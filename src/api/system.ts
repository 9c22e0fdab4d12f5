/** What is about the server itself: health, capabilities, metrics, descriptions. */
import { z } from "zod";
import { isPermitted } from "../core/caller.js";
import { GatewayError } from "../core/errors.js";
import type { Metrics } from "../core/metrics.js";
import type { Readiness } from "../core/readiness.js";
import type { RunStore } from "../storage/ports/runs.js";
import { docsPage } from "./docs-page.js";
import { type OpenApiDocument, openApiDocument } from "./openapi.js";
import { queryBoolean, queryString } from "./query.js";
import { json, type Route, route } from "./route.js";
import { jsonObject } from "./schemas.js";

export interface SystemRoutesDeps {
  readonly version: string;
  readonly langgraphVersion: string;
  readonly runs: RunStore;
  readonly readiness: Pick<Readiness, "reason">;
  readonly metrics: Metrics;
  readonly replica: Replica;
  /** All other routes: what the descriptions describe. */
  readonly routes: readonly Route[];
  /** Where what runs say is kept for those who read it, and whether that can be reached. */
  readonly bridgeState: () => { readonly type: "memory" | "redis"; readonly state: "up" | "away" };
  /** Whether runs may ask for what LangSmith does. */
  readonly hasLangsmith: boolean;
  /** Groups that the configuration switches off. */
  readonly disabled: {
    readonly assistants: boolean;
    readonly crons: boolean;
    readonly meta: boolean;
    readonly eventStreaming: boolean;
    readonly openai: boolean;
    readonly mcp: boolean;
    readonly a2a: boolean;
    readonly webhooks: boolean;
  };
}

/** The process that answers, among others maybe. */
export interface Replica {
  readonly id: string;
  readonly role: "all" | "api" | "worker";
  /** How many runs it executes now. */
  readonly leases: () => number;
}

/** What is served of a replica that serves no clients. */
export const HEALTH_PATHS: ReadonlySet<string> = new Set(["/ok", "/ready", "/metrics", "/info"]);

/** Of the schema that the protocol's types are made from. */
const PROTOCOL_VERSION = "0.0.13";

const serverInfo = z
  .object({
    version: z.string(),
    langgraph_js_version: z.string(),
    context: z.literal("js"),
    event_streaming_protocol: z
      .string()
      .nullable()
      .meta({ description: "The version of the event-streaming protocol" }),
    stream_bridge: z.object({ type: z.enum(["memory", "redis"]), state: z.enum(["up", "away"]) }).meta({
      description: "Where live events are shared; while it is `away` runs go on, and streams come from the ledger",
    }),
    flags: z.record(z.string(), z.boolean()).meta({ description: "What this server can do" }),
    replica: z
      .object({ id: z.string(), role: z.enum(["all", "api", "worker"]), runs: z.int() })
      .meta({ description: "The process that answered, and how many runs it executes" }),
  })
  .meta({ id: "ServerInfo" });

export function systemRoutes(deps: SystemRoutesDeps): Route[] {
  const { version, langgraphVersion, runs, readiness, metrics, disabled, replica } = deps;

  const health = route({
    method: "get",
    path: "/ok",
    access: "everybody",
    summary: "Whether the server answers; with `check_db=1` also whether its database does",
    tag: "system",
    query: z.object({ check_db: queryBoolean(false) }),
    responses: { 200: z.object({ ok: z.literal(true) }) },
    async handle({ query }) {
      if (query.check_db && !disabled.meta) await checkDatabase(runs);
      return json({ ok: true });
    },
  });
  const ready = route({
    method: "get",
    path: "/ready",
    access: "everybody",
    summary:
      "Whether the server should be sent requests: not while it stops, nor while its databases cannot be written",
    tag: "system",
    responses: {
      200: z.object({ ready: z.literal(true) }),
      503: z.object({ detail: z.string(), code: z.literal("unavailable"), ready: z.literal(false) }),
    },
    async handle() {
      const reason = await readiness.reason();
      if (reason !== null) throw new GatewayError("unavailable", reason, { ready: false });
      return json({ ready: true });
    },
  });
  if (disabled.meta) return [health, ready];

  const meta: Route[] = [
    health,
    ready,
    route({
      method: "get",
      path: "/info",
      access: "everybody",
      summary: "Versions, and what this server can do",
      tag: "system",
      responses: { 200: serverInfo },
      handle: async () =>
        json({
          version,
          langgraph_js_version: langgraphVersion,
          context: "js",
          event_streaming_protocol: disabled.eventStreaming ? null : PROTOCOL_VERSION,
          stream_bridge: deps.bridgeState(),
          flags: {
            assistants: !disabled.assistants,
            crons: !disabled.crons,
            langsmith: deps.hasLangsmith,
            langsmith_tracing_replicas: false,
            stream_namespaces: false,
            strict_resume: false,
            event_streaming: !disabled.eventStreaming,
            openai: !disabled.openai,
            mcp: !disabled.mcp,
            a2a: !disabled.a2a,
            semantic_search: false,
            thread_ttl: true,
            webhooks: !disabled.webhooks,
          },
          replica: { id: replica.id, role: replica.role, runs: replica.leases() },
        }),
    }),
    route({
      method: "get",
      path: "/metrics",
      summary: "Metrics in the Prometheus format",
      tag: "system",
      query: z.object({ format: queryString().pipe(z.literal("prometheus").optional()) }),
      responses: { 200: { description: "Counters, gauges and histograms", contentType: "text/plain" } },
      async handle({ caller: { user } }) {
        if (user !== null && !isPermitted(user.permissions, "metrics:read")) {
          throw new GatewayError(
            "forbidden",
            "not authorized: metrics:read is not among the permissions of the caller",
          );
        }
        const text = await metrics.render(await runs.countPending());
        return new Response(text, { headers: { "content-type": metrics.contentType } });
      },
    }),
    route({
      method: "get",
      path: "/openapi.json",
      access: "everybody",
      summary: "This API as an OpenAPI 3.1 document",
      tag: "system",
      responses: { 200: jsonObject },
      handle: async () => json(describe()),
    }),
    route({
      method: "get",
      path: "/docs",
      access: "everybody",
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
