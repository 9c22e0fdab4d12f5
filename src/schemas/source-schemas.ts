/**
 * The schemas of graphs as the types of their sources say, for graphs that give none when they run (`Annotation`).
 *
 * S1. A graph is analysed when it is first asked about, once; what was found holds until the graph is loaded again.
 * S2. Whoever asks hears within `answerMs`. An analysis may take longer: then those who ask later have it.
 * S3. What cannot be told is no error: it has no schema, and the log says why once.
 */
import { withLimit } from "../core/async.js";
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { GraphSchemas } from "../graphs/host.js";
import type { Analyser } from "./analyser.js";
import type { Analysis, AnalysisTarget } from "./analysis.js";
import type { AnalysisCache } from "./cache.js";
import type { FoundTypescript } from "./typescript.js";

/** By namespace; `""` is the graph itself. */
export type SchemasByNamespace = ReadonlyMap<string, GraphSchemas>;

export interface SourceSchemas {
  /** Empty where nothing is known. */
  of(graphId: string): Promise<SchemasByNamespace>;
  /** The graph was loaded again: its files may say something else. */
  forget(graphId: string): void;
}

export interface SourceSchemasDeps {
  /** Undefined for a graph that comes from no file. */
  readonly locate: (graphId: string) => AnalysisTarget | undefined;
  /** The compiler for a file of a project. */
  readonly findTypescript: (file: string) => FoundTypescript | undefined;
  readonly analyser: Pick<Analyser, "analyse">;
  readonly cache: AnalysisCache;
  readonly answerMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

const NOTHING: SchemasByNamespace = new Map();
/** What failed may have been bad luck: a busy machine. */
const TRY_AGAIN_MS = 60_000;
const TYPESCRIPT = /\.[cm]?ts$/;

export function createSourceSchemas(deps: SourceSchemasDeps): SourceSchemas {
  const { locate, findTypescript, analyser, cache, answerMs, clock, log } = deps;
  const known = new Map<string, Promise<SchemasByNamespace>>();
  const said = new Set<string>();

  /** S3 */
  function say(graphId: string, reason: string): void {
    const key = JSON.stringify([graphId, reason]);
    if (said.has(key)) return;
    said.add(key);
    log.warn({ graphId, reason }, "the types of a graph do not tell all its schemas");
  }

  async function find(graphId: string): Promise<SchemasByNamespace> {
    const target = locate(graphId);
    if (target === undefined || !TYPESCRIPT.test(target.file)) return NOTHING;
    const typescript = findTypescript(target.file);
    if (typescript === undefined)
      throw new Error("typescript is not installed (5 or 6), neither by the project nor with heddle");
    const key = { ...target, typescript: typescript.version };
    const analysis = (await cache.find(key)) ?? (await analyse(key, typescript.path));
    for (const reason of analysis.reasons) say(graphId, reason);
    return new Map(Object.entries(analysis.schemas));
  }

  async function analyse(
    { typescript: version, ...target }: AnalysisTarget & { readonly typescript: string },
    typescript: string,
  ): Promise<Analysis> {
    const analysis = await analyser.analyse({ typescript, target });
    await cache.keep({ ...target, typescript: version }, analysis).catch((error: unknown) => {
      log.warn({ file: target.file, reason: describeError(error).message }, "schemas cannot be kept on disk");
    });
    return analysis;
  }

  /** S1 */
  function start(graphId: string): Promise<SchemasByNamespace> {
    const found = find(graphId).catch((error: unknown) => {
      say(graphId, describeError(error).message);
      clock.after(TRY_AGAIN_MS, () => {
        if (known.get(graphId) === found) known.delete(graphId);
      });
      return NOTHING;
    });
    known.set(graphId, found);
    return found;
  }

  return {
    async of(graphId) {
      const late = new Error("late");
      const found = known.get(graphId) ?? start(graphId);
      try {
        return await withLimit(found, { limitMs: answerMs, error: late, clock });
      } catch (error) {
        if (error !== late) throw error;
        say(graphId, `they were not known within ${answerMs / 1_000} s: ask again`); // S2
        return NOTHING;
      }
    },
    forget: (graphId) => void known.delete(graphId),
  };
}
