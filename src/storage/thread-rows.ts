/**
 * Thread rows ↔ threads, and the writes to them that more than one store makes. Every function runs in its caller's
 * transaction.
 */
import { type RawBuilder, type Selectable, sql } from "kysely";
import { mergeMetadata } from "../core/metadata.js";
import type {
  InterruptsByTask,
  JsonObject,
  RunError,
  Thread,
  ThreadProjection,
  ThreadStatus,
  ThreadTtl,
} from "../core/model.js";
import { type Database, locked, momentAfter, momentOf, type Schema } from "./database.js";
import { type StoredState, writeState } from "./long-states.js";
import type { NewThread, Reservation } from "./ports/threads.js";
import { indexMetadata, indexValues } from "./thread-index.js";

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

export function toThread(
  row: Omit<ThreadRow, "next" | "reserved_by" | "reserved_until" | "deleting" | "claims">,
): Thread {
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

/** When the time of a thread that is used now is over; null for one without a ttl. A value for `expires_at`. */
export function renewedExpiry(now: number): RawBuilder<number | null> {
  return sql<number | null>`cast(floor(${now} + ttl_minutes * ${MINUTE_MS} + 0.5) as bigint)`;
}

/** undefined when the id is taken, be it by a thread that is being deleted. */
export async function insertThread(
  database: Database,
  thread: NewThread & { readonly copying?: Reservation },
  now: number,
): Promise<Thread | undefined> {
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
    reserved_by: thread.copying?.owner ?? null,
    reserved_until: 0,
    deleting: thread.copying === undefined ? 0 : 1,
    claims: 0,
  };
  const until = thread.copying === undefined ? 0 : momentAfter(momentOf(database, now), thread.copying.leaseMs);
  const inserted = await database
    .insertInto("threads")
    .values({ ...row, reserved_until: until })
    .onConflict((conflict) => conflict.column("thread_id").doNothing())
    .executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows !== 1n) return undefined;
  await indexMetadata(database, thread.threadId, { before: null, after: thread.metadata });
  return toThread(row);
}

/** The state columns of a projection; its values live in `thread_values`. */
export function projectionColumns(projection: ThreadProjection): Pick<ThreadRow, "interrupts" | "next"> {
  return { interrupts: JSON.stringify(projection.interrupts), next: JSON.stringify(projection.next) };
}

/** Shows the state on its thread, unless that is being deleted, after a write outside of runs: no run's error is left. */
export async function mirrorState(
  database: Database,
  threadId: string,
  change: {
    readonly projection: ThreadProjection;
    /** The projection's values. */
    readonly stored: StoredState;
    readonly graphId?: string | undefined;
    readonly now: number;
  },
): Promise<void> {
  const { projection, stored, graphId, now } = change;
  const row = await locked(
    database.selectFrom("threads").select("metadata").where("thread_id", "=", threadId).where("deleting", "=", 0),
  ).executeTakeFirst();
  if (row === undefined) return;
  const before = JSON.parse(row.metadata) as JsonObject; // written by this module
  const after = graphId === undefined ? before : mergeMetadata(before, { graph_id: graphId });
  const state = { ...projectionColumns(projection), error: null };
  await database
    .updateTable("threads")
    .set({
      ...state,
      metadata: JSON.stringify(after),
      updated_at: now,
      state_updated_at: now,
      expires_at: renewedExpiry(now),
      status: derivedStatus(threadId, state),
    })
    .where("thread_id", "=", threadId)
    .execute();
  await saveValues(database, threadId, stored);
  await indexMetadata(database, threadId, { before, after });
}

export async function saveValues(database: Database, threadId: string, stored: StoredState): Promise<void> {
  const { valuesJson, pieces } = stored;
  await indexValues(database, threadId, valuesJson);
  if (valuesJson !== null) return writeState(database, threadId, { valuesJson, pieces });
  await database.deleteFrom("thread_values").where("thread_id", "=", threadId).execute();
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
