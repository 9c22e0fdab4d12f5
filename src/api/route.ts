/**
 * One HTTP route as data: method, path, zod schemas, handler. The same schemas validate requests and describe them in
 * `/openapi.json`, so the two cannot differ.
 *
 * Query values arrive as lists of strings because clients spell lists, booleans and numbers in several ways; the schemas
 * of `query.ts` read all spellings. A body is JSON whatever its content type says (`sendBeacon` posts text/plain).
 *
 * @example
 *   route({
 *     method: "get",
 *     path: "/threads/{thread_id}",
 *     summary: "Get a thread",
 *     params: z.object({ thread_id: threadId }),
 *     responses: { 200: threadSchema },
 *     handle: async ({ params }) => json(await threads.get(params.thread_id)),
 *   })
 */
import { z } from "zod";
import { badRequest, invalid } from "../core/errors.js";
import { validationError } from "./errors.js";

export type Method = "get" | "post" | "put" | "patch" | "delete";

/** What a handler gets: validated parts, the raw headers, and a signal that aborts when the client goes away. */
export interface RouteRequest<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly headers: Headers;
  readonly signal: AbortSignal;
  /** Cuts the connection without ending the response (W2); false where the server offers no way to. */
  readonly breakConnection: () => boolean;
}

/** A route whose schemas have been applied to its handler's types. */
export interface Route {
  readonly method: Method;
  /** With `{name}` for parameters, as OpenAPI writes it. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodType | null;
  readonly responses: RouteResponses;
  readonly handle: (request: RouteRequest<unknown, unknown, unknown>) => Promise<Response>;
}

/** By status: the schema of the JSON body, words for an answer without a body, or a description. */
export type RouteResponses = { readonly [status: number]: z.ZodType | string | ResponseDescription };

export interface ResponseDescription {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Of a body that is not JSON. */
  readonly contentType?: string;
  /** What headers say, besides the request's id. */
  readonly headers?: { readonly [name: string]: string };
}

export interface RouteDefinition<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType> {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly responses: RouteResponses;
  readonly handle: (request: RouteRequest<z.output<P>, z.output<Q>, z.output<B>>) => Promise<Response>;
}

const NOTHING = z.object({});

export function route<
  P extends z.ZodObject = typeof NOTHING,
  Q extends z.ZodObject = typeof NOTHING,
  B extends z.ZodType = z.ZodUndefined,
>(definition: RouteDefinition<P, Q, B>): Route {
  return {
    ...definition,
    params: definition.params ?? NOTHING,
    query: definition.query ?? NOTHING,
    body: definition.body ?? null,
    // The parts were parsed with this definition's own schemas: see parseRequest.
    handle: definition.handle as Route["handle"],
  };
}

/** Applies a route's schemas; throws a `GatewayError` that names what is wrong. */
export async function parseRequest(
  route: Route,
  raw: {
    readonly params: Record<string, string>;
    readonly query: Record<string, string[]>;
    readonly readBody: () => Promise<string>;
  },
): Promise<{ params: unknown; query: unknown; body: unknown }> {
  const params = parsePart("path", route.params, raw.params);
  const query = parsePart("query", route.query, raw.query);
  if (route.body === null) return { params, query, body: undefined };
  return { params, query, body: parsePart("body", route.body, parseJsonBody(await raw.readBody())) };
}

function parsePart(where: string, schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (!result.success) throw validationError(where, result.error);
  return result.data;
}

const MAX_BODY_DEPTH = 200;

/** An absent body reads as an empty object: several clients send none where every member is optional. */
function parseJsonBody(text: string): unknown {
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as SyntaxError).message}`);
  }
  refuseHostileShape(value);
  return value;
}

/** Refuses nesting that recursive code cannot follow, keys that reach an object's prototype, numbers that JSON loses. */
function refuseHostileShape(value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_BODY_DEPTH) throw invalid(`the body is nested deeper than ${MAX_BODY_DEPTH} levels`);
    const next: unknown[] = [];
    for (const item of level) {
      if (typeof item !== "object" || item === null) continue;
      if (Object.hasOwn(item, "__proto__")) throw invalid('the body has a member "__proto__"');
      for (const child of Object.values(item)) {
        if (typeof child === "object" && child !== null) next.push(child);
        else if (child === Infinity || child === -Infinity) throw invalid("the body has a number beyond 1.8e308");
      }
    }
    level = next;
  }
}

// ---- answers

export function json(
  body: unknown,
  init: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Response {
  return rawJson(JSON.stringify(body), init);
}

/** For JSON that is ready text already. */
export function rawJson(
  text: string,
  init: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Response {
  return new Response(text, {
    status: init.status ?? 200,
    headers: { "content-type": "application/json", ...init.headers },
  });
}

export function noContent(status: 202 | 204 = 204, headers: Record<string, string> = {}): Response {
  return new Response(null, { status, headers });
}
