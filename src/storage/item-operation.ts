/**
 * One store operation, checked and in the form that the database needs. Pure: whatever is wrong with an operation is
 * said before anything is written, and what is stored is the value as it was when the operation was asked for.
 */
import type { ListNamespacesOperation, MatchCondition, Operation } from "@langchain/langgraph-checkpoint";
import { invalid, unsupported } from "../core/errors.js";
import { type GetItem, keyProblem, type PutItem, type SearchItems } from "../core/items.js";
import { toJson, toPlain } from "../core/json.js";
import { type ItemCondition, parseItemFilter } from "./item-filter.js";
import {
  checkConditions,
  encodeItemNamespace,
  type NamespaceRange,
  rangeOfConditions,
  rangeUnder,
} from "./item-namespace.js";

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

/** Told apart as LangGraph's own stores do; throws for anything that would not be done as asked. */
export function parseItemOperation(operation: Operation): ItemOperation {
  if ("namespacePrefix" in operation) return parseSearch(operation);
  if ("value" in operation) return parsePut(operation);
  if ("key" in operation) return parseGet(operation);
  if ("matchConditions" in operation || "limit" in operation) return parseListing(operation);
  throw invalid(`unknown store operation with members ${Object.keys(operation).join(", ")}`);
}

function parseGet(operation: GetItem): ItemGet {
  return { kind: "get", ...parseAddress(operation), refreshTtl: operation.refreshTtl };
}

function parsePut(operation: PutItem): ItemPut | ItemDelete {
  const address = parseAddress(operation);
  if (operation.value === null) return { kind: "delete", ...address };
  if (Array.isArray(operation.index)) throw unsupported("index", "items are not indexed for semantic search yet");
  const { ttlMinutes } = operation;
  if (ttlMinutes !== undefined && ttlMinutes !== null && !(Number.isFinite(ttlMinutes) && ttlMinutes > 0)) {
    throw invalid(`ttl: expected minutes greater than 0, or null; got ${String(ttlMinutes)}`);
  }
  return { kind: "put", ...address, value: parseValue(operation.value), ttlMinutes };
}

function parseSearch(operation: SearchItems): ItemSearch {
  const { namespacePrefix, filter, limit, offset, query, refreshTtl } = operation;
  // An empty query is none, as for LangGraph's own stores.
  if (query) throw unsupported("query", "items are not indexed for semantic search yet; use filter");
  return {
    kind: "search",
    range: rangeUnder(namespacePrefix),
    conditions: parseItemFilter(filter),
    limit: parseCount("limit", limit ?? 10, 0),
    offset: parseCount("offset", offset ?? 0, 0),
    refreshTtl,
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

function parseValue(value: unknown): string {
  const plain = toPlain(value);
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) {
    throw invalid("the value of a store item must be an object, or null to delete the item");
  }
  return toJson(plain);
}

function parseCount(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw invalid(`${name}: expected an integer of at least ${least}, got ${String(value)}`);
}
