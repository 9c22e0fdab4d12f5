/**
 * One store operation, checked and in the form that the database needs. Pure: whatever is wrong with an operation is
 * said before anything is written, and what is stored is the value as it was when the operation was asked for.
 */
import type { ListNamespacesOperation, MatchCondition, Operation } from "@langchain/langgraph-checkpoint";
import { invalid, unsupported } from "../core/errors.js";
import { type GetItem, keyProblem, type PutItem, type SearchItems } from "../core/items.js";
import { toJson, toPlain } from "../core/json.js";
import type { JsonObject } from "../core/model.js";
import { type ItemCondition, parseItemFilter } from "./item-filter.js";
import {
  checkConditions,
  encodeItemNamespace,
  type NamespaceRange,
  rangeOfConditions,
  rangeUnder,
} from "./item-namespace.js";
import { textsAt } from "./item-texts.js";

export interface ItemAddress {
  /** Encoded. */
  readonly namespace: string;
  readonly key: string;
}

export interface ItemGet extends ItemAddress {
  readonly kind: "get";
  readonly refreshTtl: boolean | undefined;
}

export interface ItemPut extends ItemAddress {
  readonly kind: "put";
  /** JSON text of an object. */
  readonly value: string;
  readonly ttlMinutes: number | null | undefined;
  /** What the put says about indexing; null: nothing. */
  readonly index: readonly string[] | false | null;
  /** What of the value is embedded; null where items are not indexed. */
  readonly texts: readonly string[] | null;
}

export interface ItemDelete extends ItemAddress {
  readonly kind: "delete";
}

export interface ItemSearch {
  readonly kind: "search";
  readonly range: NamespaceRange;
  readonly conditions: readonly ItemCondition[];
  readonly limit: number;
  readonly offset: number;
  readonly refreshTtl: boolean | undefined;
  /** What the items are ranked by; null: by when they were updated. */
  readonly query: string | null;
}

export interface NamespaceListing {
  readonly kind: "list";
  readonly range: NamespaceRange;
  readonly conditions: readonly MatchCondition[];
  readonly maxDepth: number | undefined;
  readonly limit: number;
  readonly offset: number;
}

export type ItemOperation = ItemGet | ItemPut | ItemDelete | ItemSearch | NamespaceListing;

/** The paths that are indexed unless a put names others; null: items are not indexed. */
export type IndexFields = readonly string[] | null;

/** Told apart as LangGraph's own stores do; throws for anything that would not be done as asked. */
export function parseItemOperation(operation: Operation, fields: IndexFields): ItemOperation {
  if ("namespacePrefix" in operation) return parseSearch(operation, fields);
  if ("value" in operation) return parsePut(operation, fields);
  if ("key" in operation) return parseGet(operation);
  if ("matchConditions" in operation || "limit" in operation) return parseListing(operation);
  throw invalid(`unknown store operation with members ${Object.keys(operation).join(", ")}`);
}

function parseGet(operation: GetItem): ItemGet {
  return { kind: "get", ...parseAddress(operation), refreshTtl: operation.refreshTtl };
}

function parsePut(operation: PutItem, fields: IndexFields): ItemPut | ItemDelete {
  const address = parseAddress(operation);
  if (operation.value === null) return { kind: "delete", ...address };
  const index = parseIndex(operation.index);
  if (index !== false && index !== null && fields === null) throw unsupported("index", NOT_INDEXED);
  const { ttlMinutes } = operation;
  if (ttlMinutes !== undefined && ttlMinutes !== null && !(Number.isFinite(ttlMinutes) && ttlMinutes > 0)) {
    throw invalid(`ttl: expected minutes greater than 0, or null; got ${String(ttlMinutes)}`);
  }
  const value = parseValue(operation.value);
  const paths = index ?? fields;
  const texts = fields === null ? null : paths === false || paths === null ? [] : textsAt(value, paths);
  return { kind: "put", ...address, value: toJson(value), ttlMinutes, index, texts };
}

const NOT_INDEXED = "items are not indexed here: configure store.index";

function parseIndex(index: unknown): ItemPut["index"] {
  if (index === undefined || index === null) return null;
  if (index === false) return false;
  if (Array.isArray(index) && index.every((path) => typeof path === "string")) return [...index];
  throw invalid("index: expected false or a list of paths");
}

function parseSearch(operation: SearchItems, fields: IndexFields): ItemSearch {
  const { namespacePrefix, filter, limit, offset, query, refreshTtl } = operation;
  // An empty query is none, as for LangGraph's own stores.
  if (query && fields === null) throw unsupported("query", `${NOT_INDEXED}, or use filter`);
  if (query && typeof query !== "string") throw invalid("query: expected a text");
  return {
    kind: "search",
    range: rangeUnder(namespacePrefix),
    conditions: parseItemFilter(filter),
    limit: parseCount("limit", limit ?? 10, 0),
    offset: parseCount("offset", offset ?? 0, 0),
    refreshTtl,
    query: query || null,
  };
}

function parseListing(operation: ListNamespacesOperation): NamespaceListing {
  const conditions = checkConditions(operation.matchConditions ?? []);
  const { maxDepth } = operation;
  return {
    kind: "list",
    range: rangeOfConditions(conditions),
    conditions,
    maxDepth: maxDepth === undefined ? undefined : parseCount("maxDepth", maxDepth, 1),
    limit: parseCount("limit", operation.limit ?? 100, 0),
    offset: parseCount("offset", operation.offset ?? 0, 0),
  };
}

function parseAddress(operation: { readonly namespace: string[]; readonly key: string }): ItemAddress {
  const namespace = encodeItemNamespace(operation.namespace);
  const problem = keyProblem(operation.key);
  if (problem !== undefined) throw invalid(problem);
  return { namespace, key: operation.key };
}

function parseValue(value: unknown): JsonObject {
  const plain = toPlain(value);
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) {
    throw invalid("the value of a store item must be an object, or null to delete the item");
  }
  return plain as JsonObject; // checked above
}

function parseCount(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw invalid(`${name}: expected an integer of at least ${least}, got ${String(value)}`);
}
