/**
 * Group commit: what many callers want to write in one turn of the event loop shares one transaction, and so one wait for
 * the disk. That is SQLite, with its one writer; PostgreSQL writes many transactions at once, and commits them together by
 * itself: a unit is a transaction there (docs/decisions/022-postgresql.md).
 *
 * 1. Units run one after the other, in the order in which they came, each as if it were alone: what one throws undoes that
 *    one and rejects its caller, the others stay.
 * 2. Nobody hears of success before the commit.
 * 3. While units run, more may come: they make the next transaction. Between two the event loop turns, because SQLite
 *    never waits: a caller with ten thousand units would keep everybody else from being heard.
 */
import { setTimeout as wait } from "node:timers/promises";
import { sql } from "kysely";
import { type Database, isPostgres } from "./database.js";
import { isTransient } from "./failure.js";

export interface CommitGroup {
  /**
   * Resolves with what `work` returned after it was committed; rejects with what it threw, or why the commit failed. On
   * PostgreSQL `work` may be called again, after all that it wrote was undone: it changes nothing but the transaction.
   */
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
  if (isPostgres(database)) return { run: (work) => transact(database, work) };
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

/**
 * `work` in a transaction of its own. On PostgreSQL it is tried again where others were in its way, or the connection was
 * lost before anything was committed.
 */
export async function transact<T>(database: Database, work: (transaction: Database) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await database.transaction().execute(work);
    } catch (error) {
      if (attempt === MAX_TRIES || !isPostgres(database) || !isTransient(error)) throw error;
      await wait(Math.random() * attempt * MAX_PAUSE_MS); // not at the same moment as whoever was in the way
    }
  }
}

const MAX_TRIES = 8;
const MAX_PAUSE_MS = 20;

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
