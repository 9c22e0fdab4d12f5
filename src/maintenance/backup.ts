/**
 * `heddle backup`: both databases of a data folder as of one moment, while a gateway uses them or not.
 *
 * 1. The copy is made beside its place under another name, read to the end, and flushed; only then does it get its name. What
 *    has the name is whole.
 * 2. Nothing that is there is replaced.
 */
import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { copyDatabase, flush, requireSound } from "../storage/copy.js";
import { DATA_FILES, type DataFile, openSnapshot } from "../storage/snapshot.js";
import { DataFolderError } from "../storage/sqlite.js";

/** Says what is under way, and which part of it is done, 0 to 1. */
export type Report = (what: string, done: number) => void;

const MANIFEST = "backup.json";

const fileEntry = z.object({ bytes: z.number(), sha256: z.string() });
const manifestSchema = z.object({
  format: z.literal(1),
  /** Of the heddle that made it. */
  version: z.string(),
  taken_at: z.iso.datetime(),
  files: z.object({ "heddle.db": fileEntry, "checkpoints.db": fileEntry } satisfies Record<DataFile, unknown>),
});
export type Manifest = z.output<typeof manifestSchema>;

/** Returns what is in it. Throws a `DataFolderError` where it cannot be made, and leaves nothing then. */
export async function backUp(
  dataDir: string,
  target: string,
  { version, report }: { readonly version: string; readonly report: Report },
): Promise<Manifest> {
  if (existsSync(target)) throw new DataFolderError(`${target} is there already: name a folder that is not`); // 2
  const partial = makePartial(target);
  try {
    const snapshot = openSnapshot(dataDir);
    const takenAt = new Date();
    report("as of one moment", 1);
    const files = new Map<DataFile, z.output<typeof fileEntry>>();
    try {
      for (const { name, connection } of snapshot.files) {
        const file = join(partial, name);
        await copyDatabase(connection, file, (done) => report(`copying ${name}`, done));
        requireSound(file);
        report(`checking ${name}`, 1);
        flush(file);
        files.set(name, await describeFile(file));
      }
    } finally {
      snapshot.close();
    }
    const manifest = manifestSchema.parse({
      format: 1,
      version,
      taken_at: takenAt.toISOString(),
      files: Object.fromEntries(files),
    });
    writeFileSync(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
    flush(partial);
    renameSync(partial, target); // 1
    flush(dirname(target));
    return manifest;
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

function makePartial(target: string): string {
  try {
    mkdirSync(dirname(target), { recursive: true });
    return mkdtempSync(join(dirname(target), `.${basename(target)}-`));
  } catch (error) {
    throw new DataFolderError(`cannot make ${target}: ${(error as Error).message}`, { cause: error });
  }
}

/** What a backup says that it holds; throws a `DataFolderError` for a folder that is none, or not one that is whole. */
export async function readBackup(folder: string): Promise<Manifest> {
  const manifest = readManifest(folder);
  for (const name of DATA_FILES) {
    const file = join(folder, name);
    if (!existsSync(file)) throw new DataFolderError(`${folder} is not whole: ${name} is missing`);
    const { sha256 } = await describeFile(file);
    if (sha256 !== manifest.files[name].sha256) {
      throw new DataFolderError(`${folder} is damaged: ${name} is not what was backed up`);
    }
  }
  return manifest;
}

function readManifest(folder: string): Manifest {
  try {
    return manifestSchema.parse(JSON.parse(readFileSync(join(folder, MANIFEST), "utf8")));
  } catch (error) {
    throw new DataFolderError(
      `${folder} is no backup that this heddle can read: ${MANIFEST} is missing or says something else`,
      {
        cause: error,
      },
    );
  }
}

async function describeFile(file: string): Promise<z.output<typeof fileEntry>> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return { bytes: statSync(file).size, sha256: hash.digest("hex") };
}
