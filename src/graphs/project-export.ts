/** What the configuration names as `"./file.ts:export"` besides graphs: something of the project's own code. */
import { existsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { ConfigError } from "../config/config-error.js";
import { describeError } from "../core/errors.js";
import { importModule, importModuleFresh } from "./module-import.js";

export interface ProjectExport {
  /** Of the configuration, for messages. */
  readonly key: string;
  /** Without an export it is the default one. */
  readonly path: string;
  readonly baseDir: string;
}

/** undefined where the module has no such export. Throws a `ConfigError` for a module that cannot be loaded. */
export function importExport(what: ProjectExport): Promise<unknown> {
  return importWith(importModule, what);
}

/** The same, evaluating the project's files anew. */
export function importExportFresh(what: ProjectExport): Promise<unknown> {
  return importWith(importModuleFresh, what);
}

/** The file that `path` names. */
export function projectFile({ path, baseDir }: Pick<ProjectExport, "path" | "baseDir">): string {
  const { file } = split(path);
  return isAbsolute(file) ? file : resolve(baseDir, file);
}

async function importWith(load: typeof importModule, what: ProjectExport): Promise<unknown> {
  const { key, path } = what;
  const location = projectFile(what);
  if (!existsSync(location)) throw new ConfigError(`${key}: ${location} does not exist`);
  const module = await load(location).catch((error: unknown) => {
    throw new ConfigError(`${key}: ${path} does not load: ${describeError(error).message}`);
  });
  return (module as Readonly<Record<string, unknown>>)[split(path).exportName];
}

function split(path: string): { readonly file: string; readonly exportName: string } {
  const [, file = path, exportName = "default"] = /^(.+):([^:\\/]+)$/.exec(path) ?? [];
  return { file, exportName };
}
