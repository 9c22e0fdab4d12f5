/**
 * Long states of threads on SQLite, in pieces: its one connection keeps everybody from being heard while it writes, or reads,
 * one long text (docs/decisions/028-long-states.md).
 *
 * 1. The pieces are written before the transaction that shows the state, each in a commit of its own. Nobody refers to them
 *    until then.
 * 2. What is shown never changes: the next state has pieces of its own, and a trigger takes those before it away.
 * 3. Pieces that were never shown go when that is known, or, where the process died, when the next one starts.
 * 4. Whoever needs a state in the middle of a statement reads the view `thread_states`, which puts it together.
 *
 * On PostgreSQL nobody waits for another's text: every state stands in its row.
 */
import { setImmediate as turn } from "node:timers/promises";
import { sql } from "kysely";
import { newId } from "../core/ids.js";
import { LONG_CHARS, textPieces } from "../core/json-text.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, isPostgres } from "./database.js";

/** From so many characters on; a shorter one is written in the time that a piece takes, give or take. */
export const LONG_STATE_CHARS = 4 * LONG_CHARS;

/** A state as it is to be stored; null: none. */
export interface StoredState {
  readonly valuesJson: string | null;
  /** The pieces that were written of it. */
  readonly pieces: { readonly version: string; readonly count: number } | null;
}

/** A state as its row has it. */
export interface StateRow {
  readonly values: string;
  readonly version: string | null;
}

interface LongStatesDeps {
  readonly database: Database;
  readonly commits: CommitGroup;
}

/** Calls `show`, which stores the state in one transaction, and returns what it returns; long ones are written before. */
export async function storingState<T>(
  { database, commits }: LongStatesDeps,
  { threadId, valuesJson }: { readonly threadId: string; readonly valuesJson: string | null },
  show: (state: StoredState) => Promise<T>,
): Promise<T> {
  if (valuesJson === null || valuesJson.length < LONG_STATE_CHARS || isPostgres(database)) {
    return show({ valuesJson, pieces: null });
  }
  const version = newId();
  try {
    let count = 0;
    for (const text of textPieces(valuesJson, LONG_CHARS)) {
      const part = count++;
      // A thread that is gone has no state: `show` finds that out, too.
      await commits.run((transaction) =>
        sql`INSERT INTO thread_value_parts (version, part, thread_id, text)
          SELECT ${version}, ${part}, thread_id, ${text} FROM threads WHERE thread_id = ${threadId}`.execute(
          transaction,
        ),
      );
    }
    return await show({ valuesJson, pieces: { version, count } });
  } finally {
    await commits.run((transaction) => dropUnshown(transaction, version)).catch(() => {}); // the next start does it (3)
  }
}

/** Writes the state's row, in the transaction of its caller; its thread is there. */
export async function writeState(
  database: Database,
  threadId: string,
  { valuesJson, pieces }: StoredState & { readonly valuesJson: string },
): Promise<void> {
  const isInPieces = pieces !== null && (await hasAll(database, pieces));
  const row = isInPieces ? { values: "", version: pieces.version } : { values: valuesJson, version: null };
  await database
    .insertInto("thread_values")
    .values({ thread_id: threadId, ...row })
    .onConflict((conflict) => conflict.column("thread_id").doUpdateSet(row))
    .execute();
}

/** What the row shows, others getting their turn meanwhile; undefined when it shows another one by now. */
export async function readState(database: Database, { values, version }: StateRow): Promise<string | undefined> {
  if (version === null) return values;
  const { rows } = await sql<{ readonly count: number }>`
    SELECT count(*) AS count FROM thread_value_parts WHERE version = ${version}`.execute(database);
  const count = rows[0]?.count ?? 0;
  let text = "";
  for (let part = 0; part < count; part++) {
    await turn();
    const found = await sql<{ readonly text: string }>`
      SELECT text FROM thread_value_parts WHERE version = ${version} AND part = ${part}`.execute(database);
    const [piece] = found.rows;
    if (piece === undefined) return undefined;
    text += piece.text;
  }
  return count === 0 ? undefined : text;
}

/** What a process left that died between the pieces and their state: for a start, before anything is written (3). */
export async function dropUnshown(database: Database, version: string | null = null): Promise<void> {
  await sql`DELETE FROM thread_value_parts AS piece WHERE ${version === null ? sql`true` : sql`version = ${version}`}
    AND NOT EXISTS (SELECT 1 FROM thread_values AS shown
      WHERE shown.thread_id = piece.thread_id AND shown.version = piece.version)`.execute(database);
}

/** A thread that was deleted and made anew meanwhile has none of them, or not all. */
async function hasAll(
  database: Database,
  { version, count }: { readonly version: string; readonly count: number },
): Promise<boolean> {
  const { rows } = await sql<{ readonly count: number }>`
    SELECT count(*) AS count FROM thread_value_parts WHERE version = ${version}`.execute(database);
  return rows[0]?.count === count;
}
