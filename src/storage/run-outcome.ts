/** What the end of a run does to its thread, in the transaction that ends the run. */
import { type Database, locked } from "./database.js";
import type { StoredState } from "./long-states.js";
import type { RunOutcome } from "./ports/runs.js";
import { derivedStatus, projectionColumns, renewedExpiry, saveValues } from "./thread-rows.js";

/** Mirrors the outcome on the thread and derives its status; without a projection the state stays as it was. */
export async function saveOutcome(
  database: Database,
  {
    threadId,
    outcome,
    stored,
    now,
  }: {
    readonly threadId: string;
    readonly outcome: RunOutcome;
    /** Of the projection, if there is one. */
    readonly stored: StoredState;
    readonly now: number;
  },
): Promise<void> {
  const { projection } = outcome;
  const error = threadError(outcome);
  const state = projection === null ? await stateOf(database, threadId) : projectionColumns(projection);
  await database
    .updateTable("threads")
    .set({
      error,
      updated_at: now,
      expires_at: renewedExpiry(now),
      status: derivedStatus(threadId, { ...state, error }),
      ...(projection === null ? {} : { ...state, state_updated_at: now }),
      ...(outcome.deleteThread ? { deleting: 1 } : {}),
    })
    .where("thread_id", "=", threadId)
    .execute();
  if (projection !== null) await saveValues(database, threadId, stored);
}

function threadError({ status, error }: RunOutcome): string | null {
  if (status !== "error" && status !== "timeout") return null;
  return JSON.stringify(error ?? { error: status, message: `the run ended with ${status}` });
}

async function stateOf(
  database: Database,
  threadId: string,
): Promise<{ readonly interrupts: string; readonly next: string }> {
  return locked(
    database.selectFrom("threads").select(["interrupts", "next"]).where("thread_id", "=", threadId),
  ).executeTakeFirstOrThrow();
}
