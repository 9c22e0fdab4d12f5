/**
 * What analyses found, on disk, with the project's packages: in `node_modules/.cache/heddle`, or nowhere.
 *
 * C1. An entry counts only while every file that it was made of has the content that it had then, and what made it is the same:
 *     TypeScript's version and heddle's analysis.
 * C2. It is written whole or not at all: another process may read it.
 * C3. An entry that cannot be read is none: the analysis is made again.
 */
import { createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { Analysis, AnalysisTarget } from "./analysis.js";
import { hashOf } from "./project-program.js";

export interface CacheKey extends AnalysisTarget {
  /** Its version. */
  readonly typescript: string;
}

export interface AnalysisCache {
  find(key: CacheKey): Promise<Analysis | undefined>;
  /** Rejects where the folder cannot be written to. */
  keep(key: CacheKey, analysis: Analysis): Promise<void>;
}

const schema = z.record(z.string(), z.json()).nullable();
const entrySchema = z.object({
  madeBy: z.array(z.string()),
  schemas: z.record(
    z.string(),
    z.object({
      input_schema: schema,
      output_schema: schema,
      state_schema: schema,
      config_schema: schema,
      context_schema: schema,
    }),
  ),
  reasons: z.array(z.string()),
  files: z.record(z.string(), z.string().nullable()),
});

export function createAnalysisCache(): AnalysisCache {
  let analyser: Promise<string> | undefined;

  async function makersOf({ typescript }: CacheKey): Promise<readonly string[]> {
    analyser ??= analyserVersion();
    return [typescript, await analyser];
  }

  return {
    async find(key) {
      const path = placeOf(key);
      const text = path && (await readIfThere(path));
      const entry = text ? parseEntry(text) : undefined;
      if (entry === undefined) return undefined;
      const { madeBy, ...analysis } = entry;
      const isSame = JSON.stringify(madeBy) === JSON.stringify(await makersOf(key)) && (await isCurrent(analysis));
      return isSame ? analysis : undefined;
    },

    async keep(key, analysis) {
      const path = placeOf(key);
      if (path === undefined) return;
      await mkdir(dirname(path), { recursive: true });
      const draft = `${path}.${randomUUID()}`;
      try {
        await writeFile(draft, JSON.stringify({ madeBy: await makersOf(key), ...analysis }));
        await rename(draft, path); // C2
      } finally {
        await rm(draft, { force: true });
      }
    },
  };
}

/** One place for each graph: what is kept does not grow. */
function placeOf({ file, exportName }: AnalysisTarget): string | undefined {
  const folder = packagesFolder(dirname(file));
  return folder && join(folder, ".cache", "heddle", `schemas-${hashOf(JSON.stringify([file, exportName]))}.json`);
}

/** As for compiled modules: a folder that only who installs packages writes to. */
function packagesFolder(folder: string): string | undefined {
  const packages = join(folder, "node_modules");
  if (existsSync(packages)) return packages;
  const parent = dirname(folder);
  return parent === folder ? undefined : packagesFolder(parent);
}

/** C3 */
function parseEntry(text: string): (Analysis & { readonly madeBy: readonly string[] }) | undefined {
  try {
    return entrySchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** C1 */
async function isCurrent({ files }: Analysis): Promise<boolean> {
  const checks = Object.entries(files).map(async ([path, hash]) => {
    const content = await readIfThere(path);
    return hash === (content === undefined ? null : hashOf(content));
  });
  return (await Promise.all(checks)).every(Boolean);
}

/** The compiler reads a file without the mark that some editors begin it with. */
async function readIfThere(path: string): Promise<string | undefined> {
  const content = await readFile(path, "utf8").catch(() => undefined);
  return content?.replace(/^\uFEFF/, "");
}

/** Changes with every change of this folder. */
async function analyserVersion(): Promise<string> {
  const hash = createHash("sha256");
  const names = (await readdir(import.meta.dirname)).filter((name) => /\.[jt]s$/.test(name));
  for (const name of names.sort()) hash.update(await readFile(join(import.meta.dirname, name)));
  return hash.digest("base64url");
}
