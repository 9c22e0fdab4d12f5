/**
 * The TypeScript program of one file of a user's project, and what it was made of.
 *
 * 1. Modules are found as graphs are loaded: any spelling of an import that a bundler takes, with the project's own `paths`.
 * 2. It is as strict as can be whatever the project says: only then do types say what may be absent.
 * 3. What was read of the project, what was looked for and not there, and the packages' manifests are told with their hashes: as
 *    long as those are the same, so is the program.
 * 4. Files of packages are parsed once for all programs.
 */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import type { CompilerHost, CompilerOptions, ParseConfigHost, Program, SourceFile } from "typescript";
import type { TypeScript } from "./type-schema.js";

/** Hashes of files by their paths; null for one that was not there. */
export type FileHashes = { readonly [path: string]: string | null };

export interface ProjectProgram {
  readonly program: Program;
  readonly files: FileHashes;
}

export function hashOf(content: string): string {
  return createHash("sha256").update(content).digest("base64url");
}

/** Files of packages that were parsed, by path. */
export type ParsedPackages = Map<string, SourceFile>;

export function openProgram(ts: TypeScript, file: string, parsed: ParsedPackages): ProjectProgram {
  const files: Record<string, string | null> = {};
  const readFile = (path: string): string | undefined => {
    const content = ts.sys.readFile(path);
    if (isWatched(path)) files[path] = content === undefined ? null : hashOf(content);
    return content;
  };
  const fileExists = (path: string): boolean => {
    const isThere = ts.sys.fileExists(path);
    if (!isThere && !isOfPackage(path)) files[path] = null;
    return isThere;
  };
  const options = compilerOptions(ts, file, { readFile, fileExists });
  const host = ts.createCompilerHost(options);
  const parse: CompilerHost["getSourceFile"] = host.getSourceFile.bind(host);
  const own: Partial<CompilerHost> = {
    readFile,
    fileExists,
    getSourceFile(path, ...how) {
      if (!isOfPackage(path)) return parse(path, ...how);
      const known = parsed.get(path) ?? parse(path, ...how);
      if (known !== undefined) parsed.set(path, known); // 4
      return known;
    },
  };
  const program = ts.createProgram({ rootNames: [file], options, host: Object.assign(host, own) });
  return { program, files };
}

function compilerOptions(
  ts: TypeScript,
  file: string,
  { readFile, fileExists }: Pick<ParseConfigHost, "readFile" | "fileExists">,
): CompilerOptions {
  const path = ts.findConfigFile(dirname(file), fileExists);
  const settings = path === undefined ? {} : ts.readConfigFile(path, readFile).config;
  const host: ParseConfigHost = { useCaseSensitiveFileNames: true, readDirectory: () => [], fileExists, readFile };
  const { options } = ts.parseJsonConfigFileContent(
    settings ?? {},
    host,
    path === undefined ? dirname(file) : dirname(path),
  );
  return {
    types: [],
    ...options,
    target: options.target ?? ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler, // 1
    resolveJsonModule: true,
    strict: true, // 2
    strictNullChecks: true,
    exactOptionalPropertyTypes: false,
    skipLibCheck: true,
    noEmit: true,
  };
}

/** 3 */
function isWatched(path: string): boolean {
  return !isOfPackage(path) || path.endsWith("/package.json");
}

function isOfPackage(path: string): boolean {
  return path.replaceAll("\\", "/").includes("/node_modules/");
}
