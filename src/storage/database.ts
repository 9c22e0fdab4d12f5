/**
 * The typed schema, the Kysely connection over it, and everything in which databases differ: JSON containment, text
 * search, row locks, time, error codes. The stores above are written once; PostgreSQL's connections are in `postgres.ts`.
 *
 * JSON columns hold text, because `jsonb` knows neither NUL nor lone surrogates; times are epoch milliseconds. The
 * functions that statements call (`json_contains`, `member_matches`, `item_matches`, `thread_fts`) have one name and one
 * meaning in both databases: SQLite gets them from this process, PostgreSQL from the migrations (`postgres-functions.ts`).
 */
import {
  type Generated,
  Kysely,
  type SqliteDatabase as KyselySqliteDatabase,
  PostgresAdapter,
  type RawBuilder,
  type SelectQueryBuilder,
  type SelectQueryNode,
  type SqlBool,
  SqliteAdapter,
  SqliteDialect,
  SqliteQueryCompiler,
  sql,
} from "kysely";
import type { CancelAction, Json, JsonObject, MultitaskStrategy, RunStatus, ThreadStatus } from "../core/model.js";
import { jsonContains } from "./containment.js";
import { createItemMatcher } from "./item-filter.js";
import { createMemberMatcher, rememberLast } from "./member-filter.js";
import type { SqliteDatabase } from "./sqlite.js";

export interface Schema {
  threads: {
    thread_id: string;
    created_at: number;
    updated_at: number;
    state_updated_at: number | null;
    metadata: string;
    config: string;
    status: ThreadStatus;
    /** Pending interrupts by task id. */
    interrupts: string;
    /** Names of the next nodes, JSON array; with `interrupts` it decides what an unoccupied thread is. */
    next: string;
    /** How the last run failed; shown only while nothing newer occupies the thread. */
    error: string | null;
    ttl_strategy: "delete" | "keep_latest" | null;
    ttl_minutes: number | null;
    expires_at: number | null;
    /** Taken for a write outside of runs, or while it is being made as a copy. */
    reserved_by: string | null;
    /** Until when; means nothing while nobody has taken it. */
    reserved_until: Generated<number>;
    deleting: number;
    /** How many claims of runs there were: a trigger counts them, and nothing takes one back. */
    claims: number;
  };
  /** Apart from `threads`, so that a status change does not rewrite the state. A long one may be elsewhere: read `thread_states`. */
  thread_values: {
    thread_id: string;
    /** Empty where the state is in pieces. */
    values: string;
    /** Of the pieces that the state is in (`long-states.ts`). */
    version: string | null;
  };
  /** A view: the state of every thread that has one, in one piece. */
  thread_states: { thread_id: string; values: string; bytes: number };
  /** `key=json` of every top-level scalar in a thread's metadata and state, for the search index (`thread-index.ts`). */
  thread_terms: { thread_id: string; term: string };
  /** What a thread is found by in words; triggers keep the full-text index of it. */
  thread_texts: { id: Generated<number>; thread_id: string; title: string; words: string };
  api_keys: {
    key_id: string;
    /** SHA-256 of the key. */
    hash: string;
    shown: string;
    name: string;
    identity: string;
    /** JSON array. */
    permissions: string;
    created_at: number;
    expires_at: number | null;
    revoked_at: number | null;
  };
  runs: {
    seq: Generated<number>;
    run_id: string;
    thread_id: string;
    assistant_id: string;
    graph_id: string;
    created_at: number;
    updated_at: number;
    status: RunStatus;
    metadata: string;
    multitask_strategy: MultitaskStrategy;
    payload: string;
    attempt: number;
    fence: number;
    run_after: number;
    worker_id: string | null;
    lease_until: number | null;
    cancel_action: CancelAction | null;
    cancel_requested_at: number | null;
    /** 1 while its checkpoints are being taken back; the row goes when they are gone. */
    rolling_back: number;
    owner: string | null;
    error: string | null;
    /** What the thread's row held before this run was admitted; a rollback puts it back (`run-undo.ts`). */
    thread_metadata_before: string;
    thread_updated_at_before: number;
    /** The number that the thread gave the run's first claim. */
    first_claim: number | null;
    /** 1: its thread was made for it only. The payload says so, too, but may be large. */
    temporary: number;
    /** A copy of the payload's member, for the same reason. */
    webhook: string | null;
    /** When it was first claimed; unknown of runs of old. */
    started_at: number | null;
    /** Since when nobody reads it, although its client wanted it to stop then; null while somebody does, or nobody cares. */
    abandoned_at: number | null;
  };
  /** Written by triggers: every change of a run's status or fence; the new status is null when its row went. */
  run_audit: {
    seq: Generated<number>;
    run_id: string;
    thread_id: string;
    at: number;
    old_status: RunStatus | null;
    new_status: RunStatus | null;
    fence: number;
    attempt: number;
    worker_id: string | null;
  };
  /** Consecutive events of one claim in each row, as `run-ledger.ts` describes. */
  run_events: {
    run_id: string;
    fence: number;
    first_seq: number;
    last_seq: number;
    /** From 1 in each run. */
    segment: number;
    created_at: number;
    bytes: number;
    events: string;
  };
  idempotency_keys: { owner: string; key: string; request_hash: string; run_id: string; created_at: number };
  /** What is to be said to others of runs that ended, as `webhook-outbox.ts` describes. */
  outbox: {
    id: Generated<number>;
    run_id: string | null;
    kind: string;
    payload: string;
    next_at: number;
    attempts: number;
    done_at: number | null;
    url: string;
    host: string;
    /** The thread whose deletion takes the row along; null where the thread was made for the run. */
    goes_with: string | null;
    updated_at: number;
    /** Apart from the payload, so that it is stored as it came. */
    values: string | null;
  };
  assistants: { assistant_id: string; version: number; created_at: number; updated_at: number };
  assistant_versions: {
    assistant_id: string;
    version: number;
    graph_id: string;
    /** As `encodeText` writes it, like the description. */
    name: string;
    description: string | null;
    config: string;
    context: string;
    metadata: string;
    created_at: number;
  };
  crons: {
    cron_id: string;
    assistant_id: string;
    thread_id: string | null;
    schedule: string;
    timezone: string | null;
    end_at: number | null;
    enabled: number;
    on_run_completed: "delete" | "keep" | null;
    payload: string;
    metadata: string;
    user_id: string | null;
    identity: string | null;
    next_run_at: number | null;
    created_at: number;
    updated_at: number;
  };
  /** The latest ticks that were fired or passed over; without a run those that could not be fired. */
  cron_ticks: { cron_id: string; tick_at: number; run_id: string | null };
  items: {
    namespace: string;
    key: string;
    value: string;
    created_at: number;
    updated_at: number;
    ttl_minutes: number | null;
    expires_at: number | null;
    /** What the put said about indexing, as JSON: a list of paths, or false. null: nothing, so as configured. */
    index_paths: string | null;
    /** The model whose vectors the item has, be they none; null: it was never looked at by one. */
    embedded_by: number | null;
  };
  /** The models that vectors were made with. */
  item_models: { id: Generated<number>; embed: string; dims: number };
  /** The meaning of an item: one row per text, its vector of length 1 as `encodeVector` writes it. */
  item_vectors: { namespace: string; key: string; part: number; vector: Uint8Array };
}

export type Database = Kysely<Schema>;

/** Wraps an open SQLite connection, which from then on belongs to Kysely: its transactions await. */
export function createDatabase(connection: SqliteDatabase): Database {
  const parseFilter = rememberLast((text) => JSON.parse(text) as Json); // the same for every row of a search
  connection.function("json_contains", { deterministic: true }, (value, filter) =>
    value !== null && jsonContains(JSON.parse(String(value)), parseFilter(String(filter))) ? 1 : 0,
  );
  connection.function("item_matches", { deterministic: true }, createItemMatcher());
  connection.function("member_matches", { deterministic: true }, createMemberMatcher());
  connection.function("text_contains", { deterministic: true }, (text, part) =>
    decodeText(String(text))
      .toLowerCase()
      .includes(decodeText(String(part)).toLowerCase())
      ? 1
      : 0,
  );
  return new Kysely<Schema>({ dialect: new TransactionalDialect({ database: keepStatements(connection) }) });
}

/** SQLite takes changes of the schema back with their transaction, so that a death in the middle of them leaves none. */
class TransactionalDialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter();
  }

  override createQueryCompiler(): SqliteQueryCompiler {
    return new LocklessCompiler();
  }
}

/** SQLite has one connection here, whose transactions follow each other anyway, and no word for a locked row. */
class LocklessCompiler extends SqliteQueryCompiler {
  protected override visitSelectQuery({ endModifiers: _, ...node }: SelectQueryNode): void {
    super.visitSelectQuery(node);
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

const MAX_STATEMENTS = 500;

/** Kysely prepares the text of every query anew, which measured half the time of admitting, claiming and finishing. */
function keepStatements(connection: SqliteDatabase): KyselySqliteDatabase {
  const statements = new Map<string, ReturnType<KyselySqliteDatabase["prepare"]>>();
  return {
    prepare(asked) {
      const text = inTransactionOf(connection, asked);
      const kept = statements.get(text);
      if (kept !== undefined) return kept;
      if (statements.size === MAX_STATEMENTS) statements.clear(); // few texts are many only by the length of a list
      const statement = connection.prepare(text);
      statements.set(text, statement);
      return statement;
    },
    close: () => connection.close(),
  };
}

/**
 * A transaction takes the write lock when it begins: one that wants it later fails at once when another program has written
 * since its first read. And a failed write may have ended the transaction; rolling it back again would hide the reason.
 */
function inTransactionOf(connection: SqliteDatabase, text: string): string {
  if (text === "begin") return "begin immediate";
  return text === "rollback" && !connection.inTransaction ? "select 1" : text;
}

/** What the texts of these columns take together, in bytes: told from the headers of the rows, whatever they hold. */
export function bytesOf(columns: readonly string[]): RawBuilder<number> {
  const sizes = columns.map((column) => sql`coalesce(octet_length(${sql.ref(column)}), 0)`);
  return sql<number>`${sql.join(sizes, sql` + `)}`;
}

/** Whether the JSON `column` holds everything that `filter` names. */
export function columnContains(column: string, filter: JsonObject): RawBuilder<SqlBool> {
  return sql<SqlBool>`json_contains(${sql.ref(column)}, ${JSON.stringify(filter)})`;
}

/** Whether the encoded text `column` holds `part`, in any case and letter by letter: on SQLite only. */
export function columnIncludes(column: string, part: string): RawBuilder<SqlBool> {
  return sql<SqlBool>`text_contains(${sql.ref(column)}, ${encodeText(part)})`;
}

/** Whether the text `column` is one of any number, on PostgreSQL: as one value, since a statement binds but so many. */
export function isListed(column: string, texts: readonly string[]): RawBuilder<SqlBool> {
  return sql<SqlBool>`${sql.ref(column)} = any (${[...texts]})`;
}

/** How texts are kept to be found by their words, and how these are asked for. */
export interface WordIndex {
  /** What is stored of a text. */
  stored(text: string): string;
  /**
   * What `thread_fts` is asked with: for texts that have words which begin with each of `words`, in any case and without
   * regard to accents.
   */
  query(words: readonly string[]): string;
}

/** SQLite keeps the index of the texts itself. Every word is a quoted string of the index's language: nothing in it is an operator. */
const FULL_TEXT: WordIndex = {
  stored: (text) => text,
  query: (words) => words.map((word) => `"${word.replaceAll("\0", " ").replaceAll('"', '""')}"*`).join(" "),
};

export function wordIndexOf(database: Database): WordIndex {
  const adapter = database.getExecutor().adapter as { readonly words?: WordIndex }; // those of this folder have one
  return adapter.words ?? FULL_TEXT;
}

/** Which of the two a connection, or a transaction of it, belongs to. */
export function isPostgres(database: Database): boolean {
  return database.getExecutor().adapter instanceof PostgresAdapter;
}

/**
 * Makes the rows of a select wait for, and hold off, other transactions; `table` where there are several. Rows that refer
 * to them may be written meanwhile.
 */
export function locked<Tables, Names extends keyof Tables & string, Row>(
  select: SelectQueryBuilder<Tables, Names, Row>,
  table?: Names,
): SelectQueryBuilder<Tables, Names, Row> {
  return table === undefined ? select.forNoKeyUpdate() : select.forNoKeyUpdate(table);
}

/** The same, but rows that another transaction holds are as if they were not there. */
export function lockedUnlessHeld<Tables, Names extends keyof Tables & string, Row>(
  select: SelectQueryBuilder<Tables, Names, Row>,
  table?: Names,
): SelectQueryBuilder<Tables, Names, Row> {
  return locked(select, table).skipLocked();
}

/**
 * Takes a thread for the transaction, before it looks at anything of the thread: what the next statements see was
 * committed, and nobody changes it. Every transaction takes the thread's row first (docs/decisions/022-postgresql.md).
 */
export async function takeThread(transaction: Database, threadId: string): Promise<void> {
  if (!isPostgres(transaction)) return; // it has the whole database
  await locked(
    transaction.selectFrom("threads").select("thread_id").where("thread_id", "=", threadId),
  ).executeTakeFirst();
}

/** Takes a right that has no row, for the transaction: to count what must not become more than a limit. */
export async function takeRight(transaction: Database, name: string): Promise<void> {
  if (!isPostgres(transaction)) return;
  await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(transaction);
}

/**
 * The same for several, in an order that is everybody's: two that want the same ones do not wait for each other. One alone
 * needs no order.
 */
export async function takeRights(transaction: Database, names: readonly string[]): Promise<void> {
  const several = [...new Set(names)];
  if (several.length < 2 || !isPostgres(transaction)) return;
  await sql`select pg_advisory_xact_lock(right_id) from (
    select distinct hashtextextended(name, 0) as right_id from unnest(${several}::text[]) as name order by 1
  ) as rights`.execute(transaction);
}

/** A time in SQL. */
export type Moment = RawBuilder<number>;

/**
 * Now, in SQL: on PostgreSQL by its own clock, so that several processes agree about what is due; on SQLite `now`, the
 * time of the one process that there is.
 */
export function momentOf(database: Database, now: number): Moment {
  return isPostgres(database) ? sql<number>`heddle_now()` : sql<number>`${now}`;
}

export function momentAfter(moment: Moment, ms: number): Moment {
  return sql<number>`${moment} + ${ms}`;
}

const UNIQUE_VIOLATIONS: ReadonlySet<unknown> = new Set(["SQLITE_CONSTRAINT_UNIQUE", "23505"]);

/** Whether the database refused a statement because of a unique index. */
export function isUniqueViolation(error: unknown): boolean {
  return UNIQUE_VIOLATIONS.has((error as { code?: unknown } | null)?.code);
}

/** Free text as every database can hold it: NUL, lone surrogates, quotes and backslashes are escaped as in JSON. */
export function encodeText(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

export function decodeText(encoded: string): string {
  return JSON.parse(`"${encoded}"`) as string; // what encodeText made
}
