/**
 * The meaning of items: the vectors of their texts, and the search among them.
 *
 * The search is exact: it looks at every vector under the prefix, a bounded number at a time, and lets the event loop turn
 * in between. It keeps nothing but the best, so that its memory is bounded by the page that was asked for.
 */
import { type SqlBool, sql } from "kysely";
import { decodeVector, encodeVector, similarity } from "../core/vectors.js";
import type { Database, Moment } from "./database.js";
import type { ItemAddress, ItemSearch } from "./item-operation.js";
import { isLive, isWithin, meets } from "./item-where.js";

/** How much of the vectors is read at once: a millisecond or two. */
const CHUNK_BYTES = 1_024 ** 2;
const CHUNK_ROWS = 1_000;

export interface VectorSearch extends Pick<ItemSearch, "range" | "conditions"> {
  /** A unit vector. */
  readonly query: Float32Array;
  /** Only vectors of this model can be compared with it. */
  readonly modelId: number;
  readonly now: Moment;
  /** How many of the best are wanted. */
  readonly count: number;
}

export interface ScoredItem extends ItemAddress {
  /** Cosine similarity of the text that is nearest. */
  readonly score: number;
}

/** The best `count` of the items that have a vector and meet the search, best first, and how many there are in all. */
export async function nearestItems(
  database: Database,
  search: VectorSearch,
): Promise<{ readonly best: readonly ScoredItem[]; readonly total: number }> {
  const best = new BestItems(search.count);
  let total = 0;
  let current: ScoredItem | undefined;
  for await (const { namespace, key, vector } of vectorsUnder(database, search)) {
    const score = similarity(search.query, decodeVector(vector));
    if (current?.namespace === namespace && current.key === key) {
      if (score > current.score) current = { namespace, key, score };
      continue;
    }
    if (current !== undefined) best.add(current); // the vectors of an item follow each other
    current = { namespace, key, score };
    total++;
  }
  if (current !== undefined) best.add(current);
  return { best: best.inOrder(), total };
}

interface VectorRow extends ItemAddress {
  readonly vector: Uint8Array;
}

async function* vectorsUnder(
  database: Database,
  { range, conditions, query, modelId, now }: VectorSearch,
): AsyncGenerator<VectorRow> {
  const limit = Math.min(CHUNK_ROWS, Math.ceil(CHUNK_BYTES / (query.length * 4)));
  let last: { readonly namespace: string; readonly key: string; readonly part: number } | undefined;
  for (;;) {
    const rows = await database
      .selectFrom("item_vectors")
      .innerJoin("items", (join) =>
        join.onRef("items.namespace", "=", "item_vectors.namespace").onRef("items.key", "=", "item_vectors.key"),
      )
      .select(["item_vectors.namespace", "item_vectors.key", "item_vectors.part", "item_vectors.vector"])
      // The plus keeps SQLite from starting with all that the model has seen.
      .where(sql<SqlBool>`+items.embedded_by = ${modelId}`)
      .where(isLive(now))
      .where(meets(conditions))
      .where(isWithin("item_vectors", range))
      .$if(last !== undefined, (select) =>
        select.where(
          sql<SqlBool>`(item_vectors.namespace, item_vectors.key, item_vectors.part) > (${last?.namespace}, ${last?.key}, ${last?.part})`,
        ),
      )
      .orderBy("item_vectors.namespace")
      .orderBy("item_vectors.key")
      .orderBy("item_vectors.part")
      .limit(limit)
      .execute();
    yield* rows;
    last = rows.at(-1);
    if (rows.length < limit) return;
    await new Promise(setImmediate);
  }
}

/** In the transaction that puts the item: what it meant before is gone. */
export async function saveVectors(
  transaction: Database,
  { namespace, key }: ItemAddress,
  vectors: readonly Float32Array[],
): Promise<void> {
  await transaction.deleteFrom("item_vectors").where("namespace", "=", namespace).where("key", "=", key).execute();
  for (const [part, vector] of vectors.entries()) {
    const row = { namespace, key, part, vector: encodeVector(vector) };
    await transaction.insertInto("item_vectors").values(row).execute();
  }
}

/** Keeps the best of any number: twice as many at most, before the worse half goes. */
class BestItems {
  readonly #count: number;
  readonly #kept: ScoredItem[] = [];

  constructor(count: number) {
    this.#count = count;
  }

  add(item: ScoredItem): void {
    this.#kept.push(item);
    if (this.#kept.length >= 2 * this.#count + MIN_KEPT) this.#trim();
  }

  inOrder(): readonly ScoredItem[] {
    this.#trim();
    return this.#kept;
  }

  #trim(): void {
    this.#kept.sort((a, b) => (isBetter(a, b) ? -1 : 1));
    this.#kept.length = Math.min(this.#kept.length, this.#count);
  }
}

const MIN_KEPT = 64;

/** A total order, so that pages of one search have neither gaps nor repetitions. */
function isBetter(a: ScoredItem, b: ScoredItem): boolean {
  if (a.score !== b.score) return a.score > b.score;
  return a.namespace === b.namespace ? a.key < b.key : a.namespace < b.namespace;
}
