/**
 * The statements of the item store, each inside its caller's transaction. For all of them an expired item does not exist,
 * whether it has been swept or not; a put over one makes a new item.
 */
import type { Item, SearchItem } from "@langchain/langgraph-checkpoint";
import { type Expression, type ExpressionBuilder, type Selectable, type SqlBool, sql, type Transaction } from "kysely";
import type { ItemTtlConfig } from "../core/items.js";
import type { JsonObject } from "../core/model.js";
import type { Schema } from "./database.js";
import { decodeNamespace, meetsCondition, type NamespaceRange } from "./item-namespace.js";
import type { ItemAddress, ItemGet, ItemPut, ItemSearch, NamespaceListing } from "./item-operation.js";

/** What one batch runs in. */
export interface ItemScope {
  readonly transaction: Transaction<Schema>;
  /** Epoch milliseconds, the same for all of the batch. */
  readonly now: number;
  readonly ttl: ItemTtlConfig;
}

type Row = Selectable<Schema["items"]>;
type Where = (builder: ExpressionBuilder<Schema, "items">) => Expression<SqlBool>;

const MINUTE_MS = 60_000;
const LISTING_CHUNK = 500;

export async function getItem(scope: ItemScope, { refreshTtl, ...address }: ItemGet): Promise<Item | null> {
  const row = await scope.transaction
    .selectFrom("items")
    .selectAll()
    .where(at(address))
    .where(isLive(scope.now))
    .executeTakeFirst();
  if (row === undefined) return null;
  await refreshExpiry(scope, [row], refreshTtl);
  return toItem(row);
}

/** The last updated first. */
export async function searchItems(scope: ItemScope, search: ItemSearch): Promise<SearchItem[]> {
  let query = scope.transaction.selectFrom("items").selectAll().where(isWithin(search.range)).where(isLive(scope.now));
  if (search.conditions.length > 0) {
    query = query.where(sql<SqlBool>`item_matches(value, ${JSON.stringify(search.conditions)})`);
  }
  const rows = await query
    .orderBy("updated_at", "desc")
    .orderBy("namespace")
    .orderBy("key")
    .limit(search.limit)
    .offset(search.offset)
    .execute();
  await refreshExpiry(scope, rows, search.refreshTtl);
  return rows.map(toItem);
}

/** `created_at` stays that of the item it replaces, unless that has expired. */
export async function putItem(scope: ItemScope, { namespace, key, value, ttlMinutes }: ItemPut): Promise<void> {
  const { transaction, now } = scope;
  const minutes = ttlMinutes === undefined ? scope.ttl.defaultTtlMinutes : ttlMinutes;
  const change = { value, updated_at: now, ttl_minutes: minutes, expires_at: expiryOf(minutes, now) };
  await transaction
    .insertInto("items")
    .values({ namespace, key, created_at: now, ...change })
    .onConflict((conflict) =>
      conflict.columns(["namespace", "key"]).doUpdateSet({
        ...change,
        created_at: (builder) =>
          builder
            .case()
            .when("items.expires_at", "<=", now)
            .then(builder.ref("excluded.created_at"))
            .else(builder.ref("items.created_at"))
            .end(),
      }),
    )
    .execute();
}

export async function deleteItem({ transaction }: ItemScope, address: ItemAddress): Promise<void> {
  await transaction.deleteFrom("items").where(at(address)).execute();
}

/**
 * In the order of the encoded names. Reads the index in chunks and stops when the page is full: suffixes, wildcards and
 * depths are judged here, because no index knows them.
 */
export async function listNamespaces(scope: ItemScope, listing: NamespaceListing): Promise<string[][]> {
  const { conditions, maxDepth, offset, limit } = listing;
  const found = new Map<string, string[]>();
  let last: string | null = null;
  while (found.size < offset + limit) {
    const chunk: string[] = await namespacesAfter(scope, listing.range, last);
    for (const labels of chunk.map(decodeNamespace)) {
      if (!conditions.every((condition) => meetsCondition(labels, condition))) continue;
      const shown = labels.slice(0, maxDepth);
      found.set(shown.join("."), shown);
    }
    last = chunk.at(-1) ?? null;
    if (chunk.length < LISTING_CHUNK) break;
  }
  return [...found.values()].slice(offset, offset + limit);
}

/** Deletes up to `limit` expired items; returns how many. */
export async function sweepItems({ transaction, now }: ItemScope, limit: number): Promise<number> {
  const expired = transaction
    .selectFrom("items")
    .select(["namespace", "key"])
    .where("expires_at", "<=", now)
    .limit(limit);
  const result = await transaction
    .deleteFrom("items")
    .where(({ eb, refTuple }) => eb(refTuple("namespace", "key"), "in", expired.$asTuple("namespace", "key")))
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

async function namespacesAfter(scope: ItemScope, range: NamespaceRange, last: string | null): Promise<string[]> {
  const rows = await scope.transaction
    .selectFrom("items")
    .select("namespace")
    .distinct()
    .where(isWithin(range))
    .where((builder) => (last === null ? builder.lit(true) : builder("namespace", ">", last)))
    .where(isLive(scope.now))
    .orderBy("namespace")
    .limit(LISTING_CHUNK)
    .execute();
  return rows.map(({ namespace }) => namespace);
}

async function refreshExpiry(scope: ItemScope, rows: readonly Row[], refreshTtl: boolean | undefined): Promise<void> {
  if (!(refreshTtl ?? scope.ttl.refreshOnRead)) return;
  for (const { namespace, key, ttl_minutes } of rows) {
    if (ttl_minutes === null) continue;
    const expires_at = expiryOf(ttl_minutes, scope.now);
    await scope.transaction.updateTable("items").set({ expires_at }).where(at({ namespace, key })).execute();
  }
}

function at({ namespace, key }: ItemAddress): Where {
  return (builder) => builder.and({ namespace, key });
}

function isWithin({ from, to }: NamespaceRange): Where {
  return (builder) => {
    const bounds = [
      ...(from === null ? [] : [builder("namespace", ">=", from)]),
      ...(to === null ? [] : [builder("namespace", "<", to)]),
    ];
    return builder.and(bounds);
  };
}

function isLive(now: number): Where {
  return (builder) => builder.or([builder("expires_at", "is", null), builder("expires_at", ">", now)]);
}

function expiryOf(ttlMinutes: number | null, now: number): number | null {
  return ttlMinutes === null ? null : Math.min(Math.ceil(now + ttlMinutes * MINUTE_MS), Number.MAX_SAFE_INTEGER);
}

function toItem(row: Row): Item {
  return {
    namespace: decodeNamespace(row.namespace),
    key: row.key,
    value: JSON.parse(row.value) as JsonObject, // putItem writes objects only
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  };
}
