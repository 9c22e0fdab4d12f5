/** The typed schema and the Kysely connection over it. JSON columns hold text, times are epoch milliseconds. */
import { type Generated, Kysely, SqliteDialect } from "kysely";
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
    status: string;
    /** Pending interrupts by task id. */
    interrupts: string;
    /** Names of the next nodes, JSON array; with `interrupts` it decides what an unoccupied thread is. */
    next: string;
    error: string | null;
    ttl_strategy: string | null;
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
    status: string;
    metadata: string;
    multitask_strategy: string;
    payload: string;
    attempt: number;
    fence: number;
    run_after: number;
    worker_id: string | null;
    lease_until: number | null;
    cancel_action: string | null;
    cancel_requested_at: number | null;
    /** 1 while its checkpoints are being taken back; the row goes when they are gone. */
    rolling_back: number;
    owner: string | null;
    error: string | null;
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
  connection.function("json_contains", { deterministic: true }, (value, filter) =>
    value !== null && jsonContains(JSON.parse(String(value)), JSON.parse(String(filter))) ? 1 : 0,
  );
  connection.function("item_matches", { deterministic: true }, createItemMatcher());
  return new Kysely<Schema>({ dialect: new SqliteDialect({ database: connection }) });
}
