/** Threads in SQL. A thread whose deletion has begun is invisible to everything but the deletion. */
import {
  type ExpressionBuilder,
  type ExpressionWrapper,
  type NotNull,
  type RawBuilder,
  type SqlBool,
  sql,
} from "kysely";
import type { Clock } from "../core/clock.js";
import { changeMetadata } from "../core/metadata.js";
import type { InterruptsByTask, JsonObject, Thread, ThreadProjection } from "../core/model.js";
import { EVERYTHING, type Scope, withoutScopeKeys } from "../core/scope.js";
import type { CommitGroup } from "./commit-group.js";
import {
  type Database,
  locked,
  lockedUnlessHeld,
  type Moment,
  momentAfter,
  momentOf,
  type Schema,
  takeThread,
} from "./database.js";
import { readState, type StoredState, storingState } from "./long-states.js";
import type { Awaitable, StoreTransaction } from "./ports/page.js";
import type { NewThread, Reservation, ThreadFilter, ThreadStore, ThreadWithValues } from "./ports/threads.js";
import { columnInScope } from "./scope-sql.js";
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

  /** `show` in a transaction, with the state of the projection as it is to be stored. */
  private storing<T>(
    threadId: string,
    projection: ThreadProjection | null,
    show: (transaction: Database, stored: StoredState) => Promise<T>,
  ): Promise<T> {
    const { database, commits } = this;
    return storingState({ database, commits }, { threadId, valuesJson: projection?.valuesJson ?? null }, (stored) =>
      commits.run((transaction) => show(transaction, stored)),
    );
  }

  private moment(database: Database): Moment {
    return momentOf(database, this.clock.now());
  }

  async create(thread: NewThread): Promise<Thread | undefined> {
    const now = this.clock.now();
    return this.commits.run((transaction) => insertThread(transaction, thread, now));
  }

  async prepare(thread: NewThread, copying: Reservation): Promise<void> {
    const now = this.clock.now();
    const created = await this.commits.run((transaction) => insertThread(transaction, { ...thread, copying }, now));
    if (created === undefined) throw new Error(`thread ${thread.threadId} exists already`);
  }

  async reveal(threadId: string, owner: string, projection: ThreadProjection | null): Promise<boolean> {
    const now = this.clock.now();
    return this.storing(threadId, projection, async (transaction, stored) => {
      const shown = await transaction
        .updateTable("threads")
        .set({ deleting: 0, reserved_by: null })
        .where("thread_id", "=", threadId)
        .where("reserved_by", "=", owner)
        .executeTakeFirst();
      if (shown.numUpdatedRows === 0n) return false;
      if (projection !== null) await mirrorState(transaction, threadId, { projection, stored, now });
      return true;
    });
  }

  async get(threadId: string): Promise<ThreadWithValues | undefined> {
    for (;;) {
      const row = await this.database
        .selectFrom("threads")
        .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
        .select([...THREAD_COLUMNS, "thread_values.values", "thread_values.version"])
        .where((eb) => this.isThere(eb, threadId))
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const { values, version } = row;
      const valuesJson = values === null ? null : await readState(this.database, { values, version });
      if (valuesJson !== undefined) return { ...toThread(row), valuesJson };
    }
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

  async reserve(threadId: string, { owner, leaseMs }: Reservation): Promise<"reserved" | "busy" | "missing"> {
    return this.commits.run(async (transaction) => {
      await takeThread(transaction, threadId);
      const taken = await transaction
        .updateTable("threads")
        .set({ reserved_by: owner, reserved_until: momentAfter(this.moment(transaction), leaseMs) })
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

  async renewReservation(threadId: string, { owner, leaseMs }: Reservation): Promise<boolean> {
    const renewed = await this.database
      .updateTable("threads")
      .set({ reserved_until: momentAfter(this.moment(this.database), leaseMs) })
      .where("thread_id", "=", threadId)
      .where("reserved_by", "=", owner)
      .executeTakeFirst();
    return renewed.numUpdatedRows > 0n;
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
      .where("deleting", "=", 0)
      .$narrowType<{ owner: NotNull }>()
      .orderBy("thread_id")
      .execute();
  }

  async takeReserved({ owner, leaseMs }: Reservation, limit: number): Promise<readonly string[]> {
    return this.commits.run(async (transaction) => {
      const moment = this.moment(transaction);
      const taken = await transaction
        .updateTable("threads")
        .set({ reserved_by: owner, reserved_until: momentAfter(this.moment(transaction), leaseMs) })
        .where("thread_id", "in", ({ selectFrom }) =>
          lockedUnlessHeld(selectFrom("threads").select("thread_id"))
            .where(isAbandoned(moment))
            .orderBy("reserved_until")
            .limit(limit),
        )
        .where(isAbandoned(moment)) // again for each row that another one held
        .returning("thread_id")
        .execute();
      return taken.map((row) => row.thread_id);
    });
  }

  async saveProjection(
    threadId: string,
    projection: ThreadProjection,
    { graphId, owner }: { readonly graphId?: string; readonly owner?: string } = {},
  ): Promise<boolean> {
    const now = this.clock.now();
    return this.storing(threadId, projection, async (transaction, stored) => {
      if (owner !== undefined && !(await isReservedBy(transaction, threadId, owner))) return false;
      await mirrorState(transaction, threadId, { projection, stored, graphId, now });
      return true;
    });
  }

  async catchUp(threadId: string, projection: ThreadProjection): Promise<void> {
    const now = this.clock.now();
    const { interrupts, next } = projectionColumns(projection);
    await this.storing(threadId, projection, async (transaction, stored) => {
      const shown = await locked(
        transaction
          .selectFrom("threads")
          .leftJoin("thread_states", "thread_states.thread_id", "threads.thread_id")
          .select(["threads.interrupts", "threads.next", "thread_states.values"])
          .where("threads.thread_id", "=", threadId),
        "threads",
      ).executeTakeFirst();
      const isShown = shown?.interrupts === interrupts && shown.next === next && shown.values === projection.valuesJson;
      if (!isShown) await mirrorState(transaction, threadId, { projection, stored, now });
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
      await takeThread(transaction, threadId);
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

  async pruneOutgrown(threadId: string, prune: (transaction: StoreTransaction) => Awaitable<void>): Promise<boolean> {
    const now = this.clock.now();
    return this.commits.run((transaction) => pruneOutgrown(transaction, threadId, { now, prune }));
  }

  async remove(threadId: string): Promise<void> {
    await this.commits.run(async (transaction) => {
      await transaction.deleteFrom("threads").where("thread_id", "=", threadId).execute();
    });
  }

  async listDeleting(): Promise<readonly string[]> {
    const rows = await this.database
      .selectFrom("threads")
      .select("thread_id")
      .where(DELETING)
      .orderBy("thread_id")
      .execute();
    return rows.map((row) => row.thread_id);
  }

  async listHalfDeleted(): Promise<readonly string[]> {
    const rows = await this.database
      .selectFrom("threads")
      .select("thread_id")
      .where(DELETING)
      .where(isNobodys(this.moment(this.database)))
      .orderBy("thread_id")
      .execute();
    return rows.map((row) => row.thread_id);
  }

  async takeHalfDeleted(threadId: string, { owner, leaseMs }: Reservation): Promise<boolean> {
    const moment = this.moment(this.database);
    const taken = await this.database
      .updateTable("threads")
      .set({ reserved_by: owner, reserved_until: momentAfter(this.moment(this.database), leaseMs) })
      .where("thread_id", "=", threadId)
      .where(DELETING)
      .where(isNobodys(moment))
      .executeTakeFirst();
    return taken.numUpdatedRows > 0n;
  }
}

/** A literal, as in the partial index. */
const DELETING: RawBuilder<SqlBool> = sql<SqlBool>`deleting = 1`;

/** Whether somebody had taken the thread, and not until now. */
function isAbandoned(now: Moment): RawBuilder<SqlBool> {
  return sql<SqlBool>`reserved_by is not null and reserved_until <= ${now} and deleting = 0`;
}

function isNobodys(now: Moment): RawBuilder<SqlBool> {
  return sql<SqlBool>`(reserved_by is null or reserved_until <= ${now})`;
}

async function isReservedBy(database: Database, threadId: string, owner: string): Promise<boolean> {
  const row = await locked(
    database
      .selectFrom("threads")
      .select("thread_id")
      .where("thread_id", "=", threadId)
      .where("reserved_by", "=", owner),
  ).executeTakeFirst();
  return row !== undefined;
}
