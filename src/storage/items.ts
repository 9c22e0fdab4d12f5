/**
 * The long-term memory of graphs: LangGraph's `BaseStore` over the table `items`.
 *
 * - I1: a batch is one unit. Its operations apply in order, each sees those before it; one that is refused
 *   refuses all, before anything is written.
 * - I2: batches that write apply in the order in which they were asked for, so the last of parallel puts stays. Those of
 *   one turn of the event loop share a commit.
 * - I3: an expired item does not exist, whether it has been swept or not.
 * - I4: what a batch reads is measured before more than one item of it is held.
 * - I5: an item and its vectors are written in one transaction. Where its texts cannot be embedded, nothing is.
 */
import { BaseStore, type Operation, type OperationResults } from "@langchain/langgraph-checkpoint";
import type { Clock } from "../core/clock.js";
import type { EmbedTexts, ItemTtlConfig } from "../core/items.js";
import type { Log } from "../core/log.js";
import { requirePageFits } from "../core/page.js";
import { type CommitGroup, createCommitGroup, transact } from "./commit-group.js";
import { type Database, isPostgres, momentOf, takeRights } from "./database.js";
import { type Embedded, embedOperations, vectorsOf } from "./item-embedding.js";
import {
  type IndexFields,
  type ItemAddress,
  type ItemOperation,
  type ItemPut,
  type ItemSearch,
  parseItemOperation,
} from "./item-operation.js";
import {
  deleteItem,
  getItem,
  ITEM_SWEEP_ROWS,
  type ItemMeaning,
  type ItemScope,
  listNamespaces,
  putItem,
  searchItems,
  showNearest,
  sweepItems,
} from "./item-queries.js";
import { nearestItems, type ScoredItem } from "./item-vectors.js";
import { type Sweeper, startSweeper } from "./sweeper.js";
import { createWriteOrder, type WriteOrder } from "./write-order.js";

export interface SqlStoreDeps {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly ttl: ItemTtlConfig;
  /** What the items that one batch reads may take together; the first one may be larger. */
  readonly maxBytesPerBatch: number;
  /** Items are found by meaning, too; null: they are not. */
  readonly index: ItemIndex | null;
}

export interface ItemIndex {
  /** The row of the model in `item_models`. */
  readonly modelId: number;
  readonly fields: readonly string[];
  readonly embed: EmbedTexts;
}

/** Answers after the commit. Refuses with a `GatewayError`, or with `InvalidNamespaceError` for a namespace. */
export class SqlStore extends BaseStore {
  private readonly deps: SqlStoreDeps;
  private readonly commits: CommitGroup;
  private readonly order: WriteOrder;
  private sweeper: Sweeper | undefined;

  constructor(deps: SqlStoreDeps) {
    super();
    this.deps = deps;
    this.commits = createCommitGroup(deps.database);
    this.order = createWriteOrder(isPostgres(deps.database) ? "written" : "asked"); // I2: SQLite writes as it is asked
  }

  /** What whoever checks operations must know. */
  get indexFields(): IndexFields {
    return this.deps.index?.fields ?? null;
  }

  override async batch<Operations extends Operation[]>(operations: Operations): Promise<OperationResults<Operations>> {
    const results = await this.apply(operations.map((operation) => parseItemOperation(operation, this.indexFields)));
    return results as OperationResults<Operations>; // applyAll: one result per operation, of its operation's kind
  }

  /** As `batch`, for operations that were checked already. */
  async apply(operations: readonly ItemOperation[]): Promise<readonly unknown[]> {
    const { database, index } = this.deps;
    const embedding = index === null ? null : embedOperations(operations, index.embed);
    const written = operations.filter(({ kind }) => kind === "put" || kind === "delete") as readonly ItemAddress[];
    if (written.length > 0) {
      const keys = written.map(({ namespace, key }) => `${namespace}\0${key}`);
      return this.order.run(keys, embedding, (embedded) =>
        this.commits.run(async (transaction) => {
          await takeRights(transaction, keys);
          return applyAll(this.scopeOf(transaction, { embedded }), operations);
        }),
      );
    }
    const embedded = await embedding;
    // Before the transaction, which holds off whoever writes: looking at many vectors takes its time.
    const found = embedded === null ? NOTHING_FOUND : await this.find(operations, embedded);
    return transact(database, (transaction) => applyAll(this.scopeOf(transaction, { embedded, found }), operations));
  }

  private async find(operations: readonly ItemOperation[], embedded: Embedded): Promise<BatchScope["found"]> {
    const scope = this.scopeOf(this.deps.database, { embedded });
    const found = new Map<ItemSearch, Nearest>();
    for (const operation of operations) {
      if (operation.kind === "search" && operation.query !== null) {
        found.set(operation, await findNearest(scope, operation));
      }
    }
    return found;
  }

  private scopeOf(
    transaction: Database,
    { embedded, found = NOTHING_FOUND }: { readonly embedded: Embedded | null; readonly found?: BatchScope["found"] },
  ): BatchScope {
    const { clock, ttl, index, maxBytesPerBatch } = this.deps;
    const read: number[] = [];
    let bytes = 0;
    const measure = (sizes: readonly number[]): void => {
      read.push(...sizes);
      for (const size of sizes) bytes += size;
      if (bytes > maxBytesPerBatch) requirePageFits(read, maxBytesPerBatch);
    };
    const now = clock.now();
    return { transaction, ttl, now, moment: momentOf(transaction, now), measure, index, embedded, found };
  }

  /** From now on expired items are deleted every `sweepIntervalMinutes`, until `stop`. */
  override start(): void {
    const { clock, log, ttl } = this.deps;
    this.sweeper ??= startSweeper({
      clock,
      log,
      intervalMs: ttl.sweepIntervalMinutes * 60_000,
      what: "items",
      sweep: async () => {
        const now = clock.now();
        const deleted = await this.commits.run((transaction) => sweepItems({ transaction, now }, ITEM_SWEEP_ROWS));
        return { deleted, more: deleted === ITEM_SWEEP_ROWS };
      },
    });
  }

  /** Returns when no sweep runs any more. */
  override async stop(): Promise<void> {
    const sweeper = this.sweeper;
    this.sweeper = undefined;
    await sweeper?.stop();
  }
}

/** What is nearest to a search's query, up to the end of its page. */
interface Nearest {
  readonly best: readonly ScoredItem[];
  readonly total: number;
  readonly modelId: number;
}

interface BatchScope extends ItemScope {
  readonly index: ItemIndex | null;
  readonly embedded: Embedded | null;
  /** What was found before the transaction began. */
  readonly found: ReadonlyMap<ItemSearch, Nearest>;
}

const NOTHING_FOUND: BatchScope["found"] = new Map();

async function applyAll(scope: BatchScope, operations: readonly ItemOperation[]): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const operation of operations) results.push(await apply(scope, operation));
  return results;
}

async function apply(scope: BatchScope, operation: ItemOperation): Promise<unknown> {
  switch (operation.kind) {
    case "get":
      return getItem(scope, operation);
    case "search":
      if (operation.query === null) return searchItems(scope, operation);
      return showNearest(scope, operation, scope.found.get(operation) ?? (await findNearest(scope, operation)));
    case "put":
      return putItem(scope, operation, meaningOf(scope, operation));
    case "delete":
      return deleteItem(scope, operation);
    case "list":
      return listNamespaces(scope, operation);
  }
}

function meaningOf({ index, embedded }: BatchScope, put: ItemPut): ItemMeaning | null {
  if (index === null || put.texts === null) return null;
  return { modelId: put.index === false ? null : index.modelId, vectors: vectorsOf(put.texts, embedded?.documents) };
}

async function findNearest({ transaction, index, embedded, moment }: BatchScope, search: ItemSearch): Promise<Nearest> {
  const [query] = vectorsOf(search.query === null ? [] : [search.query], embedded?.queries);
  if (index === null || query === undefined) throw new Error("a search by meaning without an index"); // it was refused
  const { range, conditions, limit, offset } = search;
  const wanted = { range, conditions, query, modelId: index.modelId, now: moment, count: offset + limit };
  return { ...(await nearestItems(transaction, wanted)), modelId: index.modelId };
}
