/** Threads in SQL. A thread whose deletion has begun is invisible to everything but the deletion. */
import { type ExpressionBuilder, type ExpressionWrapper, type NotNull, type SqlBool, sql } from "kysely";
import type { Clock } from "../core/clock.js";
import { changeMetadata } from "../core/metadata.js";
import type { InterruptsByTask, JsonObject, Thread, ThreadProjection } from "../core/model.js";
import { EVERYTHING, type Scope, withoutScopeKeys } from "../core/scope.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, locked, type Schema } from "./database.js";
import { columnInScope } from "./scope-sql.js";
import type { NewThread, ThreadFilter, ThreadStore, ThreadWithValues } from "./storage.js";
import { dropPlansOf, isUnoccupied, listOutgrown, markExpired, pruneOutgrown } from "./thread-expiry.js";
import { ThreadFinder } from "./thread-finder.js";
import { indexMetadata } from "./thread-index.js";
import { insertThread, mirrorState, projectionColumns, THREAD_COLUMNS, toThread, ttlColumns } from "./thread-rows.js";

export interface SqlThreadStoreDeps {
  readonly database: Database;
  /** Of the same database; shared by the stores, so that they share commits. */
  readonly commits: CommitGroup;
  readonly clock: Clock;
  readonly scope?: Scope;
}

export class SqlThreadStore implements ThreadStore {
  private readonly database: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;
  private readonly scope: Scope;
  private readonly finder: ThreadFinder;

  constructor({ database, commits, clock, scope = EVERYTHING }: SqlThreadStoreDeps) {
    this.finder = new ThreadFinder(database, scope);
    this.database = database;
    this.commits = commits;
    this.clock = clock;
    this.scope = scope;
  }

  within(scope: Scope): ThreadStore {
    if (scope.length === 0) return this;
    const { database, commits, clock } = this;
    return new SqlThreadStore({ database, commits, clock, scope: [...this.scope, ...scope] });
  }

  /** A thread that is there for whoever asks. */
  private isThere(
    eb: ExpressionBuilder<Schema, "threads">,
    threadId: string,
  ): ExpressionWrapper<Schema, "threads", SqlBool> {
    return eb.and([
      eb("threads.thread_id", "=", threadId),
      eb("threads.deleting", "=", 0),
      ...(this.scope.length === 0 ? [] : [columnInScope("threads.metadata", this.scope)]),
    ]);
  }

  async create(thread: NewThread): Promise<Thread | undefined> {
    const now = this.clock.now();
    return this.commits.run((transaction) => insertThread(transaction, thread, now));
  }

  async prepare(thread: NewThread): Promise<void> {
    const now = this.clock.now();
    const created = await this.commits.run((transaction) =>
      insertThread(transaction, { ...thread, deleting: true }, now),
    );
    if (created === undefined) throw new Error(`thread ${thread.threadId} exists already`);
  }

  async reveal(threadId: string, projection: ThreadProjection | null): Promise<void> {
    const now = this.clock.now();
    await this.commits.run(async (transaction) => {
      await transaction.updateTable("threads").set({ deleting: 0 }).where("thread_id", "=", threadId).execute();
      if (projection !== null) await mirrorState(transaction, threadId, { projection, now });
    });
  }

  async get(threadId: string): Promise<ThreadWithValues | undefined> {
    const row = await this.database
      .selectFrom("threads")
      .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
      .select([...THREAD_COLUMNS, "thread_values.values"])
      .where((eb) => this.isThere(eb, threadId))
      .executeTakeFirst();
    return row === undefined ? undefined : { ...toThread(row), valuesJson: row.values };
  }

  async find(threadId: string): Promise<Thread | undefined> {
    const row = await this.database
      .selectFrom("threads")
      .select(THREAD_COLUMNS)
      .where((eb) => this.isThere(eb, threadId))
      .executeTakeFirst();
    return row && toThread(row);
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
          .where((eb) => this.isThere(eb, threadId)),
      ).executeTakeFirst();
      if (row === undefined) return undefined;
      const before = toThread(row).metadata;
      const after = changeMetadata(before, withoutScopeKeys(change.metadata ?? {}, this.scope));
      const columns = {
        updated_at: now,
        metadata: JSON.stringify(after),
        ...(change.ttl === undefined ? {} : ttlColumns(change.ttl, now)),
      };
      await transaction.updateTable("threads").set(columns).where("thread_id", "=", threadId).execute();
      await indexMetadata(transaction, threadId, { before, after });
      return toThread({ ...row, ...columns });
    });
  }

  search(...args: Parameters<ThreadStore["search"]>): ReturnType<ThreadStore["search"]> {
    return this.finder.search(...args);
  }

  searchAfter(...args: Parameters<ThreadStore["searchAfter"]>): ReturnType<ThreadStore["searchAfter"]> {
    return this.finder.searchAfter(...args);
  }

  listIds(...args: Parameters<ThreadStore["listIds"]>): ReturnType<ThreadStore["listIds"]> {
    return this.finder.listIds(...args);
  }

  count(filter: ThreadFilter): Promise<number> {
    return this.finder.count(filter);
  }

  async reserve(threadId: string, owner: string): Promise<"reserved" | "busy" | "missing"> {
    return this.commits.run(async (transaction) => {
      const taken = await transaction
        .updateTable("threads")
        .set({ reserved_by: owner })
        .where((eb) => this.isThere(eb, threadId))
        .where(isUnoccupied)
        .executeTakeFirst();
      if (taken.numUpdatedRows > 0n) return "reserved";
      const thread = await transaction
        .selectFrom("threads")
        .select("thread_id")
        .where((eb) => this.isThere(eb, threadId))
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

  async listReserved(): Promise<readonly { readonly threadId: string; readonly owner: string }[]> {
    return this.database
      .selectFrom("threads")
      .select(["thread_id as threadId", "reserved_by as owner"])
      .where("reserved_by", "is not", null)
      .$narrowType<{ owner: NotNull }>()
      .orderBy("thread_id")
      .execute();
  }

  async saveProjection(threadId: string, projection: ThreadProjection, graphId?: string): Promise<void> {
    const now = this.clock.now();
    await this.commits.run((transaction) => mirrorState(transaction, threadId, { projection, graphId, now }));
  }

  async catchUp(threadId: string, projection: ThreadProjection): Promise<void> {
    const now = this.clock.now();
    const { interrupts, next } = projectionColumns(projection);
    await this.commits.run(async (transaction) => {
      const shown = await locked(
        transaction
          .selectFrom("threads")
          .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
          .select(["threads.interrupts", "threads.next", "thread_values.values"])
          .where("threads.thread_id", "=", threadId),
      ).executeTakeFirst();
      const isShown = shown?.interrupts === interrupts && shown.next === next && shown.values === projection.valuesJson;
      if (!isShown) await mirrorState(transaction, threadId, { projection, now });
    });
  }

  async markDeleting(threadId: string): Promise<boolean> {
    return this.commits.run(async (transaction) => {
      const marked = await transaction
        .updateTable("threads")
        .set({ deleting: 1 })
        .where((eb) => this.isThere(eb, threadId))
        .executeTakeFirst();
      if (marked.numUpdatedRows === 0n) return false;
      await dropPlansOf(transaction, [threadId]);
      return true;
    });
  }

  async markUnoccupied(threadId: string): Promise<boolean> {
    return this.commits.run(async (transaction) => {
      const marked = await transaction
        .updateTable("threads")
        .set({ deleting: 1 })
        .where((eb) => this.isThere(eb, threadId))
        .where(isUnoccupied)
        .executeTakeFirst();
      if (marked.numUpdatedRows === 0n) return false;
      await dropPlansOf(transaction, [threadId]);
      return true;
    });
  }

  async markExpired(limit: number): Promise<readonly string[]> {
    const now = this.clock.now();
    return this.commits.run((transaction) => markExpired(transaction, { now, limit }));
  }

  async listOutgrown(limit: number): Promise<readonly string[]> {
    return listOutgrown(this.database, { now: this.clock.now(), limit });
  }

  async pruneOutgrown(threadId: string, prune: () => void): Promise<boolean> {
    const now = this.clock.now();
    return this.commits.run((transaction) => pruneOutgrown(transaction, threadId, { now, prune }));
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
