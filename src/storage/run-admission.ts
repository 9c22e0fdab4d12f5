/**
 * How a run comes to exist: one transaction that locks the thread, asks the pure decision, and writes what it says.
 *
 * A refusal is thrown out of the transaction, so that nothing stays, not even a thread that was made for the run.
 */
import { conflict, GatewayError, notFound } from "../core/errors.js";
import type { CancelAction, Run, Thread } from "../core/model.js";
import { isInScope, type Scope } from "../core/scope.js";
import { type Database, isPostgres, locked, momentAfter, momentOf, takeRight } from "./database.js";
import { WrittenMeanwhile } from "./failure.js";
import { KEY_LIFE_MS } from "./idempotency-keys.js";
import type { AdmitRequest, AdmitResult, BriefRun, InFlightRun, NewRun, OwnerLimits } from "./ports/runs.js";
import { cancelInFlightRun } from "./run-cancel.js";
import { BRIEF_COLUMNS, IN_FLIGHT, RUN_COLUMNS, toBriefRun, toRow, toRun } from "./run-rows.js";
import { admittedMetadata } from "./run-undo.js";
import { indexMetadata } from "./thread-index.js";
import { insertThread, renewedExpiry, THREAD_COLUMNS, toThread } from "./thread-rows.js";

/** Runs in the caller's transaction, which must be rolled back when this throws. */
export async function admit(
  database: Database,
  request: AdmitRequest,
  { now, scope }: { readonly now: number; readonly scope: Scope },
): Promise<AdmitResult> {
  if (request.idempotency !== null) {
    const earlier = await findRepeated(database, request.idempotency, now);
    if (earlier !== undefined) return { kind: "repeated", run: earlier };
  }
  const { thread, isNew } = await lockOrCreateThread(database, request, now);
  if (!isNew && thread !== undefined && !isInScope(thread.metadata, scope)) {
    throw notFound("thread", request.threadId);
  }
  const inFlight = thread === undefined ? [] : await listInFlight(database, request.threadId);
  const admission = request.decide(thread, inFlight);
  if (admission.kind === "refuse") throw admission.error;
  if (request.ownerLimits !== null) await requireRoom(database, request.ownerLimits);
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
  if (request.idempotency !== null) await keepKey(database, request.idempotency, { runId: run.runId, now });
  return { kind: "admitted", run, cancelled };
}

/** The run that the key made within the last day; throws when the key stands for something else, or its run is gone. */
async function findRepeated(
  database: Database,
  { owner, key, requestHash }: NonNullable<AdmitRequest["idempotency"]>,
  now: number,
): Promise<Run | undefined> {
  const known = await database
    .selectFrom("idempotency_keys")
    .select(["request_hash", "run_id"])
    .where("owner", "=", owner)
    .where("key", "=", key)
    .where("created_at", ">", now - KEY_LIFE_MS)
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

/**
 * In the place of one that is over; those of others are the sweeper's. Throws `WrittenMeanwhile` when another admission has
 * the same key: it was not there yet when this one looked.
 */
async function keepKey(
  database: Database,
  { owner, key, requestHash }: NonNullable<AdmitRequest["idempotency"]>,
  { runId, now }: { readonly runId: string; readonly now: number },
): Promise<void> {
  const made = { request_hash: requestHash, run_id: runId, created_at: now };
  const kept = await database
    .insertInto("idempotency_keys")
    .values({ owner, key, ...made })
    .onConflict((conflict) =>
      conflict
        .columns(["owner", "key"])
        .doUpdateSet(made)
        .where("idempotency_keys.created_at", "<=", now - KEY_LIFE_MS),
    )
    .executeTakeFirst();
  if (kept.numInsertedOrUpdatedRows !== 1n) throw new WrittenMeanwhile("an Idempotency-Key was used at the same time");
}

type LockedThread = Thread & { readonly metadataText: string; readonly reserved: boolean; readonly claims: number };

async function lockThread(database: Database, threadId: string): Promise<LockedThread | undefined> {
  const row = await locked(
    database
      .selectFrom("threads")
      .select([...THREAD_COLUMNS, "reserved_by", "claims"])
      .where("thread_id", "=", threadId)
      .where("deleting", "=", 0),
  ).executeTakeFirst();
  if (row === undefined) return undefined;
  return { ...toThread(row), metadataText: row.metadata, reserved: row.reserved_by !== null, claims: row.claims };
}

async function lockOrCreateThread(
  database: Database,
  { threadId, createThread: draft }: AdmitRequest,
  now: number,
): Promise<{ readonly thread: LockedThread | undefined; readonly isNew: boolean }> {
  const found = await lockThread(database, threadId);
  if (found !== undefined || draft === null) return { thread: found, isNew: false };
  const thread = await insertThread(database, draft, now);
  if (thread !== undefined) {
    const metadataText = JSON.stringify(thread.metadata);
    return { thread: { metadataText, reserved: false, claims: 0, ...thread }, isNew: true };
  }
  const made = await lockThread(database, threadId); // by another admission, which has committed by now
  if (made !== undefined) return { thread: made, isNew: false };
  throw conflict(`thread ${JSON.stringify(draft.threadId)} is being made or deleted; try again in a moment`);
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

/** Of one caller's runs, on whatever thread. */
async function requireRoom(database: Database, { owner, inFlight, pending }: OwnerLimits): Promise<void> {
  await takeRight(database, `runs of ${owner}`); // whoever else counts them waits until this run is one of them
  const rows = await database
    .selectFrom("runs")
    .select((eb) => ["status", eb.fn.countAll<number>().as("count")])
    .where("owner", "=", owner)
    .where(IN_FLIGHT)
    .groupBy("status")
    .execute();
  const waiting = rows.find(({ status }) => status === "pending")?.count ?? 0;
  const all = rows.reduce((sum, { count }) => sum + count, 0);
  const tooMany = (limit: number, what: string) =>
    new GatewayError("too_many_requests", `you have ${limit} ${what} already; wait for some to finish`);
  if (inFlight !== null && all >= inFlight) throw tooMany(inFlight, "runs in flight");
  if (pending !== null && waiting >= pending) throw tooMany(pending, "pending runs");
}

/** Returns the runs as they were before. */
async function cancelAll(
  database: Database,
  threadId: string,
  { action, now }: { readonly action: CancelAction; readonly now: number },
): Promise<readonly BriefRun[]> {
  const rows = await database
    .selectFrom("runs")
    .select(BRIEF_COLUMNS)
    .where("thread_id", "=", threadId)
    .where(IN_FLIGHT)
    .orderBy("run_after")
    .orderBy("seq")
    .execute();
  const runs = rows.map(toBriefRun);
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
  const start = claim === null ? WAITING : { ...CLAIMED, firstClaim: thread.claims + 1 };
  const admitted = { ...run, ...start, createdAt: now, updatedAt: now } as const;
  const moment = momentOf(database, now);
  await database
    .insertInto("runs")
    .values({
      ...toRow(admitted),
      // By the database's clock runs of a thread are due in the order of their admissions, whichever process they came to.
      ...(isPostgres(database) ? { run_after: momentAfter(moment, run.runAfter - now) } : {}),
      worker_id: claim?.workerId ?? null,
      lease_until: claim === null ? null : momentAfter(moment, claim.leaseMs),
      started_at: claim === null ? null : now,
      rolling_back: 0,
      abandoned_at: null,
      owner: run.payload.user?.identity ?? null,
      thread_metadata_before: thread.metadataText,
      thread_updated_at_before: thread.updatedAt,
    })
    .execute();
  const metadata = admittedMetadata(thread.metadata, run);
  const metadataText = JSON.stringify(metadata);
  const changed = metadataText !== thread.metadataText;
  await database
    .updateTable("threads")
    .set({
      status: "busy",
      updated_at: now,
      expires_at: renewedExpiry(now),
      ...(changed ? { metadata: metadataText } : {}),
    })
    .where("thread_id", "=", run.threadId)
    .execute();
  if (changed) await indexMetadata(database, run.threadId, { before: thread.metadata, after: metadata });
  return admitted;
}

const WAITING = {
  status: "pending",
  attempt: 0,
  fence: 0,
  firstClaim: null,
  cancelAction: null,
  error: null,
} as const;
const CLAIMED = { ...WAITING, status: "running", attempt: 1, fence: 1 } as const;
