/**
 * Group commit: what many callers want to write in one turn of the event loop shares one transaction, and so one wait for
 * the disk.
 *
 * 1. Units run one after the other, in the order in which they came, each as if it were alone: what one throws undoes that
 *    one and rejects its caller, the others stay.
 * 2. Nobody hears of success before the commit.
 * 3. While units run, more may come: they make the next transaction. Between two the event loop turns, because SQLite
 *    never waits: a caller with ten thousand units would keep everybody else from being heard.
 */
import { sql } from "kysely";
import type { Database } from "./database.js";

export interface CommitGroup {
  /** Resolves with what `work` returned after it was committed; rejects with what it threw, or why the commit failed. */
  run<T>(work: (transaction: Database) => Promise<T>): Promise<T>;
}

/** Bounds how long one transaction keeps others from the connection. */
const MAX_UNITS = 64;

interface Unit {
  readonly work: (transaction: Database) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export function createCommitGroup(database: Database): CommitGroup {
  const waiting: Unit[] = [];
  let scheduled = false;

  /** At the end of the turn: whoever else has something to write by then comes along. */
  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    setImmediate(async () => {
      while (waiting.length > 0) {
        await commit(database, waiting.splice(0, MAX_UNITS)); // 3
        await new Promise(setImmediate);
      }
      scheduled = false;
    });
  }

  return {
    run<T>(work: (transaction: Database) => Promise<T>): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        waiting.push({ work, resolve: resolve as Unit["resolve"], reject }); // called with what this work returned
        schedule();
      });
    },
  };
}

/** Never throws: every unit hears how it ended. */
async function commit(database: Database, units: readonly Unit[]): Promise<void> {
  const done: (() => void)[] = [];
  const run = units.length === 1 ? runAlone : runUnit;
  try {
    await database.transaction().execute(async (transaction) => {
      for (const unit of units) done.push(await run(transaction, unit));
    });
  } catch (error) {
    for (const { reject } of units) reject(error);
    return;
  }
  for (const tell of done) tell(); // 2
}

/** Without company the transaction itself undoes what the unit throws. */
async function runAlone(transaction: Database, { work, resolve }: Unit): Promise<() => void> {
  const value = await work(transaction);
  return () => resolve(value);
}

/** Returns what to tell the unit's caller when the transaction is committed. */
async function runUnit(transaction: Database, { work, resolve, reject }: Unit): Promise<() => void> {
  await sql`savepoint unit`.execute(transaction);
  try {
    const value = await work(transaction);
    await sql`release unit`.execute(transaction);
    return () => resolve(value);
  } catch (error) {
    if (!(await undoUnit(transaction))) throw error; // the whole transaction is gone: a full disk ends it
    return () => reject(error);
  }
}

/** false when the database has ended the transaction by itself. */
async function undoUnit(transaction: Database): Promise<boolean> {
  try {
    await sql`rollback to unit`.execute(transaction);
    await sql`release unit`.execute(transaction);
    return true;
  } catch {
    return false; // "no such savepoint": why it ended is what the unit threw
  }
}
