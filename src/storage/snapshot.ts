/**
 * Both files of a data folder as of one moment, whoever writes to them meanwhile.
 *
 * 1. At that moment nobody commits: the write locks of both are held while two reading transactions begin. So the pair is
 *    what a process that died then would leave, and the next start puts right what it cuts through.
 * 2. The locks are taken in the order in which the gateway takes them, and held for some milliseconds. After that everybody
 *    writes on: what they write goes to the log, and does not reach the snapshot.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { requireRestored } from "./data-file.js";
import { DataFolderError, openSqliteBeside, openSqliteReader, type SqliteDatabase } from "./sqlite.js";

/** The databases of a data folder, in the order of 2. */
export const DATA_FILES = ["heddle.db", "checkpoints.db"] as const;
export type DataFile = (typeof DATA_FILES)[number];

export interface Snapshot {
  readonly files: readonly { readonly name: DataFile; readonly connection: SqliteDatabase }[];
  close(): void;
}

/** Throws a `DataFolderError` when the databases are not there. */
export function openSnapshot(folder: string): Snapshot {
  requireDataFiles(folder);
  const locks: SqliteDatabase[] = [];
  const files: { readonly name: DataFile; readonly connection: SqliteDatabase }[] = [];
  const close = (): void => {
    for (const { connection } of files.splice(0)) connection.close();
  };
  try {
    for (const name of DATA_FILES) {
      const lock = openSqliteBeside(join(folder, name));
      locks.push(lock);
      lock.exec("BEGIN IMMEDIATE"); // 1
    }
    for (const name of DATA_FILES) {
      const connection = openSqliteReader(join(folder, name));
      files.push({ name, connection });
      connection.exec("BEGIN");
      connection.prepare("SELECT count(*) FROM sqlite_schema").get(); // a transaction begins with its first look
    }
    return { files: [...files], close };
  } catch (error) {
    close();
    throw error;
  } finally {
    for (const lock of locks) lock.close(); // which ends its transaction
  }
}

/** Throws a `DataFolderError` unless the folder holds what a gateway left. */
export function requireDataFiles(folder: string): void {
  requireRestored(folder);
  for (const name of DATA_FILES) {
    if (statSync(join(folder, name), { throwIfNoEntry: false })?.isFile()) continue;
    throw new DataFolderError(`no ${name} in ${folder}: no gateway has kept its data there`);
  }
}
