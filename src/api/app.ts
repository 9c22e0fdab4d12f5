/**
 * The HTTP face: routes under every base path, with what is common to all requests around them.
 *
 * Every answer carries `x-request-id`; every error is JSON `{detail, code}`; every request is one log line.
 */
import { type Context, Hono } from "hono";
import { cors } from "hono/cors";
import { GatewayError } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { readBody } from "./body.js";
import { answerFor } from "./errors.js";
import { parseRequest, type Route } from "./route.js";

export interface CorsRules {
  readonly allowOrigins: readonly string[];
  /** Anchored; null when only `allowOrigins` count. */
  readonly allowOriginPattern: string | null;
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly allowCredentials: boolean;
  readonly exposeHeaders: readonly string[];
  readonly maxAge: number;
}

export interface AppDeps {
  readonly routes: readonly Route[];
  readonly basePaths: readonly string[];
  readonly cors: CorsRules;
  readonly bodyLimit: number;
  readonly rejectStatus: number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => number;
}

/** What the Node server hands over with a request; absent where heddle is called as a plain fetch handler. */
interface NodeBindings {
  readonly outgoing?: { destroy(): unknown; setHeader(name: string, value: string): unknown };
}

interface AppEnv {
  Bindings: NodeBindings | undefined;
  Variables: { requestId: string; route: Route | undefined; params: Record<string, string> | undefined };
}

/** Clients read these from pages of other origins. */
const EXPOSED_HEADERS = ["Content-Location", "Location", "X-Pagination-Total", "X-Pagination-Next", "x-request-id"];

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ strict: false });
  const { log } = deps;

  app.use(async (context, next) => {
    const startedAt = deps.now();
    const requestId = requestIdOf(context.req.header("x-request-id"));
    context.set("requestId", requestId);
    // Given to Node, the header leaves the answer as it is: changing a web-standard response afterwards copies it.
    const outgoing = context.env?.outgoing;
    outgoing?.setHeader("x-request-id", requestId);
    await next();
    if (outgoing === undefined) context.res.headers.set("x-request-id", requestId);
    observe(deps, context, startedAt);
  });
  const crossOrigin = corsOf(deps.cors);
  app.use((context, next) => (context.req.header("origin") === undefined ? next() : crossOrigin(context, next)));
  app.use(refuseForeignPages);

  for (const base of deps.basePaths) {
    for (const route of deps.routes) mount(app, base, route, deps.bodyLimit);
  }

  app.notFound((context) =>
    context.json({ detail: `no route ${context.req.method} ${context.req.path}`, code: "not_found" }, 404),
  );
  app.onError((error, context) => {
    const busyStatus = RUN_TAGS.includes(context.get("route")?.tag ?? "") ? deps.rejectStatus : 409;
    const { status, body, unexpected } = answerFor(error, busyStatus);
    if (unexpected) log.error({ err: error, requestId: context.get("requestId") }, "a request failed");
    return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
  });
  return app;
}

/** The routes that can refuse a run, for `compat.reject_status`. */
const RUN_TAGS: readonly string[] = ["runs", "stateless runs"];

/**
 * Without CORS a browser hides the answer from a foreign page, but has sent the request: text needs no preflight, and a
 * gateway on this machine would run a graph for any page that its user looks at. Browsers say where a request is from.
 */
async function refuseForeignPages(context: Context<AppEnv>, next: () => Promise<void>): Promise<void> {
  const origin = context.req.header("origin");
  const site = context.req.header("sec-fetch-site");
  const isForeign = origin !== undefined && (site === "cross-site" || site === "same-site");
  if (isForeign && !context.res.headers.has("access-control-allow-origin")) {
    throw new GatewayError("forbidden", `pages of ${origin} may not use this gateway: see server.cors`);
  }
  await next();
}

function mount(app: Hono<AppEnv>, base: string, route: Route, bodyLimit: number): void {
  const path = `${base === "/" ? "" : base}${route.path.replace(/\{(\w+)\}/g, ":$1")}`;
  app.on(route.method.toUpperCase(), path, async (context) => {
    const { req } = context;
    const params = req.param() as Record<string, string>; // every path of a route is made of plain parameters
    context.set("route", route);
    context.set("params", params);
    const parsed = await parseRequest(route, {
      params,
      query: req.queries(),
      readBody: () => readBody(req.raw, bodyLimit),
    });
    const raw = req.raw;
    const response = await route.handle({
      ...parsed,
      headers: raw.headers,
      get signal() {
        return raw.signal; // made when asked for: most routes never ask
      },
      breakConnection() {
        const outgoing = context.env?.outgoing;
        outgoing?.destroy();
        return outgoing !== undefined;
      },
    });
    if (raw.method === "HEAD") await response.body?.cancel(); // nobody will read it
    return response;
  });
}

function requestIdOf(given: string | undefined): string {
  return given !== undefined && /^[\w.:-]{1,128}$/.test(given) ? given : newId();
}

function corsOf(rules: CorsRules) {
  const pattern = rules.allowOriginPattern === null ? null : new RegExp(rules.allowOriginPattern);
  const anyOrigin = rules.allowOrigins.includes("*");
  const allowed = (origin: string): boolean => rules.allowOrigins.includes(origin) || pattern?.test(origin) === true;
  return cors({
    origin: anyOrigin ? "*" : (origin) => (allowed(origin) ? origin : null),
    allowMethods: [...rules.allowMethods],
    // hono reflects what a page asks for when the list is empty
    allowHeaders: rules.allowHeaders.includes("*") ? [] : [...rules.allowHeaders],
    credentials: rules.allowCredentials,
    exposeHeaders: [...new Set([...EXPOSED_HEADERS, ...rules.exposeHeaders])],
    maxAge: rules.maxAge,
  });
}

/** One log line and two metrics per request. The ids of its thread and run are in the line, its query and bodies are not. */
function observe(deps: AppDeps, context: Context<AppEnv>, startedAt: number): void {
  const { method, path } = context.req;
  const route = context.get("route");
  const status = context.res.status;
  const ms = deps.now() - startedAt;
  const label = route?.path ?? "none";
  deps.metrics.httpRequests.inc({ method, route: label, status: String(status) });
  deps.metrics.httpSeconds.observe({ method, route: label }, ms / 1000);
  const { thread_id: threadId, run_id: runId = createdRun(context.res) } = context.get("params") ?? {};
  const ids = { ...(threadId === undefined ? {} : { threadId }), ...(runId === undefined ? {} : { runId }) };
  deps.log.info({ requestId: context.get("requestId"), method, path, status, ms, ...ids }, "request");
}

/** The run that the answer says it created. */
function createdRun(response: Response): string | undefined {
  return response.headers.get("content-location")?.match(/\/runs\/(.+)$/)?.[1];
}
