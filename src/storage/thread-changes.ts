/**
 * Tells which threads change, whoever changes them: triggers of this connection alone call a function of it, so that no
 * code can forget to, and the file knows nothing of it.
 *
 * It is a hint. It comes before the change is committed, also for one that is taken back, and several may come as one: who
 * reads the thread afterwards, through the same connection, sees what became of it.
 */

import type { ThreadChanges } from "./ports/threads.js";
import type { SqliteDatabase } from "./sqlite.js";

export function watchThreads(connection: SqliteDatabase): ThreadChanges {
  const listeners = new Set<(threadId: string) => void>();
  connection.function("thread_changed", (threadId) => {
    for (const listener of listeners) listener(String(threadId));
    return null;
  });
  const triggers = { INSERT: "NEW", [`UPDATE OF ${SHOWN_COLUMNS.join(", ")}`]: "NEW", DELETE: "OLD" };
  for (const [index, [event, row]] of Object.entries(triggers).entries()) {
    connection.exec(`CREATE TEMP TRIGGER thread_changed_${index} AFTER ${event} ON main.threads BEGIN
      SELECT thread_changed(${row}.thread_id); END`);
  }
  return {
    on(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The columns that searches show or ask for. The state changes with `state_updated_at`. */
export const SHOWN_COLUMNS = [
  "updated_at",
  "state_updated_at",
  "metadata",
  "config",
  "status",
  "interrupts",
  "error",
  "deleting",
];
