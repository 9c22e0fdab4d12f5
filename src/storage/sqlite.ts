/**
 * Opens SQLite files the way heddle needs them, and holds the lock that keeps a second gateway off a data folder.
 *
 * The driver depends on the Node version: better-sqlite3 12 aborts on Node ≥ 24.19 and 13 crashes on Node 20, so both are
 * installed and the right one is chosen here (docs/decisions/002-sqlite-driver.md).
 */
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Database as SqliteDatabase, default as SqliteDriver } from "better-sqlite3";

export type { SqliteDatabase };

/** `FULL`: a commit survives a power failure. `NORMAL`: it survives the death of the process. */
export type Synchronous = "FULL" | "NORMAL";

const SYNCHRONOUS_VALUES: Record<Synchronous, number> = { NORMAL: 1, FULL: 2 };

/**
 * Opens `file` (`:memory:` for a throw-away database) in WAL mode with the given durability, which is read back because
 * the driver lowers it by itself. Throws what SQLite says when the file cannot be opened or is no database.
 */
export function openSqlite(file: string, synchronous: Synchronous): SqliteDatabase {
  const Driver = loadDriver();
  const database = new Driver(file);
  try {
    database.pragma("journal_mode = WAL");
    database.pragma(`synchronous = ${synchronous}`);
    database.pragma("busy_timeout = 5000");
    database.pragma("foreign_keys = ON");
    const actual = database.pragma("synchronous", { simple: true });
    if (actual !== SYNCHRONOUS_VALUES[synchronous]) {
      throw new Error(`SQLite runs with synchronous=${String(actual)} instead of ${synchronous}`);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** One line for people whose data folder cannot be used; `main.ts` prints it and exits with 1. */
export class DataFolderError extends Error {
  override readonly name = "DataFolderError";
}

/**
 * Makes `folder` if needed and takes it for this process. The lock is an open exclusive transaction: the operating system
 * ends it with the process, however that dies. Returns the function that gives the folder back.
 */
export function lockDataFolder(folder: string): () => void {
  let database: SqliteDatabase;
  try {
    mkdirSync(folder, { recursive: true });
    database = new (loadDriver())(join(folder, "lock.db"), { timeout: 0 });
  } catch (error) {
    throw new DataFolderError(`cannot use the data folder ${folder}: ${(error as Error).message}`, { cause: error });
  }
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    const busy = (error as { code?: string }).code === "SQLITE_BUSY";
    const reason = busy ? "another heddle process is using it" : (error as Error).message;
    throw new DataFolderError(`cannot use the data folder ${folder}: ${reason}`, { cause: error });
  }
  return () => database.close();
}

function loadDriver(): typeof SqliteDriver {
  const require = createRequire(import.meta.url);
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 22) return require("better-sqlite3");
  try {
    return require("better-sqlite3-napi");
  } catch (error) {
    if ((error as { code?: string }).code !== "MODULE_NOT_FOUND") throw error;
    process.emitWarning(
      "the optional package better-sqlite3-napi is not installed; better-sqlite3 12 may abort on this Node version",
    );
    return require("better-sqlite3");
  }
}
