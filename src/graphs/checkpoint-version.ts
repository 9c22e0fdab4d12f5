/**
 * Refuses copies of `@langchain/langgraph-checkpoint` that can be made to run code: before 1.1.5 it calls whatever
 * constructor stored data names, and what a run is given is stored. Looked at before any code of a project runs.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { GraphModuleError } from "./load-error.js";

const PACKAGE = "@langchain/langgraph-checkpoint";
const LEAST = [1, 1, 5] as const;

/** One line that says which copy, and what to install. */
export class UnsafePackageError extends GraphModuleError {
  constructor(version: string, folder: string) {
    const least = LEAST.join(".");
    super(
      `${PACKAGE} ${version} in ${folder} can be made to run code by the data that it reads; it must be ${least} or later: npm install ${PACKAGE}@^${least}`,
    );
  }
}

/** Throws an `UnsafePackageError` for any copy that the module at `file` would use, itself or through LangGraph. */
export function requireSafeCheckpoints(file: string): void {
  const langchain = resolved(file, "langchain");
  const users = [file, resolved(file, "@langchain/langgraph"), langchain];
  if (langchain !== undefined) users.push(resolved(langchain, "@langchain/langgraph"));
  for (const user of users) {
    const folder = user === undefined ? undefined : folderOf(resolved(user, PACKAGE));
    if (folder === undefined) continue;
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { readonly version: string };
    if (!isSafe(version)) throw new UnsafePackageError(version, folder);
  }
}

function isSafe(version: string): boolean {
  const parts = version.split(/[.-]/, 3).map(Number);
  const differs = LEAST.findIndex((least, index) => parts[index] !== least);
  return differs === -1 || (parts[differs] ?? Number.NaN) > (LEAST[differs] ?? 0);
}

function resolved(from: string, id: string): string | undefined {
  try {
    return createRequire(from).resolve(id);
  } catch {
    return undefined; // not used there
  }
}

/** The package's folder: old versions do not let their package.json be asked for. */
function folderOf(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = join(folder, "package.json");
    if (!existsSync(manifest)) continue;
    const { name } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly name?: string };
    if (name === PACKAGE) return folder;
  }
  return undefined;
}
