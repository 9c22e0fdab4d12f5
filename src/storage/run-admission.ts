/**
 * How a run comes to exist: one transaction that locks the thread, asks the pure decision, and writes what it says.
 *
 * A refusal is thrown out of the transaction, so that nothing stays, not even a thread that was made for the run.
 */
import { conflict } from "../core/errors.js";
import type { CancelAction, Run, Thread } from "../core/model.js";
import { type Database, locked } from "./database.js";
import { cancelInFlightRun } from "./run-cancel.js";
import { IN_FLIGHT, RUN_COLUMNS, toRow, toRun } from "./run-rows.js";
import { admittedMetadata } from "./run-undo.js";
import type { AdmitRequest, AdmitResult, InFlightRun, NewRun } from "./storage.js";
import { insertThread, reindexTerms, THREAD_COLUMNS, toThread } from "./thread-rows.js";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Keys are told apart by caller once there are callers. */
const NO_OWNER = "";

/** Runs in the caller's transaction, which must be rolled back when this throws. */
export async function admit(database: Database, request: AdmitRequest, now: number): Promise<AdmitResult> {
  if (request.idempotency !== null) {
    const earlier = await findRepeated(database, request.idempotency, now);
    if (earlier !== undefined) return { kind: "repeated", run: earlier };
  }
  const thread = (await lockThread(database, request.threadId)) ?? (await createThread(database, request, now));
  const inFlight = thread === undefined ? [] : await listInFlight(database, request.threadId);
  const admission = request.decide(thread, inFlight);
  if (admission.kind === "refuse") throw admission.error;
  if (thread === undefined) throw conflict(`thread ${JSON.stringify(request.threadId)} does not exist`);

  const { cancelInFlight: action } = admission;
  const cancelled = action === null ? [] : await cancelAll(database, request.threadId, { action, now });
  // A rollback gives the thread back as it was before the cancelled run.
  const before = action === "rollback" ? ((await lockThread(database, request.threadId)) ?? thread) : thread;
  const free = inFlight.length === 0 && !before.reserved && admission.run.runAfter <= now;
  const run = await insertRun(database, {
    run: admission.run,
    thread: before,
    now,
    claim: free ? request.claim : null,
  });
  if (request.idempotency !== null) {
    await database
      .insertInto("idempotency_keys")
      .values({
        owner: NO_OWNER,
        key: request.idempotency.key,
        request_hash: request.idempotency.requestHash,
        run_id: run.runId,
        created_at: now,
      })
      .execute();
  }
  return { kind: "admitted", run, cancelled };
}

/** The run that the key made within the last day; throws when the key stands for something else, or its run is gone. */
async function findRepeated(
  database: Database,
  { key, requestHash }: { readonly key: string; readonly requestHash: string },
  now: number,
): Promise<Run | undefined> {
  await database
    .deleteFrom("idempotency_keys")
    .where("created_at", "<=", now - DAY_MS)
    .execute();
  const known = await database
    .selectFrom("idempotency_keys")
    .select(["request_hash", "run_id"])
    .where("owner", "=", NO_OWNER)
    .where("key", "=", key)
    .executeTakeFirst();
  if (known === undefined) return undefined;
  if (known.request_hash !== requestHash) {
    throw conflict("this Idempotency-Key was used for a different request; use a new key");
  }
  const row = await database
    .selectFrom("runs")
    .select(RUN_COLUMNS)
    .where("run_id", "=", known.run_id)
    .executeTakeFirst();
  // Running it again would be a second execution of one request.
  if (row === undefined) throw conflict(`run ${known.run_id} of this Idempotency-Key has been deleted; use a new key`);
  return toRun(row);
}

type LockedThread = Thread & { readonly metadataText: string; readonly reserved: boolean };

async function lockThread(database: Database, threadId: string): Promise<LockedThread | undefined> {
  const row = await locked(
    database
      .selectFrom("threads")
      .select([...THREAD_COLUMNS, "reserved_by"])
      .where("thread_id", "=", threadId)
      .where("deleting", "=", 0),
  ).executeTakeFirst();
  if (row === undefined) return undefined;
  return { ...toThread(row), metadataText: row.metadata, reserved: row.reserved_by !== null };
}

async function createThread(
  database: Database,
  { createThread: draft }: AdmitRequest,
  now: number,
): Promise<LockedThread | undefined> {
  if (draft === null) return undefined;
  const created = await insertThread(database, draft, now);
  const thread = created ?? (await lockThread(database, draft.threadId)); // somebody else made it just now
  if (thread === undefined) {
    throw conflict(`thread ${JSON.stringify(draft.threadId)} is being deleted; try again in a moment`);
  }
  return { metadataText: JSON.stringify(thread.metadata), reserved: false, ...thread };
}

/** Without the payloads, which a decision has no use for. */
async function listInFlight(database: Database, threadId: string): Promise<readonly InFlightRun[]> {
  return database
    .selectFrom("runs")
    .select(["run_id as runId", "status", "created_at as createdAt"])
    .where("thread_id", "=", threadId)
    .where(IN_FLIGHT)
    .orderBy("run_after")
    .orderBy("seq")
    .execute();
}

/** Returns the runs as they were before. */
async function cancelAll(
  database: Database,
  threadId: string,
  { action, now }: { readonly action: CancelAction; readonly now: number },
): Promise<readonly Run[]> {
  const rows = await database
    .selectFrom("runs")
    .select(RUN_COLUMNS)
    .where("thread_id", "=", threadId)
    .where(IN_FLIGHT)
    .orderBy("run_after")
    .orderBy("seq")
    .execute();
  const runs = rows.map(toRun);
  for (const run of runs) await cancelInFlightRun(database, run, { action, now });
  return runs;
}

interface Insertion {
  readonly run: NewRun;
  readonly thread: LockedThread;
  readonly now: number;
  readonly claim: AdmitRequest["claim"];
}

async function insertRun(database: Database, { run, thread, now, claim }: Insertion): Promise<Run> {
  const admitted = { ...run, ...(claim === null ? WAITING : CLAIMED), createdAt: now, updatedAt: now } as const;
  await database
    .insertInto("runs")
    .values({
      ...toRow(admitted),
      worker_id: claim?.workerId ?? null,
      lease_until: claim === null ? null : now + claim.leaseMs,
      rolling_back: 0,
      thread_metadata_before: thread.metadataText,
      thread_updated_at_before: thread.updatedAt,
    })
    .execute();
  const metadata = admittedMetadata(thread.metadata, run);
  const metadataText = JSON.stringify(metadata);
  const changed = metadataText !== thread.metadataText;
  await database
    .updateTable("threads")
    .set({ status: "busy", updated_at: now, ...(changed ? { metadata: metadataText } : {}) })
    .where("thread_id", "=", run.threadId)
    .execute();
  if (changed) await reindexTerms(database, run.threadId, { before: thread.metadata, after: metadata });
  return admitted;
}

const WAITING = { status: "pending", attempt: 0, fence: 0, cancelAction: null, error: null } as const;
const CLAIMED = { ...WAITING, status: "running", attempt: 1, fence: 1 } as const;
