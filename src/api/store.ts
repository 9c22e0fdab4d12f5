/**
 * Store items over HTTP, on the same `BaseStore` that graphs get.
 *
 * Namespaces come as lists of labels; in a query also joined by periods, which no label may contain.
 */
import type { Item } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import type { PerCaller } from "../core/caller.js";
import { badRequest } from "../core/errors.js";
import {
  type GetItem,
  itemNamespaceProblem,
  keyProblem,
  labelsProblem,
  type PutItem,
  type SearchItems,
} from "../core/items.js";
import type { ItemService } from "../items/items.js";
import { queryBoolean } from "./query.js";
import { json, noContent, type Route, route } from "./route.js";
import { jsonObject, limit, offset, smallObject } from "./schemas.js";

export interface StoreRoutesDeps {
  readonly items: PerCaller<ItemService>;
}

export function storeRoutes({ items }: StoreRoutesDeps): Route[] {
  return [putItem(items), getItem(items), deleteItem(items), searchItems(items), listNamespaces(items)];
}

function putItem(items: PerCaller<ItemService>): Route {
  return route({
    method: "put",
    path: "/store/items",
    summary: "Store or replace an item",
    tag: "Store",
    body: z.object({
      namespace: itemNamespace,
      key: itemKey,
      value: jsonObject,
      index: z.union([z.literal(false), z.array(z.string().max(1_024)).max(1_000)]).nullish(),
      ttl: z.number().positive().max(1e9).nullish(),
    }),
    responses: { 204: "Stored" },
    handle: async ({ caller, body: { namespace, key, value, index, ttl } }) => {
      const put: PutItem = { namespace: required(namespace), key, value, index: index ?? undefined, ttlMinutes: ttl };
      await items.as(caller).put(put);
      return noContent();
    },
  });
}

function getItem(items: PerCaller<ItemService>): Route {
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
    handle: async ({ caller, query: { namespace, key, refresh_ttl } }) => {
      const get: GetItem = { namespace: required(namespace), key, refreshTtl: refresh_ttl };
      return json(itemOnWire(await items.as(caller).get(get)));
    },
  });
}

function deleteItem(items: PerCaller<ItemService>): Route {
  return route({
    method: "delete",
    path: "/store/items",
    summary: "Delete an item",
    tag: "Store",
    body: z.object({ namespace: itemNamespace, key: itemKey }),
    responses: { 204: "Gone" },
    handle: async ({ caller, body: { namespace, key } }) => {
      await items.as(caller).remove(required(namespace), key);
      return noContent();
    },
  });
}

function searchItems(items: PerCaller<ItemService>): Route {
  return route({
    method: "post",
    path: "/store/items/search",
    summary: "Search items under a namespace prefix",
    tag: "Store",
    body: z.object({
      namespace_prefix: labels,
      filter: smallObject.nullish(),
      query: z.string().max(65_536).nullish(),
      refresh_ttl: z.boolean().nullish(),
      limit: limit(10),
      offset,
    }),
    responses: { 200: z.object({ items: z.array(itemSchema.extend({ score: z.number().nullable() })) }) },
    handle: async ({ body, caller }) => {
      const search: SearchItems = {
        namespacePrefix: body.namespace_prefix,
        filter: body.filter ?? undefined,
        query: body.query ?? undefined,
        refreshTtl: body.refresh_ttl ?? undefined,
        limit: body.limit,
        offset: body.offset,
      };
      const found = await items.as(caller).search(search);
      return json({ items: found.map((item) => ({ ...itemOnWire(item), score: item.score ?? null })) });
    },
  });
}

function listNamespaces(items: PerCaller<ItemService>): Route {
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
    handle: async ({ body, caller }) => {
      const namespaces = await items.as(caller).listNamespaces({
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

const MAX_LABELS = 100;
const labelList = z.array(z.string().max(512)).max(MAX_LABELS);
const labels = labelList.superRefine(refuseBy(labelsProblem));

/** An empty list passes: `required` answers it with 400, as the Platform does. */
const itemNamespace = labelList.superRefine(
  refuseBy((given) => (given.length === 0 ? undefined : itemNamespaceProblem(given))),
);

const itemKey = z.string().max(1_024).superRefine(refuseBy(keyProblem));

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
