/** Why a graph did not load, told so that its author finds the place: one readable line, the cause kept. */
import { dirname, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describeError } from "../core/errors.js";

export interface GraphLocation {
  readonly graphId: string;
  /** Absolute path of the module; undefined for a graph object that was handed over. */
  readonly file: string | undefined;
  readonly exportName: string;
  /** The folder that paths in messages are relative to. */
  readonly baseDir: string;
}

interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Plain data. */
export interface GraphLoadFailure {
  readonly message: string;
  readonly graphId: string;
  /** Where it went wrong: the graph's file, or the imported file that threw. */
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly exportName: string;
}

/** A graph that cannot be used: stops a start, and leaves the last good graph in place on a reload. */
export class GraphLoadError extends Error {
  override readonly name = "GraphLoadError";
  readonly failure: GraphLoadFailure;

  constructor(failure: GraphLoadFailure, cause?: unknown) {
    super(failure.message, { cause });
    this.failure = failure;
  }
}

/** A model for embeddings that cannot be used: stops a start. */
export class EmbeddingLoadError extends Error {
  override readonly name = "EmbeddingLoadError";
}

export function graphLoadError(location: GraphLocation, cause: unknown): GraphLoadError {
  const place = cause instanceof GraphModuleError ? undefined : placeOf(cause);
  const { graphId, exportName } = location;
  const file = place?.file ?? location.file;
  return new GraphLoadError(
    { message: messageOf(location, place, cause), graphId, file, line: place?.line, exportName },
    cause,
  );
}

/** What is wrong with a module or its export, where there is no thrown error to pass on. */
export class GraphModuleError extends Error {
  override readonly name = "GraphModuleError";
}

function messageOf(location: GraphLocation, place: Place | undefined, cause: unknown): string {
  const reason = reasonOf(cause);
  if (location.file === undefined) return `graph ${JSON.stringify(location.graphId)} cannot be used: ${reason}`;
  const shown =
    place === undefined ? show(location, location.file) : `${show(location, place.file)}:${place.line}:${place.column}`;
  return `graph ${JSON.stringify(location.graphId)} did not load: ${shown} (export ${JSON.stringify(location.exportName)}): ${reason}`;
}

/** One line. */
export function reasonOf(cause: unknown): string {
  if (cause instanceof GraphModuleError) return cause.message;
  const { error, message } = describeError(cause);
  const firstLine = message.split("\n", 1)[0]?.trim() ?? "";
  const syntax = /^ParseError: (.*)/.exec(firstLine)?.[1]; // as jiti reports what it cannot compile
  return syntax === undefined ? `${error}: ${firstLine}` : `SyntaxError: ${syntax}`;
}

function show(location: GraphLocation, file: string): string {
  const path = relative(location.baseDir, file);
  return path.startsWith("..") ? file : `.${sep}${path}`;
}

const OWN_FOLDER = dirname(fileURLToPath(import.meta.url));
const PLACE = /(?:^|[\s(])((?:file:\/\/)?(?:\/|[A-Za-z]:[\\/])[^\n()]*?):(\d+):(\d+)\)?$/;

/** The first place in the author's own code that an error's text names: not a dependency, not Node, not heddle. */
function placeOf(cause: unknown): Place | undefined {
  if (!(typeof cause === "object" && cause !== null && "message" in cause)) return undefined;
  const stack = "stack" in cause ? String(cause.stack) : "";
  for (const text of `${String(cause.message)}\n${stack}`.split("\n")) {
    const match = PLACE.exec(text.trimEnd());
    if (match === null) continue;
    const [, named = "", line = "", column = ""] = match;
    const file = named.startsWith("file:") ? fileURLToPath(named) : named;
    if (isAuthors(file)) return { file, line: Number(line), column: Number(column) };
  }
  return undefined;
}

function isAuthors(file: string): boolean {
  return !/[\\/]node_modules[\\/]/.test(file) && !file.startsWith(OWN_FOLDER);
}
