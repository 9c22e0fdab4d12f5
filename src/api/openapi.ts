/**
 * `/openapi.json`, generated from the schemas that validate requests: what it describes is what is accepted.
 *
 * Schemas with an id become components, everything else stands where it is used. Bodies are described as clients send
 * them, query parameters as what their spellings are read as.
 */
import { z } from "zod";
import type { ResponseDescription, Route, RouteResponses } from "./route.js";
import { errorBody } from "./schemas.js";

export type JsonSchema = { readonly [key: string]: unknown };

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly required: boolean;
  readonly schema: JsonSchema;
}

export interface Content {
  readonly [mediaType: string]: { readonly schema: JsonSchema };
}

export interface ResponseHeaders {
  readonly [name: string]: { readonly $ref: string } | { readonly description: string; readonly schema: JsonSchema };
}

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly required: boolean; readonly content: Content };
  readonly responses: {
    readonly [status: string]:
      | { readonly $ref: string }
      | { readonly description: string; readonly headers: ResponseHeaders; readonly content?: Content };
  };
}

export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string }[];
  readonly paths: { readonly [path: string]: { readonly [method: string]: Operation } };
  readonly components: {
    readonly schemas: { readonly [name: string]: JsonSchema };
    readonly headers: JsonSchema;
    readonly responses: JsonSchema;
  };
}

/** The OpenAPI 3.1 document of `routes`. `version` is heddle's. */
export function openApiDocument(routes: readonly Route[], version: string): OpenApiDocument {
  const schemas = createSchemas();
  const paths: Record<string, Record<string, Operation>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(route, schemas) };
  }
  const error = { "application/json": { schema: schemas.describe(errorBody, "output") } };
  return {
    openapi: "3.1.0",
    info: { title: "heddle", version, description: "The LangGraph Platform API, self-hosted." },
    servers: [{ url: "./" }], // relative to the document, which every base path serves
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: schemas.components,
      headers: {
        "x-request-id": { description: "Of the request if it had one; also in the log", schema: { type: "string" } },
      },
      responses: { Error: { description: "What is wrong", headers: REQUEST_ID, content: error } },
    },
  };
}

const REQUEST_ID = { "x-request-id": { $ref: "#/components/headers/x-request-id" } };
const ERROR = { $ref: "#/components/responses/Error" };

function operation(route: Route, schemas: Schemas): Operation {
  const { body } = route;
  return {
    operationId: `${route.method}_${route.path.replace(/[^a-z0-9]+/gi, "_").replace(/^_|_$/g, "")}`,
    summary: route.summary,
    tags: [route.tag],
    parameters: [...parameters("path", route.params, schemas), ...parameters("query", route.query, schemas)],
    ...(body === null
      ? {}
      : {
          requestBody: {
            required: !body.safeParse({}).success,
            content: { "application/json": { schema: schemas.describe(body, "input") } },
          },
        }),
    responses: { ...responses(route.responses, schemas), ...errors(route, schemas) },
  };
}

function errors({ errors: shape }: Route, schemas: Schemas): Operation["responses"] {
  if (shape === undefined) return { "4XX": ERROR, "5XX": ERROR };
  const content = { "application/json": { schema: schemas.describe(shape.schema, "output") } };
  const own = { description: "What is wrong", headers: REQUEST_ID, content };
  return { "4XX": own, "5XX": own };
}

function parameters(place: "path" | "query", schema: z.ZodObject, schemas: Schemas): Parameter[] {
  return Object.entries(schema.shape).map(([name, part]) => ({
    name,
    in: place,
    required: place === "path",
    schema: schemas.describe(part as z.ZodType, place === "query" ? "output" : "input"),
  }));
}

function responses(described: RouteResponses, schemas: Schemas): Operation["responses"] {
  const entries = Object.entries(described).map(([status, given]) => {
    const { description, schema, contentType, headers = {} } = toDescription(given);
    const described = Object.entries(headers).map(([name, text]) => [
      name,
      { description: text, schema: { type: "string" } },
    ]);
    const body = schema === undefined ? { type: "string" } : schemas.describe(schema, "output");
    const mediaType = contentType ?? (schema === undefined ? undefined : "application/json");
    return [
      status,
      {
        description,
        headers: { ...REQUEST_ID, ...Object.fromEntries(described) },
        ...(mediaType === undefined ? {} : { content: { [mediaType]: { schema: body } } }),
      },
    ];
  });
  return Object.fromEntries(entries);
}

function toDescription(given: RouteResponses[number]): ResponseDescription {
  if (typeof given === "string") return { description: given };
  return given instanceof z.ZodType ? { description: "OK", schema: given } : given;
}

interface Schemas {
  readonly components: { readonly [name: string]: JsonSchema };
  /** JSON Schema of a zod schema; what has an id in it joins the components. */
  describe(schema: z.ZodType, io: "input" | "output"): JsonSchema;
}

function createSchemas(): Schemas {
  const components: Record<string, JsonSchema> = {};
  return {
    components,
    describe(schema, io) {
      const described = z.toJSONSchema(schema, { io, unrepresentable: "any", override: plain });
      const { $schema: _dialect, $defs = {}, ...rest } = withComponentRefs(described);
      for (const [name, component] of Object.entries($defs as Record<string, JsonSchema>)) {
        const known = components[name];
        if (known !== undefined && JSON.stringify(known) !== JSON.stringify(component)) {
          throw new Error(`two schemas have the id ${name}`);
        }
        components[name] = component;
      }
      return rest;
    },
  };
}

function withComponentRefs(schema: object): JsonSchema {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/')) as JsonSchema;
}

/** Says defaults that a transformation applies, and lets answers have more members than are described. */
function plain({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodTypes;
  jsonSchema: z.core.JSONSchema.BaseSchema;
}): void {
  const meta = z.globalRegistry.get(zodSchema);
  if (meta !== undefined && "default" in meta) Object.assign(jsonSchema, { default: meta.default });
  if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern; // they say the same, and the pattern is long
  delete jsonSchema.propertyNames;
}
