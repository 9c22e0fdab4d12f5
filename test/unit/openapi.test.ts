/** `/openapi.json` describes what the routes validate: the same bodies are accepted and refused by both. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { assistantRoutes } from "../../src/api/assistants.js";
import { type JsonSchema, openApiDocument } from "../../src/api/openapi.js";
import { queryBoolean, queryList } from "../../src/api/query.js";
import { type Route, route } from "../../src/api/route.js";
import { statelessRunRoutes } from "../../src/api/run-stateless.js";
import { runRoutes } from "../../src/api/runs.js";
import { pageOf } from "../../src/api/schemas.js";
import { stateRoutes } from "../../src/api/thread-state.js";
import { threadRoutes } from "../../src/api/threads.js";
import { GatewayError } from "../../src/core/errors.js";

const nothing = {} as never; // the handlers, which alone use what routes are given, are never called
const routes: readonly Route[] = [
  ...assistantRoutes(nothing),
  ...threadRoutes(nothing),
  ...stateRoutes(nothing),
  ...runRoutes(nothing),
  ...statelessRunRoutes(nothing),
];
const document = openApiDocument(routes, "1.2.3");

const answered = async (): Promise<Response> => new Response();

describe("a route's description", () => {
  const Named = z.object({ name: z.string() }).meta({ id: "Named" });
  const described = openApiDocument(
    [
      route({
        method: "get",
        path: "/things/{thing_id}",
        summary: "Get a thing",
        tag: "things",
        params: z.object({ thing_id: z.string().max(5) }),
        query: z.object({ deep: queryBoolean(false), include: queryList(z.enum(["a", "b"])) }),
        responses: { 200: Named },
        handle: answered,
      }),
      route({
        method: "post",
        path: "/things",
        summary: "Find things",
        tag: "things",
        body: z.object({ like: Named.nullish() }),
        responses: { 200: pageOf(Named), 204: "nothing" },
        handle: answered,
      }),
      route({
        method: "get",
        path: "/text",
        summary: "Get text",
        tag: "texts",
        responses: { 200: { description: "words", contentType: "text/plain" } },
        handle: answered,
      }),
    ],
    "1.2.3",
  );

  it("has its parameters as they are read, with their defaults", () => {
    expect(described.paths["/things/{thing_id}"]?.get?.parameters).toEqual([
      { name: "thing_id", in: "path", required: true, schema: { type: "string", maxLength: 5 } },
      { name: "deep", in: "query", required: false, schema: { type: "boolean", default: false } },
      {
        name: "include",
        in: "query",
        required: false,
        schema: { type: "array", items: { type: "string", enum: ["a", "b"] } },
      },
    ]);
  });

  it("refers to a schema with an id, which is a component", () => {
    expect(described.components.schemas).toMatchObject({
      Named: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
      Error: { type: "object", required: ["detail", "code"] },
    });
    const { requestBody, responses } = described.paths["/things"]?.post ?? {};
    expect(requestBody).toEqual({
      required: false,
      content: {
        "application/json": {
          schema: {
            type: "object",
            properties: { like: { anyOf: [{ $ref: "#/components/schemas/Named" }, { type: "null" }] } },
          },
        },
      },
    });
    expect(responses?.[200]).toMatchObject({
      headers: { "x-pagination-total": { schema: { type: "string" } }, "x-request-id": {} },
      content: { "application/json": { schema: { type: "array", items: { $ref: "#/components/schemas/Named" } } } },
    });
    expect(responses?.[204]).not.toHaveProperty("content");
    expect(responses?.["4XX"]).toEqual({ $ref: "#/components/responses/Error" });
  });

  it("names the media type of a body that is not JSON", () => {
    expect(described.paths["/text"]?.get?.responses[200]).toMatchObject({
      description: "words",
      content: { "text/plain": { schema: { type: "string" } } },
    });
  });

  it("is refused when two schemas have one id", () => {
    const other = z.object({ other: z.number() }).meta({ id: "Other" });
    const twice = (schema: z.ZodType): Route =>
      route({
        method: "post",
        path: "/p",
        summary: "s",
        tag: "t",
        body: schema,
        responses: { 200: schema },
        handle: answered,
      });
    const withDefault = z.object({ n: z.number().default(1) }).meta({ id: "Differs" });
    expect(() => openApiDocument([twice(other)], "1")).not.toThrow();
    expect(() => openApiDocument([twice(withDefault)], "1")).toThrow("Differs");
  });
});

/** `z.fromJSONSchema` reads one schema at a time. */
function resolved(schema: unknown, depth = 0): unknown {
  if (depth > 30) return {};
  if (Array.isArray(schema)) return schema.map((item) => resolved(item, depth + 1));
  if (typeof schema !== "object" || schema === null) return schema;
  const { $ref: ref } = schema as { $ref?: string };
  if (ref !== undefined) return resolved(document.components.schemas[ref.split("/").at(-1) ?? ""], depth + 1);
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(value, depth + 1)]));
}

function namesIn(schema: unknown, names: Set<string>): Set<string> {
  if (Array.isArray(schema)) for (const item of schema) namesIn(item, names);
  else if (typeof schema === "object" && schema !== null) {
    for (const [key, value] of Object.entries(schema)) {
      if (key === "properties") for (const name of Object.keys(value as object)) names.add(name);
      if (key === "enum" || key === "const") for (const word of [value].flat()) names.add(String(word));
      namesIn(value, names);
    }
  }
  return names;
}

/** Bodies that look like requests: the schema's own words in places right and wrong. */
function bodies(schema: JsonSchema): fc.Arbitrary<unknown> {
  const words = [...namesIn(schema, new Set()), "agent", "", "a/b", "1ef00000-0000-6000-8000-000000000000"];
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, 0, 1, 1.5, -1, 1_001, 1e9),
      fc.constantFrom(...words),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...words), tie("value"), { maxKeys: 4 }),
    ),
  }));
  const names = Object.keys((schema.properties as object | undefined) ?? {});
  const required = Object.fromEntries(((schema.required ?? []) as string[]).map((name) => [name, "agent"]));
  const members = fc.dictionary(fc.constantFrom(...names, "other"), value, { maxKeys: 5 });
  const request = fc
    .tuple(members, fc.boolean())
    .map(([given, isWhole]) => (isWhole ? { ...required, ...given } : given));
  return fc.oneof({ arbitrary: request, weight: 9 }, value);
}

function accepts(schema: z.ZodType, body: unknown): boolean {
  try {
    return schema.safeParse(body).success;
  } catch (error) {
    if (error instanceof GatewayError && error.code === "unsupported") return true; // said in words, not by the schema
    throw error;
  }
}

const withBody = routes.flatMap((each) => {
  const schema = document.paths[each.path]?.[each.method]?.requestBody?.content["application/json"]?.schema;
  return each.body === null || schema === undefined || schema.type === "array"
    ? []
    : [{ name: `${each.method} ${each.path}`, body: each.body, schema: resolved(schema) as JsonSchema }];
});

describe("a body is accepted by the document exactly when the route accepts it", () => {
  it.each(withBody)("$name", ({ body, schema }) => {
    const documented = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
    fc.assert(
      fc.property(bodies(schema), (value) => {
        expect({ value, accepted: documented.safeParse(value).success }).toEqual({
          value,
          accepted: accepts(body, value),
        });
      }),
      { numRuns: 300 },
    );
  });
});
