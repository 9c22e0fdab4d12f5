/**
 * The typed schema, the Kysely connection over it, and everything in which databases differ: JSON containment, text
 * search, row locks, error codes. The stores above are written once.
 *
 * JSON columns hold text, because `jsonb` knows neither NUL nor lone surrogates; times are epoch milliseconds.
 */
import {
  type Generated,
  Kysely,
  type SqliteDatabase as KyselySqliteDatabase,
  type RawBuilder,
  type SqlBool,
  SqliteDialect,
  sql,
} from "kysely";
import type { CancelAction, Json, JsonObject, MultitaskStrategy, RunStatus, ThreadStatus } from "../core/model.js";
import { jsonContains } from "./containment.js";
import { createItemMatcher } from "./item-filter.js";
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
    /** Taken for a write outside of runs. */
    reserved_by: string | null;
    deleting: number;
  };
  /** Apart from `threads`, so that a status change does not rewrite the state. */
  thread_values: { thread_id: string; values: string };
  /** `key=json` of every top-level scalar in a thread's metadata, for the search index. */
  thread_terms: { thread_id: string; term: string };
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
  };
  idempotency_keys: { owner: string; key: string; request_hash: string; run_id: string; created_at: number };
  outbox: {
    id: Generated<number>;
    run_id: string | null;
    kind: string;
    payload: string;
    next_at: number;
    attempts: number;
    done_at: number | null;
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
  items: {
    namespace: string;
    key: string;
    value: string;
    created_at: number;
    updated_at: number;
    ttl_minutes: number | null;
    expires_at: number | null;
  };
}

export type Database = Kysely<Schema>;

/** Wraps an open SQLite connection, which from then on belongs to Kysely: its transactions await. */
export function createDatabase(connection: SqliteDatabase): Database {
  const parseFilter = rememberLast((text) => JSON.parse(text) as Json);
  connection.function("json_contains", { deterministic: true }, (value, filter) =>
    value !== null && jsonContains(JSON.parse(String(value)), parseFilter(String(filter))) ? 1 : 0,
  );
  connection.function("item_matches", { deterministic: true }, createItemMatcher());
  connection.function("text_contains", { deterministic: true }, (text, part) =>
    decodeText(String(text))
      .toLowerCase()
      .includes(decodeText(String(part)).toLowerCase())
      ? 1
      : 0,
  );
  return new Kysely<Schema>({ dialect: new SqliteDialect({ database: keepStatements(connection) }) });
}

const MAX_STATEMENTS = 500;

/** Kysely prepares the text of every query anew, which measured half the time of admitting, claiming and finishing. */
function keepStatements(connection: SqliteDatabase): KyselySqliteDatabase {
  const statements = new Map<string, ReturnType<KyselySqliteDatabase["prepare"]>>();
  return {
    prepare(text) {
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

/** Whether the JSON `column` holds everything that `filter` names. */
export function columnContains(column: string, filter: JsonObject): RawBuilder<SqlBool> {
  return sql<SqlBool>`json_contains(${sql.ref(column)}, ${JSON.stringify(filter)})`;
}

/** Whether the encoded text `column` holds `part`, in any case and letter by letter. */
export function columnIncludes(column: string, part: string): RawBuilder<SqlBool> {
  return sql<SqlBool>`text_contains(${sql.ref(column)}, ${encodeText(part)})`;
}

/**
 * Makes the rows of a select wait for, and hold off, other transactions. SQLite has one connection here, whose
 * transactions follow each other anyway, and no word for it.
 */
export function locked<Query>(select: Query): Query {
  return select;
}

/** Whether the database refused a statement because of a unique index. */
export function isUniqueViolation(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "SQLITE_CONSTRAINT_UNIQUE";
}

/** Free text as every database can hold it: NUL, lone surrogates, quotes and backslashes are escaped as in JSON. */
export function encodeText(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

export function decodeText(encoded: string): string {
  return JSON.parse(`"${encoded}"`) as string; // what encodeText made
}

/** A search calls its function for every row with the same filter. */
function rememberLast<T>(compute: (text: string) => T): (text: string) => T {
  let last: { readonly text: string; readonly value: T } | undefined;
  return (text) => {
    if (last?.text !== text) last = { text, value: compute(text) };
    return last.value;
  };
}
