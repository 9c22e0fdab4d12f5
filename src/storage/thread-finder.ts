/**
 * Finds threads.
 *
 * A search costs what it finds and not what there is: it starts from an index where that knows few threads, and otherwise
 * walks the threads in the order that is asked for until the page is full. States are read only where no index decides,
 * and only so many.
 */
import { type OrderByItemBuilder, type RawBuilder, type SqlBool, sql } from "kysely";
import { invalid } from "../core/errors.js";
import { inOrder, requirePageFits } from "../core/page.js";
import type { Scope } from "../core/scope.js";
import { bytesOf, type Database, wordIndexOf } from "./database.js";
import { readState } from "./long-states.js";
import type { Page, PageQuery } from "./ports/page.js";
import type {
  THREAD_SORT_COLUMNS,
  ThreadFilter,
  ThreadPosition,
  ThreadStore,
  ThreadWithValues,
} from "./ports/threads.js";
import { THREAD_COLUMNS, toThread } from "./thread-rows.js";
import { allHold, type Conjunct, conjunctsOf, type ThreadSource } from "./thread-where.js";

/** The part of a thread store that looks for threads. */
export class ThreadFinder implements Pick<ThreadStore, "search" | "searchAfter" | "listIds" | "count"> {
  private readonly database: Database;

  private readonly scope: Scope;

  constructor(database: Database, scope: Scope) {
    this.database = database;
    this.scope = scope;
  }

  async search(
    filter: ThreadFilter,
    page: PageQuery<SortColumn>,
    options: { readonly withValues: boolean },
  ): Promise<Page<ThreadWithValues>> {
    const conjuncts = await this.bounded(this.conjunctsOf(filter));
    const total = await this.countAll(conjuncts);
    if (total <= page.offset) return { rows: [], total };
    const found = await this.find(conjuncts, { ...page, ...options, after: null });
    return { rows: await this.read(found, page.maxBytes, options), total };
  }

  async searchAfter(
    filter: ThreadFilter,
    page: Omit<PageQuery<SortColumn>, "offset"> & { readonly after: ThreadPosition | null },
    options: { readonly withValues: boolean },
  ): Promise<{ readonly rows: readonly ThreadWithValues[]; readonly next: ThreadPosition | null }> {
    const conjuncts = await this.bounded(this.conjunctsOf(filter));
    const found = await this.find(conjuncts, { ...page, ...options, offset: 0, limit: page.limit + 1 });
    const shown = found.slice(0, page.limit);
    const last = shown.at(-1);
    const next =
      found.length > page.limit && last !== undefined ? { value: last.value, threadId: last.thread_id } : null;
    return { rows: await this.read(shown, page.maxBytes, options), next };
  }

  async listIds(filter: ThreadFilter, limit: number): Promise<readonly string[]> {
    const rows = await this.database
      .selectFrom("threads")
      .select("threads.thread_id")
      .where(await this.start(await this.bounded(this.conjunctsOf(filter))))
      .limit(limit)
      .execute();
    return rows.map((row) => row.thread_id);
  }

  async count(filter: ThreadFilter): Promise<number> {
    return this.countAll(await this.bounded(this.conjunctsOf(filter)));
  }

  private conjunctsOf(filter: ThreadFilter): readonly Conjunct[] {
    return conjunctsOf(filter, { scope: this.scope, wordIndex: wordIndexOf(this.database) });
  }

  /** From the indexes alone where nothing but one term, or nothing at all, is asked for. */
  private async countAll(conjuncts: readonly Conjunct[]): Promise<number> {
    const [, ...asked] = conjuncts; // the first says that a thread is not being deleted
    const term = asked.length === 1 ? asked[0]?.source?.term : undefined;
    const indexed = term
      ? sql`(select count(*) from thread_terms where term = ${term})`
      : sql`(select count(*) from threads)`;
    const counted = await (term || asked.length === 0
      ? sql<{ total: number }>`select ${indexed} - (select count(*) from threads
          where threads.deleting = 1 and ${allHold(asked)}) as total`
      : sql<{
          total: number;
        }>`select count(*) as total from threads where ${await this.start(conjuncts, "all of them")}`
    ).execute(this.database);
    return counted.rows[0]?.total ?? 0;
  }

  /** One page in order: which threads, how large each is, and where each stands. */
  private async find(
    conjuncts: readonly Conjunct[],
    { sortBy, sortOrder, limit, offset, after, withValues }: FindQuery,
  ): Promise<readonly FoundThread[]> {
    const ofState = withValues ? sql`coalesce(thread_states.bytes, 0)` : sql`0`;
    return this.database
      .selectFrom("threads")
      .$if(withValues, (query) => query.leftJoin("thread_states", "thread_states.thread_id", "threads.thread_id"))
      .select(["threads.thread_id", `threads.${sortBy} as value`])
      .select(sql<number>`${bytesOf(THREAD_TEXTS)} + ${ofState}`.as("bytes"))
      .where(await this.start(conjuncts))
      .$if(after !== null, (query) => query.where(isBehind({ sortBy, sortOrder }, after)))
      .orderBy(`threads.${sortBy}`, (order) => inOrderOf(order, { sortBy, sortOrder }))
      .$if(sortBy !== "thread_id", (query) => query.orderBy("threads.thread_id", sortOrder))
      .limit(limit)
      .offset(offset)
      .execute();
  }

  private async read(
    found: readonly FoundThread[],
    maxBytes: number,
    { withValues }: { readonly withValues: boolean },
  ): Promise<readonly ThreadWithValues[]> {
    requirePageFits(
      found.map(({ bytes }) => bytes),
      maxBytes,
    );
    if (found.length === 0) return [];
    const ids = found.map((row) => row.thread_id);
    const rows = await this.database
      .selectFrom("threads")
      .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
      .select(THREAD_COLUMNS)
      .$if(withValues, (query) => query.select(["thread_values.values", "thread_values.version"]))
      .where("threads.thread_id", "in", ids)
      .where("threads.deleting", "=", 0)
      .execute();
    const threads: ThreadWithValues[] = [];
    for (const { values = null, version = null, ...row } of rows) {
      const valuesJson = values === null ? null : await readState(this.database, { values, version });
      if (valuesJson === undefined) return this.read(found, maxBytes, { withValues }); // it was replaced meanwhile
      threads.push({ ...toThread(row), valuesJson });
    }
    return inOrder(ids, threads, ({ threadId }) => threadId);
  }

  /**
   * All conditions, one of them as where to start: the one that holds for the fewest threads, if those are few. Where
   * `wanted` is but a page of many the threads are walked in order until it is full.
   */
  private async start(
    conjuncts: readonly Conjunct[],
    wanted: "a page" | "all of them" = "a page",
  ): Promise<RawBuilder<SqlBool>> {
    const sources: { readonly conjunct: Conjunct; readonly isIn: RawBuilder<SqlBool>; readonly size: number }[] = [];
    for (const conjunct of conjuncts) {
      if (conjunct.source === null) continue;
      const { source } = conjunct;
      const size = await this.sizeOf(source);
      if (size <= FEW || wanted === "all of them") sources.push({ conjunct, isIn: source.isIn, size });
    }
    const [first] = sources.sort((a, b) => a.size - b.size);
    if (first === undefined) return allHold(conjuncts);
    const others = conjuncts.filter((conjunct) => conjunct !== first.conjunct);
    return sql<SqlBool>`(${first.isIn} and ${allHold(others)})`;
  }

  /** How many threads there are in a source, counted a little beyond what is few. */
  private async sizeOf(source: ThreadSource): Promise<number> {
    const some = source.rows(FEW + 1);
    const counted = await sql<{ size: number }>`select count(*) as size from (${some}) as counted`.execute(
      this.database,
    );
    return counted.rows[0]?.size ?? 0;
  }

  /** Throws `validation` where too many states, or too much of them, would have to be read. */
  private async bounded(conjuncts: readonly Conjunct[]): Promise<readonly Conjunct[]> {
    if (!conjuncts.some((conjunct) => conjunct.readsStates)) return conjuncts;
    const candidates = this.database
      .selectFrom("threads")
      .innerJoin("thread_states", "thread_states.thread_id", "threads.thread_id")
      .select("thread_states.bytes")
      .where(await this.start(conjuncts.filter((conjunct) => !conjunct.readsStates)))
      .limit(MAX_STATES + 1)
      .as("candidates");
    const { states, bytes } = await this.database
      .selectFrom(candidates)
      .select((eb) => [eb.fn.countAll<number>().as("states"), eb.fn.sum<number | null>("candidates.bytes").as("bytes")])
      .executeTakeFirstOrThrow();
    if (states <= MAX_STATES && (bytes ?? 0) <= MAX_STATE_BYTES) return conjuncts;
    throw invalid(
      `a filter by values would have to read more than ${MAX_STATES} states, or ${MAX_STATE_BYTES} bytes of them: narrow ` +
        "it by metadata, status or ids, or filter by texts, numbers or booleans at the top of the state, which are indexed",
    );
  }
}

type SortColumn = (typeof THREAD_SORT_COLUMNS)[number];

interface FindQuery extends Omit<PageQuery<SortColumn>, "maxBytes"> {
  readonly after: ThreadPosition | null;
  readonly withValues: boolean;
}

interface FoundThread {
  readonly thread_id: string;
  readonly value: string | number | null;
  readonly bytes: number;
}

/** With more, walking the threads in order until a page is full takes less than sorting those that match. */
const FEW = 1_000;

/** What one search reads of states: some tenths of a second. */
const MAX_STATES = 5_000;
const MAX_STATE_BYTES = 16 * 1_024 ** 2;

/** The columns that may be long. */
const THREAD_TEXTS = ["threads.metadata", "threads.config", "threads.interrupts", "threads.error"];

/** A column without a value comes first, or, descending, last: said only where there may be none, since no index says so. */
function inOrderOf(
  order: OrderByItemBuilder,
  { sortBy, sortOrder }: { readonly sortBy: SortColumn; readonly sortOrder: "asc" | "desc" },
): OrderByItemBuilder {
  if (sortOrder === "asc") return sortBy === "state_updated_at" ? order.asc().nullsFirst() : order.asc();
  return sortBy === "state_updated_at" ? order.desc().nullsLast() : order.desc();
}

/** Behind a position in the order that is asked for; a column without a value comes first, or, descending, last. */
function isBehind(
  { sortBy, sortOrder }: { readonly sortBy: SortColumn; readonly sortOrder: "asc" | "desc" },
  after: ThreadPosition | null,
): RawBuilder<SqlBool> {
  if (after === null) return sql<SqlBool>`true`;
  const column = sql.ref(`threads.${sortBy}`);
  const { value, threadId } = after;
  const isBeyond = sortOrder === "asc" ? sql`>` : sql`<`;
  if (value === null) {
    const isLater = sql`${column} is null and threads.thread_id ${isBeyond} ${threadId}`;
    return sortOrder === "asc" ? sql<SqlBool>`(${isLater} or ${column} is not null)` : sql<SqlBool>`(${isLater})`;
  }
  const isLater = sql<SqlBool>`(${column}, threads.thread_id) ${isBeyond} (${value}, ${threadId})`;
  const mayBeNull = sortBy === "state_updated_at" && sortOrder === "desc";
  return mayBeNull ? sql<SqlBool>`(${isLater} or ${column} is null)` : isLater;
}
