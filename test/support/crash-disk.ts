/**
 * What a data folder holds at one moment, in memory: what a process that dies then leaves to the next one.
 *
 * The write-ahead log goes along, its index does not: the next process makes it anew, as after a death.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A database file and its log. */
interface FileImage {
  readonly main: Buffer;
  readonly log: Buffer | null;
}

export interface DiskImage {
  readonly heddle: FileImage;
  readonly checkpoints: FileImage;
}

export const FILES = { heddle: "heddle.db", checkpoints: "checkpoints.db" } as const;

/** A folder in memory where there is such a thing: what is tested here is what was written, not the disk. */
export function makeFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "heddle-crash-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function readDisk(folder: string): DiskImage {
  return { heddle: readImage(folder, FILES.heddle), checkpoints: readImage(folder, FILES.checkpoints) };
}

export function writeDisk(folder: string, disk: DiskImage): void {
  writeImage(folder, FILES.heddle, disk.heddle);
  writeImage(folder, FILES.checkpoints, disk.checkpoints);
}

export function sameImage(one: FileImage, other: FileImage): boolean {
  if ((one.log === null) !== (other.log === null)) return false;
  return one.main.equals(other.main) && (one.log === null || other.log === null || one.log.equals(other.log));
}

function readImage(folder: string, file: string): FileImage {
  const log = join(folder, `${file}-wal`);
  return { main: readFileSync(join(folder, file)), log: existsSync(log) ? readFileSync(log) : null };
}

function writeImage(folder: string, file: string, { main, log }: FileImage): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(folder, `${file}${suffix}`), { force: true });
  writeFileSync(join(folder, file), main);
  if (log !== null) writeFileSync(join(folder, `${file}-wal`), log);
}
