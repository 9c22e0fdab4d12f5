/**
 * Threads in SQL. A thread whose deletion has begun is invisible to everything but the deletion.
 *
 * A metadata filter starts from `thread_terms`, so that a search costs what it finds and not what there is; only a
 * filter that the terms do not decide reads JSON row by row.
 */
import { type ExpressionBuilder, type ExpressionWrapper, type SqlBool, sql } from "kysely";
import type { Clock } from "../core/clock.js";
import type { InterruptsByTask, JsonObject, Thread, ThreadProjection } from "../core/model.js";
import type { CommitGroup } from "./commit-group.js";
import { termFilter } from "./containment.js";
import { columnContains, type Database, locked, type Schema } from "./database.js";
import type {
  NewThread,
  Page,
  PageQuery,
  THREAD_SORT_COLUMNS,
  ThreadFilter,
  ThreadStore,
  ThreadWithValues,
} from "./storage.js";
import {
  derivedStatus,
  insertThread,
  mergeMetadata,
  projectionColumns,
  reindexTerms,
  saveValues,
  THREAD_COLUMNS,
  toThread,
  ttlColumns,
} from "./thread-rows.js";

export interface SqlThreadStoreDeps {
  readonly database: Database;
  /** Of the same database; shared by the stores, so that they share commits. */
  readonly commits: CommitGroup;
  readonly clock: Clock;
}

export class SqlThreadStore implements ThreadStore {
  private readonly database: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;

  constructor({ database, commits, clock }: SqlThreadStoreDeps) {
    this.database = database;
    this.commits = commits;
    this.clock = clock;
  }

  async create(thread: NewThread): Promise<Thread | undefined> {
    const now = this.clock.now();
    return this.commits.run((transaction) => insertThread(transaction, thread, now));
  }

  async get(threadId: string): Promise<ThreadWithValues | undefined> {
    const row = await this.database
      .selectFrom("threads")
      .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
      .select([...THREAD_COLUMNS, "thread_values.values"])
      .where("threads.thread_id", "=", threadId)
      .where("threads.deleting", "=", 0)
      .executeTakeFirst();
    return row === undefined ? undefined : { ...toThread(row), valuesJson: row.values };
  }

  async pendingInterrupts(threadId: string): Promise<InterruptsByTask> {
    const row = await this.database
      .selectFrom("threads")
      .select("interrupts")
      .where("thread_id", "=", threadId)
      .executeTakeFirst();
    return row === undefined ? {} : (JSON.parse(row.interrupts) as InterruptsByTask); // what `finish` wrote
  }

  async patch(
    threadId: string,
    change: { readonly metadata?: JsonObject; readonly ttl?: NewThread["ttl"] },
  ): Promise<Thread | undefined> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const row = await locked(
        transaction
          .selectFrom("threads")
          .select(THREAD_COLUMNS)
          .where("thread_id", "=", threadId)
          .where("deleting", "=", 0),
      ).executeTakeFirst();
      if (row === undefined) return undefined;
      const before = toThread(row).metadata;
      const after = change.metadata === undefined ? before : mergeMetadata(before, change.metadata);
      const columns = {
        updated_at: now,
        metadata: JSON.stringify(after),
        ...(change.ttl === undefined ? {} : ttlColumns(change.ttl, now)),
      };
      await transaction.updateTable("threads").set(columns).where("thread_id", "=", threadId).execute();
      await reindexTerms(transaction, threadId, { before, after });
      return toThread({ ...row, ...columns });
    });
  }

  async search(
    filter: ThreadFilter,
    page: PageQuery<(typeof THREAD_SORT_COLUMNS)[number]>,
    options: { readonly withValues: boolean },
  ): Promise<Page<ThreadWithValues>> {
    const total = await this.count(filter);
    if (total <= page.offset) return { rows: [], total };
    const found = this.database
      .selectFrom("threads")
      .where((eb) => matches(eb, filter))
      .orderBy(`threads.${page.sortBy}`, (order) => (page.sortOrder === "asc" ? order.asc() : order.desc()))
      .$if(page.sortBy !== "thread_id", (query) => query.orderBy("threads.thread_id", page.sortOrder))
      .limit(page.limit)
      .offset(page.offset);
    if (!options.withValues) {
      const rows = await found.select(THREAD_COLUMNS).execute();
      return { rows: rows.map((row) => ({ ...toThread(row), valuesJson: null })), total };
    }
    const rows = await found
      .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
      .select([...THREAD_COLUMNS, "thread_values.values"])
      .execute();
    return { rows: rows.map((row) => ({ ...toThread(row), valuesJson: row.values })), total };
  }

  async count(filter: ThreadFilter): Promise<number> {
    const { total } = await this.database
      .selectFrom("threads")
      .select((eb) => eb.fn.countAll<number>().as("total"))
      .where((eb) => matches(eb, filter))
      .executeTakeFirstOrThrow();
    return total;
  }

  async reserve(threadId: string, owner: string): Promise<"reserved" | "busy" | "missing"> {
    return this.commits.run(async (transaction) => {
      const taken = await transaction
        .updateTable("threads")
        .set({ reserved_by: owner })
        .where("thread_id", "=", threadId)
        .where("deleting", "=", 0)
        .where("reserved_by", "is", null)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom("runs")
                .select("runs.seq")
                .whereRef("runs.thread_id", "=", "threads.thread_id")
                .where(sql<SqlBool>`runs.status in ('pending', 'running')`),
            ),
          ),
        )
        .executeTakeFirst();
      if (taken.numUpdatedRows > 0n) return "reserved";
      const thread = await transaction
        .selectFrom("threads")
        .select("thread_id")
        .where("thread_id", "=", threadId)
        .where("deleting", "=", 0)
        .executeTakeFirst();
      return thread === undefined ? "missing" : "busy";
    });
  }

  async release(threadId: string, owner: string): Promise<void> {
    await this.database
      .updateTable("threads")
      .set({ reserved_by: null })
      .where("thread_id", "=", threadId)
      .where("reserved_by", "=", owner)
      .execute();
  }

  async saveProjection(threadId: string, projection: ThreadProjection, graphId?: string): Promise<void> {
    const now = this.clock.now();
    await this.commits.run(async (transaction) => {
      const row = await locked(
        transaction
          .selectFrom("threads")
          .select("metadata")
          .where("thread_id", "=", threadId)
          .where("deleting", "=", 0),
      ).executeTakeFirst();
      if (row === undefined) return;
      const before = JSON.parse(row.metadata) as JsonObject; // written by this store
      const after = graphId === undefined ? before : mergeMetadata(before, { graph_id: graphId });
      const state = { ...projectionColumns(projection), error: null };
      await transaction
        .updateTable("threads")
        .set({
          ...state,
          metadata: JSON.stringify(after),
          updated_at: now,
          state_updated_at: now,
          status: derivedStatus(threadId, state),
        })
        .where("thread_id", "=", threadId)
        .execute();
      await saveValues(transaction, threadId, projection.valuesJson);
      await reindexTerms(transaction, threadId, { before, after });
    });
  }

  async markDeleting(threadId: string): Promise<boolean> {
    const marked = await this.database
      .updateTable("threads")
      .set({ deleting: 1 })
      .where("thread_id", "=", threadId)
      .where("deleting", "=", 0)
      .executeTakeFirst();
    return marked.numUpdatedRows > 0n;
  }

  async remove(threadId: string): Promise<void> {
    await this.database.deleteFrom("threads").where("thread_id", "=", threadId).execute();
  }

  async listDeleting(): Promise<readonly string[]> {
    const rows = await this.database
      .selectFrom("threads")
      .select("thread_id")
      .where(sql<SqlBool>`deleting = 1`) // a literal, as in the partial index
      .orderBy("thread_id")
      .execute();
    return rows.map((row) => row.thread_id);
  }
}

function matches(
  eb: ExpressionBuilder<Schema, "threads">,
  filter: ThreadFilter,
): ExpressionWrapper<Schema, "threads", SqlBool> {
  const conditions = [eb("threads.deleting", "=", 0), ...metadataConditions(eb, filter.metadata ?? {})];
  if (filter.status !== undefined) conditions.push(eb("threads.status", "=", filter.status));
  if (filter.ids !== undefined) {
    conditions.push(filter.ids.length === 0 ? eb.lit(false) : eb("threads.thread_id", "in", filter.ids));
  }
  if (filter.values !== undefined && Object.keys(filter.values).length > 0) {
    const values = eb
      .selectFrom("thread_values")
      .select("thread_values.thread_id")
      .whereRef("thread_values.thread_id", "=", "threads.thread_id")
      .where(columnContains("thread_values.values", filter.values));
    conditions.push(eb.exists(values));
  }
  return eb.and(conditions);
}

/** The index first; the text of the metadata only for what the terms leave open. */
function metadataConditions(
  eb: ExpressionBuilder<Schema, "threads">,
  filter: JsonObject,
): ExpressionWrapper<Schema, "threads", SqlBool>[] {
  const { terms, exact } = termFilter(filter);
  const indexed = terms.map((term) =>
    eb(
      "threads.thread_id",
      "in",
      eb.selectFrom("thread_terms").select("thread_terms.thread_id").where("thread_terms.term", "=", term),
    ),
  );
  return exact ? indexed : [...indexed, eb.and([columnContains("threads.metadata", filter)])];
}
