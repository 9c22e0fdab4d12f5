/**
 * The HTTP face: routes under every base path, with what is common to all requests around them.
 *
 * Every answer carries `x-request-id`; every error is JSON `{detail, code}`; every request is one log line. The project's
 * own app, where there is one, comes before the built-in routes and may answer in their place.
 */
import { type Context, Hono } from "hono";
import { cors } from "hono/cors";
import { getPathNoStrict } from "hono/utils/url";
import { type Authenticate, type Caller, NOBODY } from "../core/caller.js";
import { GatewayError } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { readBody } from "./body.js";
import { CustomAnswer, type CustomApp, limitBodies } from "./custom-app.js";
import { answerFor } from "./errors.js";
import { type CorsRules, originRule } from "./origins.js";
import { createPaths, type Paths } from "./paths.js";
import { parseRequest, type Route } from "./route.js";

export interface AppDeps {
  readonly routes: readonly Route[];
  readonly basePaths: readonly string[];
  readonly cors: CorsRules;
  readonly bodyLimit: number;
  readonly authenticate: Authenticate;
  readonly rejectStatus: number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => number;
  /** What the failure of something below means for a client; undefined for a bug. */
  readonly explain: (error: unknown) => GatewayError | undefined;
  /** Whether connections should end with the answer that they carry. */
  readonly isDraining: () => boolean;
  readonly custom?: CustomRules | undefined;
}

/** The project's own app, and who is asked when. */
export interface CustomRules {
  readonly app: CustomApp;
  /** Whether it sees requests for built-in routes before it is known who they are from, or after. */
  readonly order: "middleware_first" | "auth_first";
  /** Whether its own routes are only for callers who are known. Then it sees nothing of others. */
  readonly authenticatesRoutes: boolean;
}

/** What a request for a WebSocket has become when nothing in front of the route answered it. */
export interface Upgrade {
  readonly headers: Headers;
  readonly caller: Caller;
}

/** What the Node server hands over with a request; absent where heddle is called as a plain fetch handler. */
interface NodeBindings {
  readonly outgoing?: {
    destroy(): unknown;
    setHeader(name: string, value: string): unknown;
    once(event: "close", listener: () => void): unknown;
  };
  /** Told instead of the route when the request is for a WebSocket. */
  readonly onUpgrade?: (upgrade: Upgrade) => void;
}

/** What heddle notes of a request; under one name, for the project's app has names of its own. */
interface Notes {
  readonly requestId: string;
  route?: Route;
  params?: Record<string, string>;
  caller?: Caller;
  /** The project's app does not see it. */
  passesApp?: boolean;
}

interface AppEnv {
  Bindings: NodeBindings | undefined;
  Variables: { heddle: Notes; auth: { readonly user: Caller["user"]; readonly scopes: readonly string[] } };
}

/** Clients read these from pages of other origins. */
const EXPOSED_HEADERS = [
  "Content-Location",
  "Location",
  "Retry-After",
  "X-Pagination-Total",
  "X-Pagination-Next",
  "X-Thread-Id",
  "x-request-id",
];

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const { log, custom } = deps;
  const paths = createPaths(deps.basePaths, deps.routes, custom?.app.hasPathsUnder ?? null);
  const app = new Hono<AppEnv>({ getPath: (request) => paths.canonical(getPathNoStrict(request)) });

  app.use(async (context, next) => {
    const startedAt = deps.now();
    const requestId = requestIdOf(context.req.header("x-request-id"));
    context.set("heddle", { requestId });
    // Given to Node, the header leaves the answer as it is: changing a web-standard response afterwards copies it.
    const outgoing = context.env?.outgoing;
    outgoing?.setHeader("x-request-id", requestId);
    await next();
    // The next request finds a gateway that stays. To clients an answer that closes its connection is whole wherever it
    // breaks off, so one that may be cut must not say so (W2).
    if (deps.isDraining() && !isLongAnswer(context.res)) outgoing?.setHeader("connection", "close");
    if (outgoing === undefined) context.res.headers.set("x-request-id", requestId);
    observe(deps, context, startedAt);
  });
  const crossOrigin = corsOf(deps.cors);
  app.use((context, next) => (context.req.header("origin") === undefined ? next() : crossOrigin(context, next)));
  app.use(refuseForeignPages);

  app.use(async (context, next) => {
    if (!paths.isServed(pathOf(context))) return context.notFound();
    return next();
  });
  if (custom !== undefined) {
    app.use(limitBodies(deps.bodyLimit));
    app.use(knowCallerFor(paths, custom, deps.authenticate));
    for (const { method, path, handler } of custom.app.routes) {
      app.on(method, [path], (context, next) =>
        context.get("heddle").passesApp === true ? next() : handler(context, next),
      );
    }
  }
  for (const route of deps.routes) mount(app, route, deps);

  app.notFound((context) =>
    context.json({ detail: `no route ${context.req.method} ${pathOf(context)}`, code: "not_found" }, 404),
  );
  app.onError((error, context) => {
    if (error instanceof CustomAnswer) return error.response;
    const busyStatus = RUN_TAGS.includes(context.get("heddle").route?.tag ?? "") ? deps.rejectStatus : 409;
    const explained = error instanceof GatewayError ? undefined : deps.explain(error);
    const { unexpected, ...answer } = answerFor(explained ?? error, busyStatus);
    if (unexpected || explained)
      log.error({ err: error, requestId: context.get("heddle").requestId }, "a request failed");
    const shown = context.get("heddle").route?.errors?.render(answer) ?? answer;
    const { status, body } = shown;
    const headers = new Headers({ ...answer.headers, ...shown.headers, "content-type": "application/json" });
    if ((status === 429 || status === 503) && !headers.has("retry-after")) {
      headers.set("retry-after", RETRY_AFTER_SECONDS);
    }
    return new Response(JSON.stringify(body), { status, headers });
  });
  return app;
}

/** A restart takes about as long, a disk on which somebody makes room, and a run of a thread with many that wait. */
const RETRY_AFTER_SECONDS = "1";

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

/** For what the order of the two wants known before the project's app sees it. */
function knowCallerFor(paths: Paths, { order, authenticatesRoutes }: CustomRules, authenticate: Authenticate) {
  return async (context: Context<AppEnv>, next: () => Promise<void>): Promise<void> => {
    const { method, path, raw } = context.req;
    const isOpen = paths.isOpen(method, path);
    const isWanted = authenticatesRoutes || (order === "auth_first" && paths.isBuiltIn(path));
    if (isOpen) {
      context.get("heddle").passesApp = authenticatesRoutes; // what is for everybody is heddle's own, and nothing else
    } else if (isWanted) {
      const caller = await authenticate(raw);
      context.get("heddle").caller = caller;
      context.set("auth", { user: caller.user, scopes: caller.user?.permissions ?? [] }); // as apps of LangGraph find it
    }
    await next();
  };
}

function mount(app: Hono<AppEnv>, route: Route, { bodyLimit, authenticate }: AppDeps): void {
  const path = route.path.replace(/\{(\w+)\}/g, ":$1");
  app.on(route.method.toUpperCase(), path, async (context) => {
    const { req } = context;
    const params = req.param() as Record<string, string>; // every path of a route is made of plain parameters
    const notes = context.get("heddle");
    notes.route = route;
    notes.params = params;
    const caller = await callerOf(route, () => notes.caller ?? authenticate(req.raw), req.raw);
    if (context.env?.onUpgrade !== undefined) {
      context.env.onUpgrade({ headers: req.raw.headers, caller });
      return context.body(null);
    }
    const parsed = await parseRequest(route, {
      params,
      query: req.queries(),
      readBody: () => (req.raw.bodyUsed ? req.text() : readBody(req.raw, bodyLimit)), // an app may have read it
    });
    const raw = req.raw;
    const enterStream = (): void => {
      const leave = caller.enterStream();
      context.env?.outgoing?.once("close", leave);
    };
    if (isStream(route)) enterStream();
    const response = await route.handle({
      ...parsed,
      headers: raw.headers,
      caller,
      get url() {
        return raw.url;
      },
      get signal() {
        return raw.signal; // made when asked for: most routes never ask
      },
      enterStream,
      breakConnection() {
        const outgoing = context.env?.outgoing;
        outgoing?.destroy();
        return outgoing !== undefined;
      },
    });
    if (raw.method !== "HEAD") return response;
    await response.body?.cancel(); // nobody will read it
    return new Response(null, response); // what is read already cannot be given the headers of CORS
  });
}

function callerOf(
  { access }: Route,
  known: () => Caller | Promise<Caller>,
  request: Request,
): Caller | Promise<Caller> {
  if (access === "everybody") return NOBODY;
  return access === "caller" ? known() : access(request);
}

function isStream({ responses: { 200: answer } }: Route): boolean {
  return typeof answer === "object" && "contentType" in answer && answer.contentType === "text/event-stream";
}

function requestIdOf(given: string | undefined): string {
  return given !== undefined && /^[\w.:-]{1,128}$/.test(given) ? given : newId();
}

function corsOf(rules: CorsRules) {
  const anyOrigin = rules.allowOrigins.includes("*");
  const allowed = originRule(rules);
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
  const { method } = context.req;
  const { requestId, route, params } = context.get("heddle");
  const status = context.res.status;
  const ms = deps.now() - startedAt;
  const label = route?.path ?? "none";
  deps.metrics.httpRequests.inc({ method, route: label, status: String(status) });
  deps.metrics.httpSeconds.observe({ method, route: label }, ms / 1000);
  const { thread_id: threadId, run_id: runId = createdRun(context.res) } = params ?? {};
  const ids = { ...(threadId === undefined ? {} : { threadId }), ...(runId === undefined ? {} : { runId }) };
  deps.log.info({ requestId, method, path: pathOf(context), status, ms, ...ids }, "request");
}

/** As it came, whatever base path that is under. */
function pathOf(context: Context<AppEnv>): string {
  return getPathNoStrict(context.req.raw);
}

/** Whether it is written while something happens: those alone tell proxies not to hold them back. */
function isLongAnswer(response: Response): boolean {
  return response.headers.get("x-accel-buffering") === "no";
}

/** The run that the answer says it created. */
function createdRun(response: Response): string | undefined {
  return response.headers.get("content-location")?.match(/\/runs\/(.+)$/)?.[1];
}
