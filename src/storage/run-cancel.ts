/**
 * Cancelling a run in flight. One that never ran ends at once and no node is executed; one that runs, or ran before, has
 * checkpoints, so its worker ends it: the cancel is written down and the first action wins.
 */
import type { CancelAction, RunStatus } from "../core/model.js";
import type { Database } from "./database.js";
import { deleteRun, markTemporaryThread } from "./run-undo.js";
import { enqueueWebhook } from "./webhook-outbox.js";

/** Whether the run is over; its thread's status is the caller's to derive when it was interrupted. */
export async function cancelInFlightRun(
  database: Database,
  run: { readonly runId: string; readonly status: RunStatus; readonly fence: number },
  { action, now }: { readonly action: CancelAction; readonly now: number },
): Promise<boolean> {
  const neverRan = run.status === "pending" && run.fence === 0;
  if (neverRan && action === "rollback") {
    await deleteRun(database, run.runId, now);
    return true;
  }
  const cancelled = await database
    .updateTable("runs")
    .set({
      ...(neverRan ? { status: "interrupted", updated_at: now } : {}),
      cancel_action: action,
      cancel_requested_at: now,
    })
    .where("run_id", "=", run.runId)
    .where("cancel_action", "is", null)
    .returning(["run_id", "thread_id", "temporary", "webhook"])
    .executeTakeFirst();
  if (neverRan && cancelled !== undefined) {
    await enqueueWebhook(database, cancelled, { status: "interrupted", projection: null, now });
    await markTemporaryThread(database, cancelled);
  }
  return neverRan;
}
