/**
 * Embeds the items that the configured model has not seen, while the server runs: those of another model, and those that
 * were put when items were not indexed. Until it comes to an item, searches by meaning show it without a score.
 *
 * 1. Vectors are written only to the item that they were made of: one that was put meanwhile has its own.
 * 2. Where several items cannot be embedded together, each is tried alone, and those that fail are passed over, and
 *    logged, until the next start. Where none can, the model is taken to be away for a while.
 */
import { type Clock, pause } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { JsonObject } from "../core/model.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, momentOf } from "./database.js";
import { embedAll, vectorsOf } from "./item-embedding.js";
import { decodeNamespace } from "./item-namespace.js";
import type { ItemAddress } from "./item-operation.js";
import { textsAt } from "./item-texts.js";
import { saveVectors } from "./item-vectors.js";
import { at, isLive } from "./item-where.js";
import type { ItemIndex } from "./items.js";

export interface ReembeddingDeps {
  readonly database: Database;
  readonly commits: CommitGroup;
  readonly index: ItemIndex;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Reembedding {
  /** Resolves when all is embedded, or it was stopped. */
  readonly done: Promise<void>;
  /** Returns when nothing of it is under way any more. */
  stop(): Promise<void>;
}

const ITEMS_AT_ONCE = 32;
const RETRY_MS = 60_000;
/** After so many minutes in which no item of some could be embedded it is those items that are at fault. */
const MAX_FAILURES = 10;

interface Unseen extends ItemAddress {
  readonly value: string;
  readonly updated_at: number;
  readonly index_paths: string | null;
}

interface Waiting extends Unseen {
  readonly texts: readonly string[];
}

export function startReembedding({ database, commits, index, clock, log }: ReembeddingDeps): Reembedding {
  const stopping = new AbortController();

  async function run(): Promise<void> {
    let last: ItemAddress | null = null;
    let embedded = 0;
    for (let failures = 0; !stopping.signal.aborted; ) {
      const rows: readonly Unseen[] = await itemsAfter(last);
      if (rows.length === 0) break;
      const items: Waiting[] = [];
      for (const row of rows) items.push(...(await withTexts(row)));
      const done = await embedSome(items);
      embedded += done;
      if (stopping.signal.aborted) break;
      if (done === 0 && items.length > 0 && ++failures < MAX_FAILURES) {
        await pause(clock, RETRY_MS, stopping.signal); // 2
        continue;
      }
      failures = 0;
      last = rows.at(-1) ?? null;
    }
    if (embedded > 0) log.info({ items: embedded }, "items embedded anew");
  }

  async function itemsAfter(last: ItemAddress | null): Promise<readonly Unseen[]> {
    return database
      .selectFrom("items")
      .select(["namespace", "key", "value", "updated_at", "index_paths"])
      .where(({ eb, or }) => or([eb("embedded_by", "is", null), eb("embedded_by", "<>", index.modelId)]))
      .where(({ eb, or }) => or([eb("index_paths", "is", null), eb("index_paths", "<>", "false")]))
      .where(isLive(momentOf(database, clock.now())))
      .$if(last !== null, (select) =>
        select.where(({ eb, refTuple, tuple }) =>
          eb(refTuple("namespace", "key"), ">", tuple(last?.namespace ?? "", last?.key ?? "")),
        ),
      )
      .orderBy("namespace")
      .orderBy("key")
      .limit(ITEMS_AT_ONCE)
      .execute();
  }

  async function withTexts(row: Unseen): Promise<readonly Waiting[]> {
    try {
      const paths = row.index_paths === null ? index.fields : (JSON.parse(row.index_paths) as string[]); // `putItem` wrote it
      return [{ ...row, texts: textsAt(JSON.parse(row.value) as JsonObject, paths) }];
    } catch (error) {
      await passOver(row, error); // its value leads to more than is embedded
      return [];
    }
  }

  /** How many have vectors now. */
  async function embedSome(items: readonly Waiting[]): Promise<number> {
    try {
      const texts = new Set(items.flatMap((item) => item.texts));
      const vectors = await untilStopped(embedAll([...texts], "documents", index.embed));
      for (const item of items) await save(item, vectorsOf(item.texts, vectors));
      return items.length;
    } catch (error) {
      if (stopping.signal.aborted) return 0;
      if (items.length > 1) return embedOneByOne(items);
      for (const item of items) await passOver(item, error);
      return 0;
    }
  }

  async function embedOneByOne(items: readonly Waiting[]): Promise<number> {
    let done = 0;
    for (const item of items) done += await embedSome([item]);
    return done;
  }

  function save(item: Unseen, vectors: readonly Float32Array[]): Promise<void> {
    return mark(item, index.modelId, vectors);
  }

  /** What another model made of it counts no more. */
  async function passOver(item: Unseen, error: unknown): Promise<void> {
    const { namespace, key } = item;
    log.warn({ namespace: decodeNamespace(namespace), key, ...describeError(error) }, "an item could not be embedded");
    await mark(item, null, []);
  }

  /** 1 */
  async function mark(item: Unseen, modelId: number | null, vectors: readonly Float32Array[]): Promise<void> {
    await commits.run(async (transaction) => {
      const marked = await transaction
        .updateTable("items")
        .set({ embedded_by: modelId })
        .where(at(item))
        .where("updated_at", "=", item.updated_at)
        .where("value", "=", item.value)
        .executeTakeFirst();
      if (marked.numUpdatedRows > 0n) await saveVectors(transaction, item, vectors);
    });
  }

  /** Leaves behind a model that does not answer. */
  async function untilStopped<T>(work: Promise<T>): Promise<T> {
    const { signal } = stopping;
    work.catch(() => {}); // heard of below, unless it was stopped
    signal.throwIfAborted();
    let leave = (): void => {};
    try {
      return await new Promise<T>((resolve, reject) => {
        leave = () => reject(signal.reason);
        signal.addEventListener("abort", leave);
        work.then(resolve, reject);
      });
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  const done = run().catch((err: unknown) => log.error({ err }, "embedding items anew stopped"));
  return {
    done,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}
