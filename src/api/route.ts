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
 *     handle: async ({ params, caller }) => json(await threads.as(caller).get(params.thread_id)),
 *   })
 */
import { z } from "zod";
import type { Authenticate, Caller } from "../core/caller.js";
import { parseJsonBody } from "./edge.js";
import { type ErrorShape, validationError } from "./errors.js";
import { bodyOf, jsonBodyOf } from "./long-text.js";

export type Method = "get" | "post" | "put" | "patch" | "delete";

/** What a handler gets: validated parts, the raw headers, and a signal that aborts when the client goes away. */
export interface RouteRequest<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly headers: Headers;
  /** In whose name it is done. */
  readonly caller: Caller;
  /** Under which the request came, as far as the server can see. */
  readonly url: string;
  readonly signal: AbortSignal;
  /** Counts the answer as an event stream of the caller's until its connection closes; throws `too_many_requests`. */
  readonly enterStream: () => void;
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
  /** `everybody`: answered without asking who it is. A function: callers are known by something that only this route takes. */
  readonly access: "caller" | "everybody" | Authenticate;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodType | null;
  /** What a body that does not fit its schema is answered with. */
  readonly misfit: "validation" | "bad_request";
  readonly responses: RouteResponses;
  /** heddle's own unless it is given. */
  readonly errors?: ErrorShape;
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
  readonly access?: Route["access"];
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly misfit?: Route["misfit"];
  readonly responses: RouteResponses;
  readonly errors?: ErrorShape;
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
    access: definition.access ?? "caller",
    params: definition.params ?? NOTHING,
    query: definition.query ?? NOTHING,
    body: definition.body ?? null,
    misfit: definition.misfit ?? "validation",
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
  const body = parseJsonBody(await raw.readBody());
  return { params, query, body: parsePart("body", route.body, body, route.misfit) };
}

function parsePart(where: string, schema: z.ZodType, value: unknown, misfit: Route["misfit"] = "validation"): unknown {
  const result = schema.safeParse(value);
  if (!result.success) throw validationError(where, result.error, misfit);
  return result.data;
}

// ---- answers

export function json(
  body: unknown,
  init: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Response {
  return rawJson(JSON.stringify(body), init);
}

/** For states, which may hold long texts: looking for them takes as long again as writing what has none. */
export function stateJson(body: unknown, init: { readonly headers?: Record<string, string> } = {}): Response {
  return answer(jsonBodyOf(body), init);
}

/** For JSON that is ready text already. */
export function rawJson(
  text: string,
  init: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Response {
  return answer(bodyOf(text), init);
}

function answer(
  body: string | ReadableStream<Uint8Array>,
  init: { readonly status?: number; readonly headers?: Record<string, string> },
): Response {
  return new Response(body, {
    status: init.status ?? 200,
    headers: { "content-type": "application/json", ...init.headers },
  });
}

export function noContent(status: 202 | 204 = 204, headers: Record<string, string> = {}): Response {
  return new Response(null, { status, headers });
}
