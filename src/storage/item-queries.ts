/**
 * The statements of the item store, each inside its caller's transaction. For all of them an expired item does not exist,
 * whether it has been swept or not; a put over one makes a new item.
 */
import type { Item, SearchItem } from "@langchain/langgraph-checkpoint";
import { type Selectable, type SqlBool, sql } from "kysely";
import type { ItemTtlConfig } from "../core/items.js";
import type { JsonObject } from "../core/model.js";
import {
  bytesOf,
  type Database,
  isPostgres,
  lockedUnlessHeld,
  type Moment,
  momentOf,
  type Schema,
} from "./database.js";
import { decodeNamespace, meetsCondition, type NamespaceRange } from "./item-namespace.js";
import type { ItemAddress, ItemGet, ItemPut, ItemSearch, NamespaceListing } from "./item-operation.js";
import { type ScoredItem, saveVectors } from "./item-vectors.js";
import { at, isLive, isWithin, meets } from "./item-where.js";

/** What one batch runs in. */
export interface ItemScope {
  readonly transaction: Database;
  /** Epoch milliseconds, the same for all of the batch. */
  readonly now: number;
  /** The same by the database's clock, for what is compared. */
  readonly moment: Moment;
  readonly ttl: ItemTtlConfig;
  /** Throws `validation` when what the batch has read so far and these items take too much. */
  measure(sizes: readonly number[]): void;
}

type Row = Selectable<Schema["items"]>;

const MINUTE_MS = 60_000;
const LISTING_CHUNK = 500;
/** Bounds how long one sweep holds the connection. */
export const ITEM_SWEEP_ROWS = 1_000;

export async function getItem(scope: ItemScope, { refreshTtl, ...address }: ItemGet): Promise<Item | null> {
  const row = await readItem(scope, address);
  if (row === undefined) return null;
  scope.measure([Buffer.byteLength(row.value)]);
  await refreshExpiry(scope, row, refreshTtl);
  return toItem(row);
}

/** The last updated first. */
export function searchItems(scope: ItemScope, search: ItemSearch): Promise<SearchItem[]> {
  return recentItems(scope, search, { limit: search.limit, offset: search.offset, without: null });
}

/**
 * One page of a search by meaning: `best` are the nearest items up to the end of the page, of `total` that have vectors of
 * the model. Behind them come those that have none, without a score. What was found is looked at again, because it was
 * found before this transaction began: an item that does not meet the search any more is not shown.
 */
export async function showNearest(
  scope: ItemScope,
  search: ItemSearch,
  { best, total, modelId }: { readonly best: readonly ScoredItem[]; readonly total: number; readonly modelId: number },
): Promise<SearchItem[]> {
  const page = best.slice(search.offset, search.offset + search.limit);
  const shown: SearchItem[] = [];
  for (const { score, ...address } of page) {
    const row = await measuredItem(scope, address, search);
    if (row === undefined) continue;
    await refreshExpiry(scope, row, search.refreshTtl);
    shown.push({ ...toItem(row), score });
  }
  const limit = search.limit - page.length;
  if (limit === 0) return shown;
  const offset = Math.max(0, search.offset - total);
  return [...shown, ...(await recentItems(scope, search, { limit, offset, without: modelId }))];
}

interface Part {
  readonly limit: number;
  readonly offset: number;
  /** Only those without vectors of this model; null: all. */
  readonly without: number | null;
}

/** Values are read one by one, when it is known what they take: sorting would copy all of them. */
async function recentItems(scope: ItemScope, search: ItemSearch, part: Part): Promise<SearchItem[]> {
  const found = await scope.transaction
    .selectFrom("items")
    .select(["namespace", "key", bytesOf(["value"]).as("bytes")])
    .where(isWithin("items", search.range))
    .where(isLive(scope.moment))
    .where(meets(search.conditions))
    .$if(part.without !== null, (select) => select.where(hasNoVector(part.without)))
    .orderBy("updated_at", "desc")
    .orderBy("namespace")
    .orderBy("key")
    .limit(part.limit)
    .offset(part.offset)
    .execute();
  scope.measure(found.map(({ bytes }) => bytes));
  const items: Item[] = [];
  for (const address of found) {
    const row = await readItem(scope, address);
    if (row === undefined) continue; // cannot be: the transaction has found it
    await refreshExpiry(scope, row, search.refreshTtl);
    items.push(toItem(row));
  }
  return items;
}

function hasNoVector(modelId: number | null) {
  return sql<SqlBool>`(items.embedded_by is distinct from ${modelId} or not exists (
    select 1 from item_vectors where item_vectors.namespace = items.namespace and item_vectors.key = items.key))`;
}

/** The item if it meets the search; measured before it is read. */
async function measuredItem(
  scope: ItemScope,
  address: ItemAddress,
  { conditions }: ItemSearch,
): Promise<Row | undefined> {
  const found = await scope.transaction
    .selectFrom("items")
    .select(bytesOf(["value"]).as("bytes"))
    .where(at(address))
    .where(isLive(scope.moment))
    .where(meets(conditions))
    .executeTakeFirst();
  if (found === undefined) return undefined;
  scope.measure([found.bytes]);
  return readItem(scope, address);
}

function readItem({ transaction, moment }: ItemScope, address: ItemAddress): Promise<Row | undefined> {
  return transaction.selectFrom("items").selectAll().where(at(address)).where(isLive(moment)).executeTakeFirst();
}

/** What an item means: a vector for each of its texts, and the model that made them; null for one that is not indexed. */
export interface ItemMeaning {
  readonly modelId: number | null;
  readonly vectors: readonly Float32Array[];
}

/**
 * `created_at` stays that of the item it replaces, unless that has expired. Without a meaning (items are not indexed) the
 * item has none: vectors of what it was count no more.
 */
export async function putItem(scope: ItemScope, put: ItemPut, meaning: ItemMeaning | null): Promise<void> {
  const { transaction, now, moment } = scope;
  const { namespace, key, value, ttlMinutes, index } = put;
  const minutes = ttlMinutes === undefined ? scope.ttl.defaultTtlMinutes : ttlMinutes;
  const change = {
    value,
    updated_at: now,
    ttl_minutes: minutes,
    expires_at: expiryOf(minutes, now),
    index_paths: index === null ? null : JSON.stringify(index),
    embedded_by: meaning === null ? null : meaning.modelId,
  };
  await transaction
    .insertInto("items")
    .values({ namespace, key, created_at: now, ...change })
    .onConflict((conflict) =>
      conflict.columns(["namespace", "key"]).doUpdateSet({
        ...change,
        created_at: (builder) =>
          builder
            .case()
            .when("items.expires_at", "<=", moment)
            .then(builder.ref("excluded.created_at"))
            .else(builder.ref("items.created_at"))
            .end(),
      }),
    )
    .execute();
  if (meaning !== null) await saveVectors(transaction, put, meaning.vectors);
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
  const page: string[][] = [];
  let shownBefore: string | null = null;
  let count = 0;
  let last: string | null = null;
  for (;;) {
    const chunk: string[] = await namespacesAfter(scope, listing.range, last);
    for (const labels of chunk.map(decodeNamespace)) {
      if (!conditions.every((condition) => meetsCondition(labels, condition))) continue;
      const shown = labels.slice(0, maxDepth);
      const name = shown.join(".");
      if (name === shownBefore) continue; // those that begin with the same labels follow each other
      shownBefore = name;
      if (++count <= offset) continue;
      scope.measure([Buffer.byteLength(name)]);
      page.push(shown);
      if (page.length === limit) return page;
    }
    last = chunk.at(-1) ?? null;
    if (chunk.length < LISTING_CHUNK) return page;
  }
}

/** Deletes up to `limit` expired items; returns how many. */
export async function sweepItems(
  { transaction, now }: Pick<ItemScope, "transaction" | "now">,
  limit: number,
): Promise<number> {
  const moment = momentOf(transaction, now);
  const expired = transaction
    .selectFrom("items")
    .select(["namespace", "key"])
    .where("expires_at", "<=", moment)
    .limit(limit);
  const result = await transaction
    .deleteFrom("items")
    .where(({ eb, refTuple }) => eb(refTuple("namespace", "key"), "in", expired.$asTuple("namespace", "key")))
    .where("expires_at", "<=", moment) // again for each row that somebody wrote meanwhile
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

async function namespacesAfter(scope: ItemScope, range: NamespaceRange, last: string | null): Promise<string[]> {
  const rows = await scope.transaction
    .selectFrom("items")
    .select("namespace")
    .distinct()
    .where(isWithin("items", range))
    .where((builder) => (last === null ? builder.lit(true) : builder("namespace", ">", last)))
    .where(isLive(scope.moment))
    .orderBy("namespace")
    .limit(LISTING_CHUNK)
    .execute();
  return rows.map(({ namespace }) => namespace);
}

async function refreshExpiry(
  { transaction, ttl, now }: ItemScope,
  { namespace, key, ttl_minutes }: Row,
  refreshTtl: boolean | undefined,
): Promise<void> {
  if (ttl_minutes === null || !(refreshTtl ?? ttl.refreshOnRead)) return;
  const expires_at = expiryOf(ttl_minutes, now);
  const address = { namespace, key };
  await transaction
    .updateTable("items")
    .set({ expires_at })
    .where(at(address))
    // Whoever writes the item at this moment begins its time anew by that: nobody waits for them to read it.
    .$if(isPostgres(transaction), (update) =>
      update.where("items.key", "in", ({ selectFrom }) =>
        lockedUnlessHeld(selectFrom("items").select("items.key").where(at(address))),
      ),
    )
    .execute();
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
