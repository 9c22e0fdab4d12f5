/**
 * Taking a run back: its row goes and its thread looks as if the run had never been admitted.
 *
 * Admission writes two things onto the thread besides its status: the run's graph and assistant into the metadata, and
 * `updated_at`. The run remembers both as they were. A run that was admitted later remembers what *this* one wrote, so
 * then its memory is corrected instead of the thread. What somebody else has changed since stays changed.
 */
import { mergeMetadata } from "../core/metadata.js";
import type { JsonObject } from "../core/model.js";
import type { Database } from "./database.js";
import { indexMetadata } from "./thread-index.js";
import { refreshStatus } from "./thread-rows.js";
import { dropWebhooks, enqueueWebhook } from "./webhook-outbox.js";

/** The part of a thread's row that an admission writes. */
interface AdmissionMark {
  /** The text of the column: a rollback restores it byte by byte. */
  readonly metadata: string;
  readonly updatedAt: number;
}

/** What a thread's metadata becomes when a run is admitted: it names the graph and assistant that ran last. */
export function admittedMetadata(
  metadata: JsonObject,
  run: { readonly graphId: string; readonly assistantId: string },
): JsonObject {
  return mergeMetadata(metadata, { graph_id: run.graphId, assistant_id: run.assistantId });
}

/** `mark` without the admission that turned `before` into `after`. */
function withoutAdmission(
  mark: AdmissionMark,
  { before, after }: { readonly before: AdmissionMark; readonly after: AdmissionMark },
): AdmissionMark {
  return {
    metadata: mark.metadata === after.metadata ? before.metadata : mark.metadata,
    updatedAt: mark.updatedAt === after.updatedAt ? before.updatedAt : mark.updatedAt,
  };
}

/**
 * Deletes a run's row, undoes its admission and derives the thread's status. Its checkpoints must be gone already. Its
 * webhook tells of it nevertheless: whoever asked for one waits for it.
 */
export async function deleteRun(database: Database, runId: string, now: number): Promise<void> {
  const run = await database
    .selectFrom("runs")
    .select([
      "seq",
      "run_id",
      "thread_id",
      "graph_id",
      "assistant_id",
      "created_at",
      "thread_metadata_before",
      "thread_updated_at_before",
      "temporary",
      "webhook",
    ])
    .where("run_id", "=", runId)
    .executeTakeFirstOrThrow();
  await enqueueWebhook(database, run, { status: "rollback", projection: null, now });
  await database.deleteFrom("runs").where("run_id", "=", runId).execute();

  const before = { metadata: run.thread_metadata_before, updatedAt: run.thread_updated_at_before };
  const ids = { graphId: run.graph_id, assistantId: run.assistant_id };
  const after = {
    metadata: JSON.stringify(admittedMetadata(JSON.parse(before.metadata) as JsonObject, ids)), // a thread's column
    updatedAt: run.created_at,
  };
  if (!(await correctLaterRun(database, run, { before, after }))) {
    await restoreThread(database, run.thread_id, { before, after });
  }
  await refreshStatus(database, run.thread_id);
  await markTemporaryThread(database, run);
}

/**
 * Deletes the row of a finished run; false when it is in flight or missing. What that run wrote onto its thread stays, so
 * runs that were admitted before it and can still be taken back must not undo it: they remember the thread as it is now.
 */
export async function forgetRun(
  database: Database,
  { threadId, runId }: { readonly threadId: string; readonly runId: string },
): Promise<boolean> {
  const removed = await database
    .deleteFrom("runs")
    .where("run_id", "=", runId)
    .where("thread_id", "=", threadId)
    .where("status", "not in", ["pending", "running"])
    .returning("seq")
    .executeTakeFirst();
  if (removed === undefined) return false;
  await dropWebhooks(database, { threadId, runId });
  await database
    .updateTable("runs")
    .from("threads")
    .set((eb) => ({
      thread_metadata_before: eb.ref("threads.metadata"),
      thread_updated_at_before: eb.ref("threads.updated_at"),
    }))
    .whereRef("threads.thread_id", "=", "runs.thread_id")
    .where("runs.thread_id", "=", threadId)
    .where("runs.seq", "<", removed.seq)
    .where("runs.status", "in", ["pending", "running"])
    .execute();
  return true;
}

/** A thread that was made for one run only goes when that run is over: marks it for deletion, with the run's own end. */
export async function markTemporaryThread(
  database: Database,
  run: { readonly thread_id: string; readonly temporary: number },
): Promise<void> {
  if (run.temporary === 0) return;
  await database.updateTable("threads").set({ deleting: 1 }).where("thread_id", "=", run.thread_id).execute();
}

async function correctLaterRun(
  database: Database,
  run: { readonly seq: number; readonly thread_id: string },
  admission: { readonly before: AdmissionMark; readonly after: AdmissionMark },
): Promise<boolean> {
  const later = await database
    .selectFrom("runs")
    .select(["run_id", "thread_metadata_before as metadata", "thread_updated_at_before as updatedAt"])
    .where("thread_id", "=", run.thread_id)
    .where("seq", ">", run.seq)
    .orderBy("seq")
    .limit(1)
    .executeTakeFirst();
  if (later === undefined) return false;
  const mark = withoutAdmission(later, admission);
  await database
    .updateTable("runs")
    .set({ thread_metadata_before: mark.metadata, thread_updated_at_before: mark.updatedAt })
    .where("run_id", "=", later.run_id)
    .execute();
  return true;
}

async function restoreThread(
  database: Database,
  threadId: string,
  admission: { readonly before: AdmissionMark; readonly after: AdmissionMark },
): Promise<void> {
  const thread = await database
    .selectFrom("threads")
    .select(["metadata", "updated_at as updatedAt"])
    .where("thread_id", "=", threadId)
    .executeTakeFirstOrThrow();
  const mark = withoutAdmission(thread, admission);
  await database
    .updateTable("threads")
    .set({ metadata: mark.metadata, updated_at: mark.updatedAt })
    .where("thread_id", "=", threadId)
    .execute();
  await indexMetadata(database, threadId, {
    before: JSON.parse(thread.metadata) as JsonObject,
    after: JSON.parse(mark.metadata) as JsonObject,
  });
}
