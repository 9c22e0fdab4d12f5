/**
 * What only the owner of a lease does to its run: keep it, end it, give it back, begin to take it back. Each is one
 * compare-and-set whose WHERE names the owner; no row updated means that ownership was lost.
 */
import type { Expression, ExpressionBuilder, SqlBool } from "kysely";
import type { CancelAction } from "../core/model.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, momentAfter, momentOf, type Schema, takeThread } from "./database.js";
import { type StoredState, storingState } from "./long-states.js";
import type { Lease, RunOutcome } from "./ports/runs.js";
import { saveOutcome } from "./run-outcome.js";
import { enqueueWebhook } from "./webhook-outbox.js";

/** Says as well whether somebody asked for the run to be cancelled. */
export async function renewLease(
  database: Database,
  lease: Lease,
  { leaseMs, now }: { readonly leaseMs: number; readonly now: number },
): Promise<{ readonly held: boolean; readonly cancel: CancelAction | null }> {
  const renewed = await database
    .updateTable("runs")
    .set({ lease_until: momentAfter(momentOf(database, now), leaseMs) })
    .where((eb) => isHeld(eb, lease))
    .returning("cancel_action")
    .executeTakeFirst();
  return { held: renewed !== undefined, cancel: renewed?.cancel_action ?? null };
}

/** The end of the run, with what it means for its thread and for who is to be told. */
export function endLease(
  { database, commits }: { readonly database: Database; readonly commits: CommitGroup },
  lease: Lease,
  { outcome, now }: { readonly outcome: RunOutcome; readonly now: number },
): Promise<boolean> {
  const { threadId } = lease;
  const { status, projection } = outcome;
  const end = async (transaction: Database, stored: StoredState): Promise<boolean> => {
    await takeThread(transaction, threadId);
    const ended = await transaction
      .updateTable("runs")
      .set({
        status,
        error: outcome.error === null ? null : JSON.stringify(outcome.error),
        updated_at: now,
        lease_until: null,
      })
      .where((eb) => isHeld(eb, lease))
      .where("rolling_back", "=", 0)
      // Whoever asked for a cancel was told that it will happen.
      .$if(status !== "interrupted", (query) => query.where("cancel_action", "is", null))
      .returning(["run_id", "thread_id", "temporary", "webhook"])
      .executeTakeFirst();
    if (ended === undefined) return false;
    await enqueueWebhook(transaction, ended, { status, projection, now }); // before its thread may be marked
    await saveOutcome(transaction, { threadId, outcome, stored, now });
    return true;
  };
  return storingState({ database, commits }, { threadId, valuesJson: projection?.valuesJson ?? null }, (stored) =>
    commits.run((transaction) => end(transaction, stored)),
  );
}

/** The run waits again, and the attempt is not counted. */
export async function giveBack(transaction: Database, lease: Lease, now: number): Promise<boolean> {
  await takeThread(transaction, lease.threadId);
  const released = await transaction
    .updateTable("runs")
    .set((eb) => ({
      status: "pending", // still in flight: the thread stays as it is
      attempt: eb("attempt", "-", 1),
      worker_id: null,
      lease_until: null,
      updated_at: now,
    }))
    .where((eb) => isHeld(eb, lease))
    .where("rolling_back", "=", 0)
    .executeTakeFirst();
  return released.numUpdatedRows > 0n;
}

export async function markRollingBack(database: Database, lease: Lease, now: number): Promise<boolean> {
  const marked = await database
    .updateTable("runs")
    .set({ rolling_back: 1, updated_at: now }) // the run's row alone: nobody waits for another one
    .where((eb) => isHeld(eb, lease))
    .executeTakeFirst();
  return marked.numUpdatedRows > 0n;
}

function isHeld(eb: ExpressionBuilder<Schema, "runs">, lease: Lease): Expression<SqlBool> {
  return eb.and([
    eb("run_id", "=", lease.runId),
    eb("thread_id", "=", lease.threadId),
    eb("fence", "=", lease.fence),
    eb("worker_id", "=", lease.workerId),
    eb("status", "=", "running"),
  ]);
}
