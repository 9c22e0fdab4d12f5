/**
 * Opens SQLite files the way heddle needs them, and holds the lock that keeps a second gateway off a data folder.
 *
 * The driver depends on the Node version: better-sqlite3 12 aborts on Node ≥ 24.19 and 13 crashes on Node 20, so both are
 * installed and the right one is chosen here (docs/decisions/002-sqlite-driver.md).
 */
import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Database as SqliteDatabase, default as SqliteDriver } from "better-sqlite3";

export type { SqliteDatabase };

/** `FULL`: a commit survives a power failure. `NORMAL`: it survives the death of the process. */
export type Synchronous = "FULL" | "NORMAL";

const SYNCHRONOUS_VALUES: Record<Synchronous, number> = { NORMAL: 1, FULL: 2 };

/** What a burst of writes made of the log is given back to the disk down to this when the log begins anew. */
const MAX_IDLE_LOG_BYTES = 64 * 1_024 ** 2;

/**
 * Opens `file` (`:memory:` for a throw-away database) in WAL mode with the given durability. Both are read back: the driver
 * lowers the one by itself, and SQLite leaves the other as it is where the file system cannot have it. Throws what SQLite says when the file cannot be opened or is no database.
 */
export function openSqlite(file: string, synchronous: Synchronous): SqliteDatabase {
  const Driver = loadDriver();
  const database = new Driver(file);
  try {
    const isNew = database.pragma("page_count", { simple: true }) === 0;
    if (isNew) database.pragma("auto_vacuum = INCREMENTAL"); // deleted space can be given back beside a gateway
    const journal = database.pragma("journal_mode = WAL", { simple: true });
    if (journal !== (file === ":memory:" ? "memory" : "wal")) {
      throw new Error(`SQLite runs with journal_mode=${String(journal)} instead of wal`);
    }
    database.pragma(`synchronous = ${synchronous}`);
    database.pragma("busy_timeout = 5000");
    database.pragma(`journal_size_limit = ${MAX_IDLE_LOG_BYTES}`);
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

/** Opens a file that another connection writes, for reading what that one has committed. */
export function openSqliteReader(file: string): SqliteDatabase {
  const Driver = loadDriver();
  return new Driver(file, { readonly: true, fileMustExist: true });
}

/**
 * `work` as one transaction that takes the write lock when it begins. One that wants it after its first read fails at once,
 * without waiting, while another process writes, or when one has written since.
 */
export function inTransaction<Args extends unknown[], Result>(
  connection: SqliteDatabase,
  work: (...args: Args) => Result,
): (...args: Args) => Result {
  return connection.transaction(work).immediate;
}

/**
 * Opens a file that another process may be writing, to take its write lock for a moment. Waits for that as long as nobody
 * else would; what it writes itself is as durable as what that process writes.
 */
export function openSqliteBeside(file: string): SqliteDatabase {
  return new (loadDriver())(file, { fileMustExist: true, timeout: BESIDE_WAIT_MS });
}

const BESIDE_WAIT_MS = 30_000;

/** One line for people whose data folder cannot be used; `main.ts` prints it and exits with 1. */
export class DataFolderError extends Error {
  override readonly name = "DataFolderError";
}

/**
 * Makes `folder` if needed and takes it for this process. The lock is an open exclusive transaction: the operating system
 * ends it with the process, however that dies. Returns the function that gives the folder back.
 */
export function lockDataFolder(folder: string): () => void {
  let database: SqliteDatabase | undefined;
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    const file = join(folder, "lock.db");
    if (existsSync(file)) accessSync(file, constants.W_OK); // SQLite would take it for reading, and lock nothing
    database = new (loadDriver())(file, { timeout: 0 });
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database?.close();
    throw new DataFolderError(`cannot use the data folder ${folder}: ${whyNotLocked(error)}`, { cause: error });
  }
  const lock = database;
  return () => lock.close();
}

/** Whether `lockDataFolder` failed because a process has the folder. */
export function isInUse(error: unknown): boolean {
  return error instanceof DataFolderError && (error.cause as { code?: unknown } | undefined)?.code === "SQLITE_BUSY";
}

function whyNotLocked(error: unknown): string {
  const { code, message } = error as { readonly code?: string; readonly message: string }; // Node and SQLite throw errors
  if (code === "SQLITE_BUSY") return "another heddle process is using it";
  if (code !== undefined && READ_ONLY.test(code)) {
    return "it is read-only; make it writable for the user that runs heddle, or name another folder with --data";
  }
  return message;
}

const READ_ONLY = /^(EACCES|EPERM|EROFS|SQLITE_READONLY|SQLITE_CANTOPEN)/;

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
