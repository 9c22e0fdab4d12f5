/**
 * Space in a database file that nothing is stored in any more.
 *
 * Deleting leaves it in the file, for what is stored next. Where nobody else has the file it is written anew, as small as it
 * can be; beside a gateway pages move from its end into the gaps, some at a time (docs/decisions/015-maintenance.md).
 */
import { statSync } from "node:fs";
import { openSqlite, openSqliteReader, type SqliteDatabase } from "./sqlite.js";

export interface FileSpace {
  /** What the file and its log take on the disk. */
  readonly bytes: number;
  /** Of that, what is stored next would fill first. */
  readonly free: number;
}

/** Moved in one transaction: 1 MB. */
const STEP_PAGES = 256;

/** What `PRAGMA auto_vacuum` says where pages can be moved; files that older versions made cannot, until written anew. */
const INCREMENTAL = 2;

export function fileSpace(file: string): FileSpace {
  const connection = openSqliteReader(file);
  try {
    const sizes = [file, `${file}-wal`].map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    return { bytes, free: read(connection, "freelist_count") * read(connection, "page_size") };
  } finally {
    connection.close();
  }
}

/** Of a file that nobody else uses. Takes as much room again for a moment. */
export function rewrite(file: string): void {
  const connection = openSqlite(file, "FULL");
  try {
    if (read(connection, "auto_vacuum") !== INCREMENTAL) connection.pragma("auto_vacuum = INCREMENTAL"); // by what follows
    if (read(connection, "freelist_count") > 0) connection.exec("VACUUM");
    connection.pragma("wal_checkpoint(TRUNCATE)");
  } finally {
    connection.close();
  }
}

/** Of a file that a gateway writes to. `pause`: it has the file to itself. */
export async function fillGaps(file: string, pause: () => Promise<void>): Promise<void> {
  const connection = openSqlite(file, "FULL");
  try {
    if (read(connection, "auto_vacuum") !== INCREMENTAL) return;
    for (let steps = Math.ceil(read(connection, "freelist_count") / STEP_PAGES); steps > 0; steps--) {
      connection.pragma(`incremental_vacuum(${STEP_PAGES})`);
      await pause();
    }
  } finally {
    connection.close();
  }
}

function read(connection: SqliteDatabase, pragma: string): number {
  return Number(connection.pragma(pragma, { simple: true }));
}
