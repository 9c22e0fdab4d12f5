/**
 * From the definition of a state to JSON Schema: `StateSchema` and zod 3 or 4 objects; anything else is `null`.
 *
 * An input or a context is described as it is given, before defaults and transforms; a state as it is held, after them.
 * What JSON cannot say, such as a date, is open (`{}`, or no property at all in a `StateSchema`).
 */
import { toJsonSchema } from "@langchain/core/utils/json_schema";
import { type InteropZodObject, isInteropZodObject, isZodSchemaV4 } from "@langchain/core/utils/types";
import type { schemaMetaRegistry } from "@langchain/langgraph/zod";
import { z } from "zod";
import { toPlain } from "../core/json.js";
import type { Json, JsonObject } from "../core/model.js";

export type SchemaRegistry = typeof schemaMetaRegistry;

/** What a definition is asked for: the state itself, an input, an input of any part of the state, a run's context. */
export type SchemaUse = "state" | "input" | "partial" | "context";

/**
 * The JSON Schema of a definition; `registry` knows the reducers and extras of zod fields. Null also for what cannot be
 * converted, so that one odd schema does not hide the others of its graph.
 */
export function definitionSchema(definition: unknown, use: SchemaUse, registry: SchemaRegistry): JsonObject | null {
  try {
    if (isStateSchema(definition)) {
      return tidy(rebaseFields(use === "state" ? definition.getJsonSchema() : definition.getInputJsonSchema()));
    }
    return isInteropZodObject(definition) ? tidy(fromZod(definition, use, registry)) : null;
  } catch {
    return null;
  }
}

interface StateSchemaLike {
  getJsonSchema(): object;
  getInputJsonSchema(): object;
}

function isStateSchema(value: unknown): value is StateSchemaLike {
  return typeof value === "object" && value !== null && "getJsonSchema" in value && "getInputJsonSchema" in value;
}

function fromZod(definition: InteropZodObject, use: SchemaUse, registry: SchemaRegistry): object {
  const extended = registry.getExtendedChannelSchemas(definition, {
    withJsonSchemaExtrasAsDescription: true,
    withReducerSchema: use === "input" || use === "partial",
    asPartial: use === "partial",
  });
  return isZodSchemaV4(extended) ? fromZod4(extended, use) : toJsonSchema(extended);
}

function fromZod4(schema: object, use: SchemaUse): object {
  // proven by the caller; zod converts the schemas of other copies of itself
  return z.toJSONSchema(schema as z.ZodType, {
    target: "draft-7",
    io: use === "state" ? "output" : "input",
    unrepresentable: "any",
  });
}

/** A `StateSchema` describes each field as a document of its own: their references get the field's place in the whole. */
function rebaseFields(schema: object): object {
  const { properties = {} } = schema as { properties?: Record<string, unknown> };
  const rebased = Object.entries(properties).map(([field, property]) => {
    const place = `#/properties/${encodeURIComponent(field.replaceAll("~", "~0").replaceAll("/", "~1"))}`;
    return [field, mapSchema(toPlain(property), (node) => rebase(node, place))];
  });
  return { ...schema, properties: Object.fromEntries(rebased) };
}

function rebase({ $schema: _, ...node }: JsonObject, place: string): JsonObject {
  return typeof node.$ref === "string" && node.$ref.startsWith("#")
    ? { ...node, $ref: place + node.$ref.slice(1) }
    : node;
}

/** Graphs ignore keys they do not know, so the root is open whatever the converter said. */
function tidy(schema: object): JsonObject {
  const { additionalProperties, ...root } = mapSchema(toPlain(schema), unfoldExtras) as JsonObject;
  return additionalProperties === undefined || additionalProperties === false
    ? root
    : { ...root, additionalProperties };
}

const EXTRAS = "lg:";

/** LangGraph's extras of a zod field (`langgraph_type`, …) travel as JSON in its description. */
function unfoldExtras(node: JsonObject): JsonObject {
  const { description, ...rest } = node;
  if (typeof description !== "string" || !description.startsWith(EXTRAS)) return node;
  try {
    return { ...rest, ...JSON.parse(description.slice(EXTRAS.length)) };
  } catch {
    return node; // a description of the author's that happens to begin so
  }
}

function mapSchema(schema: Json, change: (node: JsonObject) => JsonObject): Json {
  if (Array.isArray(schema)) return schema.map((item) => mapSchema(item, change));
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => [key, mapSchema(value, change)]);
  return change(Object.fromEntries(entries));
}
