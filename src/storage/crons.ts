/**
 * Crons in SQL. A cron that can fire has a time at which it is due, any other has none, so that what is due is found
 * by one index; firing is in `runs.ts` and `cron-ticks.ts`.
 */
import type { ExpressionBuilder, ExpressionWrapper, Selectable, SqlBool } from "kysely";
import type { Clock } from "../core/clock.js";
import type { Cron, CronPayload, JsonObject, User } from "../core/model.js";
import { inOrder, requirePageFits } from "../core/page.js";
import { EVERYTHING, type Scope } from "../core/scope.js";
import type { CommitGroup } from "./commit-group.js";
import { takeTick } from "./cron-ticks.js";
import {
  bytesOf,
  columnContains,
  type Database,
  locked,
  momentOf,
  type Schema,
  takeRight,
  takeThread,
} from "./database.js";
import type { CRON_SORT_COLUMNS, CronFilter, CronStore, CronTick, DueCron, NewCron } from "./ports/crons.js";
import type { Page, PageQuery } from "./ports/page.js";
import { columnInScope } from "./scope-sql.js";

export interface SqlCronStoreDeps {
  readonly database: Database;
  /** Of the same database; shared by the stores, so that they share commits. */
  readonly commits: CommitGroup;
  readonly clock: Clock;
  readonly scope?: Scope;
}

type SortColumn = (typeof CRON_SORT_COLUMNS)[number];

const SORT_COLUMNS = {
  cron_id: "cron_id",
  assistant_id: "assistant_id",
  thread_id: "thread_id",
  next_run_date: "next_run_at",
  end_time: "end_at",
  created_at: "created_at",
  updated_at: "updated_at",
} as const satisfies Record<SortColumn, keyof Schema["crons"]>;

export class SqlCronStore implements CronStore {
  private readonly database: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;
  private readonly scope: Scope;

  constructor({ database, commits, clock, scope = EVERYTHING }: SqlCronStoreDeps) {
    this.database = database;
    this.commits = commits;
    this.clock = clock;
    this.scope = scope;
  }

  within(scope: Scope): CronStore {
    if (scope.length === 0) return this;
    const { database, commits, clock } = this;
    return new SqlCronStore({ database, commits, clock, scope: [...this.scope, ...scope] });
  }

  /** A cron that is there for whoever asks. */
  private isThere(eb: ExpressionBuilder<Schema, "crons">, cronId: string): ExpressionWrapper<Schema, "crons", SqlBool> {
    return eb.and([
      eb("crons.cron_id", "=", cronId),
      ...(this.scope.length === 0 ? [] : [columnInScope("crons.metadata", this.scope)]),
    ]);
  }

  async create(draft: NewCron, maxCrons: number): Promise<Cron | "full" | "no assistant" | "no thread"> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      if (draft.threadId !== null) await takeThread(transaction, draft.threadId);
      await takeRight(transaction, "to make a cron"); // whoever else makes one waits until this one can be counted
      const { crons } = await transaction
        .selectFrom("crons")
        .select((eb) => eb.fn.countAll<number>().as("crons"))
        .executeTakeFirstOrThrow();
      if (crons >= maxCrons) return "full";
      if (!(await hasAssistant(transaction, draft.assistantId))) return "no assistant";
      if (draft.threadId !== null && !(await hasThread(transaction, draft.threadId))) return "no thread";
      const cron = { ...draft, createdAt: now, updatedAt: now };
      await transaction.insertInto("crons").values(toRow(cron)).execute();
      return cron;
    });
  }

  async get(cronId: string): Promise<Cron | undefined> {
    const row = await this.database
      .selectFrom("crons")
      .selectAll()
      .where((eb) => this.isThere(eb, cronId))
      .executeTakeFirst();
    return row === undefined ? undefined : toCron(row);
  }

  async patch(cronId: string, change: (cron: Cron) => Omit<Cron, "updatedAt">): Promise<Cron | undefined> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const row = await locked(
        transaction
          .selectFrom("crons")
          .selectAll()
          .where((eb) => this.isThere(eb, cronId)),
      ).executeTakeFirst();
      if (row === undefined) return undefined;
      const cron = { ...change(toCron(row)), updatedAt: now };
      await transaction.updateTable("crons").set(toRow(cron)).where("cron_id", "=", cronId).execute();
      return cron;
    });
  }

  async remove(cronId: string): Promise<boolean> {
    return this.commits.run(async (transaction) => {
      const removed = await transaction
        .deleteFrom("crons")
        .where((eb) => this.isThere(eb, cronId))
        .executeTakeFirst();
      return removed.numDeletedRows > 0n;
    });
  }

  async search(filter: CronFilter, page: PageQuery<SortColumn>): Promise<Page<Cron>> {
    const total = await this.count(filter);
    if (total <= page.offset) return { rows: [], total };
    const found = await this.database
      .selectFrom("crons")
      .select(["cron_id", bytesOf(["payload", "metadata"]).as("bytes")])
      .where((eb) => matches(eb, filter, this.scope))
      .orderBy(SORT_COLUMNS[page.sortBy], (order) =>
        (page.sortOrder === "asc" ? order.asc() : order.desc()).nullsLast(),
      )
      .$if(page.sortBy !== "cron_id", (query) => query.orderBy("cron_id", page.sortOrder))
      .limit(page.limit)
      .offset(page.offset)
      .execute();
    requirePageFits(
      found.map(({ bytes }) => bytes),
      page.maxBytes,
    );
    const ids = found.map((row) => row.cron_id);
    if (ids.length === 0) return { rows: [], total };
    const rows = await this.database.selectFrom("crons").selectAll().where("cron_id", "in", ids).execute();
    return { rows: inOrder(ids, rows.map(toCron), ({ cronId }) => cronId), total };
  }

  async count(filter: CronFilter): Promise<number> {
    const { total } = await this.database
      .selectFrom("crons")
      .select((eb) => eb.fn.countAll<number>().as("total"))
      .where((eb) => matches(eb, filter, this.scope))
      .executeTakeFirstOrThrow();
    return total;
  }

  async listDue(now: number, after: DueCron | null, limit: number): Promise<readonly DueCron[]> {
    const rows = await this.database
      .selectFrom("crons")
      .select(["cron_id", "next_run_at"])
      .where("next_run_at", "<=", momentOf(this.database, now))
      .$if(after !== null, (query) =>
        query.where(({ eb, refTuple, tuple }) =>
          eb(refTuple("next_run_at", "cron_id"), ">", tuple(after?.nextRunAt ?? 0, after?.cronId ?? "")),
        ),
      )
      .orderBy("next_run_at")
      .orderBy("cron_id")
      .limit(limit)
      .execute();
    return rows.map((row) => ({ cronId: row.cron_id, nextRunAt: row.next_run_at ?? now })); // not null where it is compared
  }

  async nextDueAt(): Promise<number | undefined> {
    const row = await this.database
      .selectFrom("crons")
      .select("next_run_at")
      .where("next_run_at", "is not", null)
      .orderBy("next_run_at")
      .limit(1)
      .executeTakeFirst();
    return row?.next_run_at ?? undefined;
  }

  async pass(tick: CronTick, { disable }: { readonly disable: boolean }): Promise<boolean> {
    return this.commits.run(async (transaction) => {
      if ((await takeTick(transaction, tick)) === "not due") return false;
      if (disable) {
        await transaction
          .updateTable("crons")
          .set({ enabled: 0, next_run_at: null })
          .where("cron_id", "=", tick.cronId)
          .execute();
      }
      return true;
    });
  }
}

async function hasAssistant(database: Database, assistantId: string): Promise<boolean> {
  const row = await locked(
    database.selectFrom("assistants").select("assistant_id").where("assistant_id", "=", assistantId),
  ).executeTakeFirst();
  return row !== undefined;
}

async function hasThread(database: Database, threadId: string): Promise<boolean> {
  const row = await locked(
    database.selectFrom("threads").select("thread_id").where("thread_id", "=", threadId).where("deleting", "=", 0),
  ).executeTakeFirst();
  return row !== undefined;
}

function matches(
  eb: ExpressionBuilder<Schema, "crons">,
  { assistantId, threadId, enabled, metadata = {} }: CronFilter,
  scope: Scope,
): ExpressionWrapper<Schema, "crons", SqlBool> {
  const conditions = [];
  if (scope.length > 0) conditions.push(columnInScope("crons.metadata", scope));
  if (assistantId !== undefined) conditions.push(eb("assistant_id", "=", assistantId));
  if (threadId !== undefined) conditions.push(eb("thread_id", "=", threadId));
  if (enabled !== undefined) conditions.push(eb("enabled", "=", enabled ? 1 : 0));
  if (Object.keys(metadata).length > 0) conditions.push(columnContains("metadata", metadata));
  return eb.and(conditions);
}

type CronRow = Selectable<Schema["crons"]>;

function toRow(cron: Cron): CronRow {
  return {
    cron_id: cron.cronId,
    assistant_id: cron.assistantId,
    thread_id: cron.threadId,
    schedule: cron.schedule,
    timezone: cron.timezone,
    end_at: cron.endAt,
    enabled: cron.enabled ? 1 : 0,
    on_run_completed: cron.onRunCompleted,
    payload: JSON.stringify(cron.payload),
    metadata: JSON.stringify(cron.metadata),
    user_id: cron.userId,
    identity: cron.identity === null ? null : JSON.stringify(cron.identity),
    next_run_at: cron.nextRunAt,
    created_at: cron.createdAt,
    updated_at: cron.updatedAt,
  };
}

function toCron(row: CronRow): Cron {
  return {
    cronId: row.cron_id,
    assistantId: row.assistant_id,
    threadId: row.thread_id,
    schedule: row.schedule,
    timezone: row.timezone,
    endAt: row.end_at,
    enabled: row.enabled === 1,
    onRunCompleted: row.on_run_completed,
    payload: JSON.parse(row.payload) as CronPayload, // JSON columns hold what `toRow` wrote
    metadata: JSON.parse(row.metadata) as JsonObject,
    userId: row.user_id,
    identity: row.identity === null ? null : (JSON.parse(row.identity) as User),
    nextRunAt: row.next_run_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
