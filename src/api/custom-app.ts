/**
 * The project's own Hono app (`server.app`), in front of the built-in routes.
 *
 * 1. It is told by its shape: the project may have its own copy of Hono. Its routes are added to heddle's, so that its
 *    middleware wraps whatever comes after it, and sees and may change requests and answers.
 * 2. Whatever it throws, or returns instead of an answer, is the failure of that one request: 500 with `{detail}`, the
 *    reason in the log. What it refuses by an `HTTPException` keeps its status.
 * 3. No body is larger than `server.body_limit` for it either.
 */
import type { Context, MiddlewareHandler, Next } from "hono";
import { ConfigError } from "../config/config-error.js";
import { describeError, refusalIn } from "../core/errors.js";
import { importExport, importExportFresh } from "../graphs/project-export.js";
import { limitBody } from "./body.js";

export interface CustomApp {
  readonly routes: readonly { readonly method: string; readonly path: string; readonly handler: MiddlewareHandler }[];
  /** Whether it has a path that begins with `base`. */
  hasPathsUnder(base: string): boolean;
}

/** Throws a `ConfigError` for what is no Hono app. `fresh` evaluates its files anew. */
export async function loadCustomApp(
  path: string,
  { baseDir, modules }: { readonly baseDir: string; readonly modules: "cached" | "fresh" },
): Promise<CustomApp> {
  const load = modules === "fresh" ? importExportFresh : importExport;
  const app = await load({ key: "server.app", path, baseDir });
  if (!isHono(app)) throw new ConfigError(`server.app: ${path} is no Hono app`);
  const onError = ownErrorHandler(app);
  return {
    routes: app.routes.map(({ method, path: of, handler }) => ({
      method,
      path: of,
      handler: guarded(handler, onError),
    })),
    hasPathsUnder: (base) => app.routes.some((route) => route.path === base || route.path.startsWith(`${base}/`)),
  };
}

/** Keeps what the app reads of a request within the limit (3). */
export function limitBodies(limit: number): MiddlewareHandler {
  return async (context, next) => {
    const limited = limitBody(context.req.raw, limit);
    if (limited !== context.req.raw) context.req.raw = limited;
    await next();
  };
}

/** A route as any version of Hono notes it. */
interface NotedRoute {
  readonly method: string;
  readonly path: string;
  readonly handler: (context: Context, next: Next) => unknown;
}

interface HonoLike {
  readonly routes: readonly NotedRoute[];
  readonly errorHandler: ErrorHandler;
  readonly constructor: unknown;
}

type ErrorHandler = (error: Error, context: Context) => unknown;

function isHono(value: unknown): value is HonoLike {
  if (typeof value !== "object" || value === null) return false;
  const { routes, errorHandler, fetch } = value as Partial<Record<"routes" | "errorHandler" | "fetch", unknown>>;
  return (
    Array.isArray(routes) && routes.every(isRoute) && typeof errorHandler === "function" && typeof fetch === "function"
  );
}

function isRoute(value: unknown): value is NotedRoute {
  if (typeof value !== "object" || value === null) return false;
  const { method, path, handler } = value as Partial<Record<keyof NotedRoute, unknown>>;
  return typeof method === "string" && typeof path === "string" && typeof handler === "function";
}

/** What `app.onError` was given; undefined while it is what every app of its class begins with. */
function ownErrorHandler(app: HonoLike): ErrorHandler | undefined {
  const { errorHandler: initial } = new (app.constructor as new () => HonoLike)(); // Hono's class, or one made of it
  return app.errorHandler === initial ? undefined : app.errorHandler;
}

/** 2 */
function guarded(handler: NotedRoute["handler"], onError: ErrorHandler | undefined): MiddlewareHandler {
  const answerOf = async (made: unknown, context: Context): Promise<Response | undefined> => {
    const answer = await made;
    if (answer === undefined || isResponse(answer)) return answer;
    if (context.finalized) return undefined; // what `next` resolves with, which middleware may pass on
    throw new Error(`server.app: a handler returned ${describeKind(answer)} instead of a Response`);
  };
  return async (context, next) => {
    try {
      return await answerOf(handler(context, next), context);
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(describeError(thrown).message);
      if (onError !== undefined) return answerOf(onError(error, context), context);
      throw ownAnswer(error) ?? refusalIn(error) ?? error;
    }
  };
}

/** Thrown to be the answer: the response that an `HTTPException` of the app carries. */
export class CustomAnswer extends Error {
  readonly response: Response;

  constructor(response: Response) {
    super("answered by an exception");
    this.response = response;
  }
}

function ownAnswer(error: Error): CustomAnswer | undefined {
  return "res" in error && isResponse(error.res) ? new CustomAnswer(error.res) : undefined;
}

/** By its shape: `Response` is not one class everywhere. */
function isResponse(value: unknown): value is Response {
  if (typeof value !== "object" || value === null) return false;
  const { status, headers } = value as Partial<Record<"status" | "headers", unknown>>;
  return typeof status === "number" && typeof headers === "object" && headers !== null && "get" in headers;
}

function describeKind(value: unknown): string {
  return value === null ? "null" : `something of type ${typeof value}`;
}
