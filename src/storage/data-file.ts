/**
 * Opens the files of the data folder, and refuses what cannot be used: one line for people, naming the path and the way on.
 *
 * 1. A file that is refused stays byte for byte as it was, its log included: it is looked at through a connection that
 *    cannot write before one that can is opened.
 * 2. Nothing that was there is replaced by something empty.
 * 3. Looking for damage costs at most what reading 256 MB does; of a larger file only the beginning is looked at.
 */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { isOfServer, storageFailure } from "./failure.js";
import { addressOf } from "./postgres-failure.js";
import { DataFolderError, openSqlite, openSqliteReader, type SqliteDatabase, type Synchronous } from "./sqlite.js";

/** About 0.3 s when the file is cached, some seconds when it is not. */
const MAX_CHECKED_BYTES = 256 * 1_024 ** 2;

/** Stands in a data folder while its files are being replaced (`heddle restore`). */
export const RESTORE_MARK = "restore.unfinished";

/** Throws a `DataFolderError` for a folder in which a restore was cut short: its files may not belong together. */
export function requireRestored(folder: string): void {
  if (!existsSync(join(folder, RESTORE_MARK))) return;
  throw new DataFolderError(`a restore into ${folder} was cut short: run heddle restore again`);
}

/** Opens `file`, making it if it does not exist (`:memory:`: in memory). Throws a `DataFolderError`. */
export function openDataFile(file: string, synchronous: Synchronous): SqliteDatabase {
  if (file === ":memory:") return openSqlite(file, synchronous);
  try {
    requireWritable(file);
    requireWhole(file);
    return openSqlite(file, synchronous);
  } catch (error) {
    throw unusableFile(file, error);
  }
}

/** Why `file` cannot be used, as one line. */
export function unusableFile(file: string, error: unknown): DataFolderError {
  if (error instanceof DataFolderError) return error;
  const { code, message } = error as { readonly code?: string; readonly message: string }; // Node and SQLite throw errors
  const advice = code !== undefined && DAMAGE.test(code) ? RESTORE : "";
  return new DataFolderError(`cannot use the database ${file} (it was kept as it is): ${message}${advice}`, {
    cause: error,
  });
}

/**
 * Why the folder, or the server at `url`, cannot be used, as one line, where the disk, the network or another program is to
 * blame; `error` itself otherwise.
 */
export function unusableStorage(
  { folder, url }: { readonly folder: string; readonly url: string | null },
  error: unknown,
): unknown {
  const failure = error instanceof DataFolderError ? undefined : storageFailure(error);
  if (failure === undefined) return error;
  const place = url !== null && isOfServer(error) ? `database ${addressOf(url)}` : `data folder ${folder}`;
  return new DataFolderError(`cannot use the ${place}: ${failure.message}`, { cause: error });
}

const DAMAGE = /^SQLITE_(CORRUPT|NOTADB)/;
const RESTORE = "; restore the data folder from a backup, or move it away to start with an empty one";

function requireWritable(file: string): void {
  for (const path of [dirname(file), file, `${file}-wal`, `${file}-shm`]) {
    if (!existsSync(path)) continue;
    try {
      accessSync(path, constants.W_OK);
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code === "EROFS" ? "is on a read-only file system" : "is read-only";
      throw new DataFolderError(
        `cannot use the database ${file}: ${path} ${why}; make it writable for the user that runs heddle, or name another folder with --data`,
        { cause: error },
      );
    }
  }
}

function requireWhole(file: string): void {
  const { size } = statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
  if (size === 0) {
    if (!statSync(`${file}-wal`, { throwIfNoEntry: false })?.size) return;
    throw damaged(`its log ${file}-wal is there, but the file itself is ${existsSync(file) ? "empty" : "missing"}`); // 2
  }
  const reader = openSqliteReader(file); // 1
  try {
    reader.prepare("SELECT count(*) FROM sqlite_schema").get();
    if (size > MAX_CHECKED_BYTES) return; // 3
    const found = reader.pragma("quick_check(1)", { simple: true });
    if (found !== "ok") throw damaged(`it is damaged (${String(found).replaceAll(/\s+/g, " ")})`);
  } finally {
    reader.close();
  }
}

function damaged(what: string): Error {
  return Object.assign(new Error(what), { code: "SQLITE_CORRUPT" });
}
