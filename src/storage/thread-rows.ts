/**
 * Thread rows ↔ threads, and the writes to them that more than one store makes. Every function runs in its caller's
 * transaction.
 */
import { type RawBuilder, type Selectable, sql } from "kysely";
import type {
  InterruptsByTask,
  JsonObject,
  RunError,
  Thread,
  ThreadProjection,
  ThreadStatus,
  ThreadTtl,
} from "../core/model.js";
import { indexTerms } from "./containment.js";
import type { Database, Schema } from "./database.js";
import type { NewThread } from "./storage.js";

type ThreadRow = Selectable<Schema["threads"]>;

export const THREAD_COLUMNS = [
  "threads.thread_id",
  "threads.created_at",
  "threads.updated_at",
  "threads.state_updated_at",
  "threads.metadata",
  "threads.config",
  "threads.status",
  "threads.interrupts",
  "threads.error",
  "threads.ttl_strategy",
  "threads.ttl_minutes",
  "threads.expires_at",
] as const;

export function toThread(row: Omit<ThreadRow, "next" | "reserved_by" | "deleting">): Thread {
  return {
    threadId: row.thread_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    stateUpdatedAt: row.state_updated_at,
    metadata: JSON.parse(row.metadata) as JsonObject, // JSON columns hold what this module wrote
    config: JSON.parse(row.config) as JsonObject,
    status: row.status,
    interrupts: JSON.parse(row.interrupts) as InterruptsByTask,
    error: row.status === "error" && row.error !== null ? (JSON.parse(row.error) as RunError) : null,
    ttl: toTtl(row),
  };
}

type TtlColumns = Pick<ThreadRow, "ttl_strategy" | "ttl_minutes" | "expires_at">;

function toTtl(row: TtlColumns): ThreadTtl | null {
  if (row.ttl_strategy === null || row.ttl_minutes === null || row.expires_at === null) return null;
  return { strategy: row.ttl_strategy, ttlMinutes: row.ttl_minutes, expiresAt: row.expires_at };
}

const MINUTE_MS = 60_000;

export function ttlColumns(ttl: NewThread["ttl"], now: number): TtlColumns {
  if (ttl === null) return { ttl_strategy: null, ttl_minutes: null, expires_at: null };
  const expiresAt = Math.round(now + ttl.ttlMinutes * MINUTE_MS);
  return { ttl_strategy: ttl.strategy, ttl_minutes: ttl.ttlMinutes, expires_at: expiresAt };
}

/** undefined when the id is taken, be it by a thread that is being deleted. */
export async function insertThread(database: Database, thread: NewThread, now: number): Promise<Thread | undefined> {
  const row: ThreadRow = {
    thread_id: thread.threadId,
    created_at: now,
    updated_at: now,
    state_updated_at: null,
    metadata: JSON.stringify(thread.metadata),
    config: "{}",
    status: "idle",
    interrupts: "{}",
    next: "[]",
    error: null,
    ...ttlColumns(thread.ttl, now),
    reserved_by: null,
    deleting: 0,
  };
  const inserted = await database
    .insertInto("threads")
    .values(row)
    .onConflict((conflict) => conflict.column("thread_id").doNothing())
    .executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows !== 1n) return undefined;
  await addTerms(database, thread.threadId, indexTerms(thread.metadata));
  return toThread(row);
}

/** Own members of both, `change` winning; `__proto__` is a key like any other. */
export function mergeMetadata(metadata: JsonObject, change: JsonObject): JsonObject {
  return { ...metadata, ...change };
}

/** Brings the search index of a thread from its metadata before to those after. */
export async function reindexTerms(
  database: Database,
  threadId: string,
  change: { readonly before: JsonObject; readonly after: JsonObject },
): Promise<void> {
  const before = indexTerms(change.before);
  const after = indexTerms(change.after);
  const gone = [...before].filter((term) => !after.has(term));
  for (const terms of chunks(gone)) {
    await database.deleteFrom("thread_terms").where("thread_id", "=", threadId).where("term", "in", terms).execute();
  }
  await addTerms(database, threadId, new Set([...after].filter((term) => !before.has(term))));
}

async function addTerms(database: Database, threadId: string, terms: ReadonlySet<string>): Promise<void> {
  for (const chunk of chunks([...terms])) {
    const rows = chunk.map((term) => ({ thread_id: threadId, term }));
    await database.insertInto("thread_terms").values(rows).execute();
  }
}

const CHUNK_TERMS = 500;

/** Databases limit how many values one statement binds. */
function* chunks(terms: readonly string[]): Generator<readonly string[]> {
  for (let start = 0; start < terms.length; start += CHUNK_TERMS) yield terms.slice(start, start + CHUNK_TERMS);
}

/** The state columns of a projection; its values live in `thread_values`. */
export function projectionColumns(projection: ThreadProjection): Pick<ThreadRow, "interrupts" | "next"> {
  return { interrupts: JSON.stringify(projection.interrupts), next: JSON.stringify(projection.next) };
}

export async function saveValues(database: Database, threadId: string, valuesJson: string | null): Promise<void> {
  if (valuesJson === null) {
    await database.deleteFrom("thread_values").where("thread_id", "=", threadId).execute();
    return;
  }
  await database
    .insertInto("thread_values")
    .values({ thread_id: threadId, values: valuesJson })
    .onConflict((conflict) => conflict.column("thread_id").doUpdateSet({ values: valuesJson }))
    .execute();
}

/**
 * The one rule for a thread's status: busy while a run is in flight, else what its last outcome and state make of it.
 * Evaluated where it is written, so that it sees what the transaction did to the runs.
 */
export function derivedStatus(
  threadId: string,
  state: Pick<ThreadRow, "error" | "interrupts" | "next">,
): RawBuilder<ThreadStatus> {
  return sql<ThreadStatus>`case when exists (
    select 1 from runs where runs.thread_id = ${threadId} and runs.status in ('pending', 'running')
  ) then 'busy' else ${restingStatus(state)} end`;
}

function restingStatus(state: Pick<ThreadRow, "error" | "interrupts" | "next">): ThreadStatus {
  if (state.error !== null) return "error";
  return state.next !== "[]" || state.interrupts !== "{}" ? "interrupted" : "idle";
}

/** Derives the status anew from what the row holds: for changes of the runs that leave the state alone. */
export async function refreshStatus(database: Database, threadId: string): Promise<void> {
  const state = await database
    .selectFrom("threads")
    .select(["error", "interrupts", "next"])
    .where("thread_id", "=", threadId)
    .executeTakeFirst();
  if (state === undefined) return;
  await database
    .updateTable("threads")
    .set({ status: derivedStatus(threadId, state) })
    .where("thread_id", "=", threadId)
    .execute();
}
