/**
 * The long-term memory of graphs: LangGraph's `BaseStore` over the table `items`.
 *
 * - I1: a batch is one transaction. Its operations apply in order, each sees those before it; one that is refused
 *   refuses all, before anything is written.
 * - I2: batches that write apply in the order in which they were asked for, so the last of parallel puts stays.
 * - I3: an expired item does not exist, whether it has been swept or not.
 */
import { BaseStore, type Operation, type OperationResults } from "@langchain/langgraph-checkpoint";
import type { Clock } from "../core/clock.js";
import type { ItemTtlConfig } from "../core/items.js";
import type { Log } from "../core/log.js";
import type { Database } from "./database.js";
import { type ItemOperation, parseItemOperation } from "./item-operation.js";
import {
  deleteItem,
  getItem,
  type ItemScope,
  listNamespaces,
  putItem,
  searchItems,
  sweepItems,
} from "./item-queries.js";
import { type Sweeper, startSweeper } from "./item-sweeper.js";

export interface SqlStoreDeps {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly ttl: ItemTtlConfig;
}

/** Bounds how long one sweep holds the connection. */
const SWEEP_ROWS = 1_000;

/** Answers after the commit. Refuses with a `GatewayError`, or with `InvalidNamespaceError` for a namespace. */
export class SqlStore extends BaseStore {
  private readonly deps: SqlStoreDeps;
  private lastWrite: Promise<unknown> = Promise.resolve();
  private sweeper: Sweeper | undefined;

  constructor(deps: SqlStoreDeps) {
    super();
    this.deps = deps;
  }

  override async batch<Operations extends Operation[]>(operations: Operations): Promise<OperationResults<Operations>> {
    const parsed = operations.map(parseItemOperation);
    const run = () => this.inTransaction((scope) => applyAll(scope, parsed));
    const writes = parsed.some(({ kind }) => kind === "put" || kind === "delete");
    const results = await (writes ? this.afterEarlierWrites(run) : run());
    return results as OperationResults<Operations>; // applyAll: one result per operation, of its operation's kind
  }

  /** From now on expired items are deleted every `sweepIntervalMinutes`, until `stop`. */
  override start(): void {
    const { clock, log, ttl } = this.deps;
    this.sweeper ??= startSweeper({
      clock,
      log,
      intervalMs: ttl.sweepIntervalMinutes * 60_000,
      sweep: async () => {
        const deleted = await this.inTransaction((scope) => sweepItems(scope, SWEEP_ROWS));
        return { deleted, more: deleted === SWEEP_ROWS };
      },
    });
  }

  /** Returns when no sweep runs any more. */
  override async stop(): Promise<void> {
    const sweeper = this.sweeper;
    this.sweeper = undefined;
    await sweeper?.stop();
  }

  private inTransaction<T>(work: (scope: ItemScope) => Promise<T>): Promise<T> {
    const { database, clock, ttl } = this.deps;
    return database.transaction().execute((transaction) => work({ transaction, ttl, now: clock.now() }));
  }

  /** I2: the connection's own queue lets a newcomer overtake those who wait. */
  private afterEarlierWrites<T>(write: () => Promise<T>): Promise<T> {
    const result = this.lastWrite.then(write);
    this.lastWrite = result.catch(() => undefined); // whoever asked for it hears of its failure
    return result;
  }
}

async function applyAll(scope: ItemScope, operations: readonly ItemOperation[]): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const operation of operations) results.push(await apply(scope, operation));
  return results;
}

function apply(scope: ItemScope, operation: ItemOperation): Promise<unknown> {
  switch (operation.kind) {
    case "get":
      return getItem(scope, operation);
    case "search":
      return searchItems(scope, operation);
    case "put":
      return putItem(scope, operation);
    case "delete":
      return deleteItem(scope, operation);
    case "list":
      return listNamespaces(scope, operation);
  }
}
