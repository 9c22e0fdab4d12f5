/**
 * Store items over HTTP, on the same `BaseStore` that graphs get.
 *
 * Namespaces come as lists of labels; in a query also joined by periods, which no label may contain.
 */
import type { BaseStore, Item } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import { badRequest, notFound } from "../core/errors.js";
import {
  type GetItem,
  itemNamespaceProblem,
  keyProblem,
  labelsProblem,
  type PutItem,
  type SearchItems,
} from "../core/items.js";
import { queryBoolean } from "./query.js";
import { json, noContent, type Route, route } from "./route.js";
import { jsonObject, limit, offset } from "./schemas.js";

export interface StoreRoutesDeps {
  readonly items: BaseStore;
}

export function storeRoutes({ items }: StoreRoutesDeps): Route[] {
  return [putItem(items), getItem(items), deleteItem(items), searchItems(items), listNamespaces(items)];
}

function putItem(items: BaseStore): Route {
  return route({
    method: "put",
    path: "/store/items",
    summary: "Store or replace an item",
    tag: "Store",
    body: z.object({
      namespace: itemNamespace,
      key: itemKey,
      value: jsonObject,
      index: z.union([z.literal(false), z.array(z.string())]).nullish(),
      ttl: z.number().positive().nullish(),
    }),
    responses: { 204: "Stored" },
    handle: async ({ body: { namespace, key, value, index, ttl } }) => {
      const put: PutItem = { namespace: required(namespace), key, value, index: index ?? undefined, ttlMinutes: ttl };
      await items.batch([put]);
      return noContent();
    },
  });
}

function getItem(items: BaseStore): Route {
  return route({
    method: "get",
    path: "/store/items",
    summary: "Get an item",
    tag: "Store",
    query: z.object({
      namespace: z.array(z.string()).transform(readNamespace).pipe(itemNamespace),
      key: z
        .array(z.string())
        .transform((values) => values.at(-1))
        .pipe(itemKey),
      refresh_ttl: queryFlag,
    }),
    responses: { 200: itemSchema, 404: "No such item" },
    handle: async ({ query: { namespace, key, refresh_ttl } }) => {
      const get: GetItem = { namespace: required(namespace), key, refreshTtl: refresh_ttl };
      const [item] = await items.batch<[GetItem]>([get]);
      if (item === null) throw notFound("item", key);
      return json(itemOnWire(item));
    },
  });
}

function deleteItem(items: BaseStore): Route {
  return route({
    method: "delete",
    path: "/store/items",
    summary: "Delete an item",
    tag: "Store",
    body: z.object({ namespace: itemNamespace, key: itemKey }),
    responses: { 204: "Gone" },
    handle: async ({ body: { namespace, key } }) => {
      await items.delete(required(namespace), key);
      return noContent();
    },
  });
}

function searchItems(items: BaseStore): Route {
  return route({
    method: "post",
    path: "/store/items/search",
    summary: "Search items under a namespace prefix",
    tag: "Store",
    body: z.object({
      namespace_prefix: labels,
      filter: jsonObject.nullish(),
      query: z.string().nullish(),
      refresh_ttl: z.boolean().nullish(),
      limit: limit(10),
      offset,
    }),
    responses: { 200: z.object({ items: z.array(itemSchema.extend({ score: z.number().nullable() })) }) },
    handle: async ({ body }) => {
      const search: SearchItems = {
        namespacePrefix: body.namespace_prefix,
        filter: body.filter ?? undefined,
        query: body.query ?? undefined,
        refreshTtl: body.refresh_ttl ?? undefined,
        limit: body.limit,
        offset: body.offset,
      };
      const [found] = await items.batch<[SearchItems]>([search]);
      return json({ items: found.map((item) => ({ ...itemOnWire(item), score: item.score ?? null })) });
    },
  });
}

function listNamespaces(items: BaseStore): Route {
  return route({
    method: "post",
    path: "/store/namespaces",
    summary: "List the namespaces that hold items",
    tag: "Store",
    body: z.object({
      prefix: labels.nullish(),
      suffix: labels.nullish(),
      max_depth: z.int().positive().nullish(),
      limit: limit(100),
      offset,
    }),
    responses: { 200: z.object({ namespaces: z.array(z.array(z.string())) }) },
    handle: async ({ body }) => {
      const namespaces = await items.listNamespaces({
        prefix: body.prefix ?? undefined,
        suffix: body.suffix ?? undefined,
        maxDepth: body.max_depth ?? undefined,
        limit: body.limit,
        offset: body.offset,
      });
      return json({ namespaces });
    },
  });
}

// ---- the parts

const labels = z.array(z.string()).superRefine(refuseBy(labelsProblem));

/** An empty list passes: `required` answers it with 400, as the Platform does. */
const itemNamespace = z
  .array(z.string())
  .superRefine(refuseBy((given) => (given.length === 0 ? undefined : itemNamespaceProblem(given))));

const itemKey = z.string().superRefine(refuseBy(keyProblem));

const itemSchema = z.object({
  namespace: z.array(z.string()),
  key: z.string(),
  value: jsonObject,
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
});

/** Absent: as the configuration says. */
const queryFlag = z
  .array(z.string())
  .transform((values): unknown => values)
  .pipe(queryBoolean(true))
  .optional();

function refuseBy<T>(problemOf: (given: T) => string | undefined): (given: T, context: z.RefinementCtx<T>) => void {
  return (given, context) => {
    const message = problemOf(given);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  };
}

function required(namespace: string[]): string[] {
  if (namespace.length === 0) throw badRequest("the namespace is empty");
  return namespace;
}

/** Repeated parameters, a JSON list of labels in one, or labels joined by periods. */
function readNamespace(values: readonly string[]): string[] {
  const [text, ...more] = values;
  if (text === undefined || more.length > 0) return [...values];
  if (text === "") return [];
  return readJsonLabels(text) ?? text.split(".");
}

function readJsonLabels(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    return z.array(z.string()).safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // a label that begins with a bracket
  }
}

function itemOnWire({ namespace, key, value, createdAt, updatedAt }: Item): z.output<typeof itemSchema> {
  return { namespace, key, value, created_at: createdAt.toISOString(), updated_at: updatedAt.toISOString() };
}
