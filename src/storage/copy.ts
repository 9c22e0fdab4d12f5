/** Copies of databases that stand alone: one file each, read to the end before anybody relies on it. */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { DataFolderError, openSqliteBeside, type SqliteDatabase } from "./sqlite.js";

/** Copied between two looks at the progress: 16 MB. */
const STEP_PAGES = 4_096;

/**
 * Copies what the connection's transaction sees to the new file `file`. Tells which part of it is done, 0 to 1: at least at
 * the end.
 */
export async function copyDatabase(
  source: SqliteDatabase,
  file: string,
  onProgress: (done: number) => void,
): Promise<void> {
  await source.backup(file, {
    progress({ totalPages, remainingPages }) {
      onProgress((totalPages - remainingPages) / totalPages);
      return STEP_PAGES;
    },
  });
  onProgress(1);
}

/** Makes `file` one that needs no log beside it, and reads the whole of it. Throws a `DataFolderError` for any damage. */
export function requireSound(file: string): void {
  const database = openSqliteBeside(file);
  try {
    database.pragma("journal_mode = DELETE");
    const found = database.pragma("integrity_check(1)", { simple: true });
    if (found !== "ok") throw new Error(String(found).replaceAll(/\s+/g, " "));
    const [orphan] = database.pragma("foreign_key_check") as readonly { readonly table: string }[];
    if (orphan !== undefined) throw new Error(`a row of ${orphan.table} belongs to nothing`);
  } catch (error) {
    throw new DataFolderError(`${file} is damaged: ${(error as Error).message}`, { cause: error });
  } finally {
    database.close();
  }
}

/** Returns when the file, or the entries of the folder, are on the disk. */
export function flush(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
