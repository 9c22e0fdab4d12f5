/** `/openapi.json`, generated from the schemas that validate requests. */
import { z } from "zod";
import type { Route } from "./route.js";
import { errorBody } from "./schemas.js";

type JsonSchema = Record<string, unknown>;

/** The OpenAPI 3.1 document of `routes`. `version` is heddle's. */
export function openApiDocument(routes: readonly Route[], version: string): JsonSchema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "heddle", version, description: "The LangGraph Platform API, self-hosted" },
    paths,
  };
}

function operation(route: Route): JsonSchema {
  return {
    operationId: `${route.method}_${route.path.replace(/[^a-z0-9]+/gi, "_").replace(/^_|_$/g, "")}`,
    summary: route.summary,
    tags: [route.tag],
    parameters: [...parameters("path", route.params), ...parameters("query", route.query)],
    ...(route.body === null
      ? {}
      : {
          requestBody: {
            required: requiresBody(route.body),
            content: { "application/json": { schema: schemaOf(route.body, "input") } },
          },
        }),
    responses: {
      ...Object.fromEntries(Object.entries(route.responses).map(([status, body]) => [status, response(body)])),
      "4XX": {
        description: "What is wrong with the request",
        content: { "application/json": { schema: schemaOf(errorBody, "output") } },
      },
    },
  };
}

function response(body: z.ZodType | string): JsonSchema {
  if (typeof body === "string") return { description: body };
  return { description: "OK", content: { "application/json": { schema: schemaOf(body, "output") } } };
}

function parameters(place: "path" | "query", schema: z.ZodObject): JsonSchema[] {
  return Object.entries(schema.shape).map(([name, part]) => ({
    name,
    in: place,
    required: place === "path",
    // Query values are lists of strings before they are read: what they are read as is what a caller means.
    schema: schemaOf(part as z.ZodType, place === "query" ? "output" : "input"),
  }));
}

function requiresBody(schema: z.ZodType): boolean {
  return !schema.safeParse({}).success;
}

/** Named schemas are inlined, so that the document needs no references between operations. */
function schemaOf(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any", reused: "inline" });
  return rest;
}
