/**
 * `heddle restore`: a backup becomes the content of a data folder.
 *
 * 1. No gateway has the folder meanwhile, and none starts on half a restore: a mark stands in it from before the first change
 *    to after the last (`storage/data-file.ts`), and asking again does it anew.
 * 2. The backup is copied into the folder and read to the end before anything of what was there is moved.
 * 3. What was there is moved aside within the folder, never deleted.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { flush, requireSound } from "../storage/copy.js";
import { RESTORE_MARK } from "../storage/data-file.js";
import { DATA_FILES } from "../storage/snapshot.js";
import { DataFolderError, lockDataFolder } from "../storage/sqlite.js";
import { type Manifest, type Report, readBackup } from "./backup.js";

export interface Restored {
  readonly manifest: Manifest;
  /** Where what was there is now; null where nothing was. */
  readonly aside: string | null;
}

/** Throws a `DataFolderError` for a folder that is in use or, unless `replace`, not empty. */
export async function restore(
  backup: string,
  dataDir: string,
  { replace, report, now = Date.now() }: { readonly replace: boolean; readonly report: Report; readonly now?: number },
): Promise<Restored> {
  const manifest = await readBackup(backup);
  const unlock = lockDataFolder(dataDir); // 1
  try {
    const isCutShort = existsSync(join(dataDir, RESTORE_MARK));
    if (!replace && !isCutShort) requireEmpty(dataDir);
    const incoming = join(dataDir, INCOMING);
    rmSync(incoming, { recursive: true, force: true }); // of one that was cut short
    mkdirSync(incoming);
    for (const name of DATA_FILES) {
      copyFileSync(join(backup, name), join(incoming, name));
      requireSound(join(incoming, name)); // 2
      flush(join(incoming, name));
      report(`copying ${name}`, 1);
    }
    writeFileSync(join(dataDir, RESTORE_MARK), `${backup}\n`, { flush: true });
    flush(dataDir);
    const aside = moveAside(dataDir, now); // 3
    for (const name of DATA_FILES) renameSync(join(incoming, name), join(dataDir, name));
    flush(dataDir);
    rmSync(join(dataDir, RESTORE_MARK));
    flush(dataDir);
    rmSync(incoming, { recursive: true });
    return { manifest, aside };
  } finally {
    unlock();
  }
}

const INCOMING = "restore.incoming";

/** Of the lock, and of a restore that was cut short before it moved anything. */
const NO_DATA: ReadonlySet<string> = new Set(["lock.db", "lock.db-journal", INCOMING]);

function requireEmpty(dataDir: string): void {
  const [found] = readdirSync(dataDir).filter((name) => !NO_DATA.has(name));
  if (found === undefined) return;
  throw new DataFolderError(
    `${dataDir} is not empty: name another folder with --data, or say --replace to put what is there aside`,
  );
}

function moveAside(dataDir: string, now: number): string | null {
  const files = DATA_FILES.flatMap((name) => [name, `${name}-wal`, `${name}-shm`, `${name}-journal`]);
  const found = files.filter((name) => existsSync(join(dataDir, name)));
  if (found.length === 0) return null;
  const aside = join(dataDir, `replaced-${new Date(now).toISOString().replaceAll(":", "-")}`);
  mkdirSync(aside);
  for (const name of found) renameSync(join(dataDir, name), join(aside, name));
  flush(aside);
  return aside;
}
