/**
 * From `"./path.ts:export"` to something that graphs can be bound from.
 *
 * Guarantees that what it returns yields a compiled graph: a factory has been called once. Whatever goes wrong is one
 * `GraphLoadError`.
 */
import { existsSync } from "node:fs";
import { extname, isAbsolute, resolve } from "node:path";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import type { MessageKit } from "../core/kit.js";
import { requireSafeCheckpoints } from "./checkpoint-version.js";
import { type CompiledGraph, toCompiledGraph } from "./compiled-graph.js";
import { type GraphLocation, GraphModuleError, graphLoadError } from "./load-error.js";
import { importModule, importModuleFresh } from "./module-import.js";
import { findKit } from "./project-kit.js";

/** What a factory reads of a configuration, in LangGraph's spelling or the wire's. */
export interface FactoryConfig {
  readonly configurable?: Readonly<Record<string, unknown>> | undefined;
}

/** How a graph is had for one use. A factory's errors are its own. */
export type CreateGraph = (config: FactoryConfig, runtime: ServerRuntime) => CompiledGraph | Promise<CompiledGraph>;

export interface LoadedGraph {
  readonly create: CreateGraph;
  /** The graph, or the one that its factory made of the default configuration: what describes it. */
  readonly sample: CompiledGraph;
  readonly kit: MessageKit;
}

export interface ModuleLocation extends GraphLocation {
  readonly file: string;
}

const EXTENSIONS = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

const INTROSPECTION: ServerRuntime = { accessContext: "assistants.read", executionRuntime: null };

/** Splits `"./path.ts:export"`; without an export it is the default one. */
export function locateGraph(graphId: string, path: string, baseDir: string): ModuleLocation {
  const [, file = path, exportName = "default"] = /^(.+):([^:\\/]+)$/.exec(path) ?? [];
  return { graphId, file: isAbsolute(file) ? file : resolve(baseDir, file), exportName, baseDir };
}

/** Loads the graph at `location`; `fresh` modules are evaluated anew. Throws a `GraphLoadError`. */
export async function loadGraphModule(
  location: ModuleLocation,
  { config = {}, modules }: { readonly config?: FactoryConfig | undefined; readonly modules: "cached" | "fresh" },
): Promise<LoadedGraph> {
  try {
    requireSafeCheckpoints(location.file);
    return await toLoadedGraph(await importExport(location, modules), location.file, config);
  } catch (error) {
    throw graphLoadError(location, error);
  }
}

/** The export that `location` names. Throws a `GraphModuleError` where there is none, or what the module throws. */
export async function importExport(
  { file, exportName }: Pick<ModuleLocation, "file" | "exportName">,
  modules: "cached" | "fresh",
): Promise<unknown> {
  checkFile(file);
  return pickExport(await (modules === "fresh" ? importModuleFresh : importModule)(file), exportName);
}

/** The same for a graph, builder, agent or factory that the embedding program hands over. */
export async function adoptGraph(
  location: GraphLocation,
  value: unknown,
  config: FactoryConfig = {},
): Promise<LoadedGraph> {
  try {
    return await toLoadedGraph(value, import.meta.filename, config);
  } catch (error) {
    throw graphLoadError(location, error);
  }
}

function checkFile(file: string): void {
  const extension = extname(file);
  if (!EXTENSIONS.includes(extension)) {
    throw new GraphModuleError(`${extension || "a file without extension"} is not one of ${EXTENSIONS.join(" ")}`);
  }
  if (!existsSync(file)) throw new GraphModuleError("there is no such file");
}

/** `exportName` of a module, or a member of the plain object that it exports as default (CommonJS). */
function pickExport(module: unknown, exportName: string): unknown {
  const exported = member(module, "default");
  const places = isPlainObject(exported) ? [module, exported] : [module];
  const place = places.find((candidate) => isRecord(candidate) && Object.hasOwn(candidate, exportName));
  if (place !== undefined) return member(place, exportName);
  if (exportName === "default" && !isEsModule(module)) return module; // module.exports = graph
  const names = [...new Set(places.filter(isRecord).flatMap((candidate) => Object.keys(candidate)))];
  const known = names.length === 0 ? "nothing" : names.map((name) => JSON.stringify(name)).join(", ");
  throw new GraphModuleError(`the module has no such export; it exports ${known}`);
}

function isRecord(value: unknown): value is Record<PropertyKey, unknown> {
  return (typeof value === "object" || typeof value === "function") && value !== null;
}

function isPlainObject(value: unknown): boolean {
  return isRecord(value) && Object.getPrototypeOf(value) === Object.prototype;
}

function member(value: unknown, name: string): unknown {
  return isRecord(value) ? value[name] : undefined;
}

function isEsModule(module: unknown): boolean {
  return isRecord(module) && (Object.hasOwn(module, "__esModule") || module[Symbol.toStringTag] === "Module");
}

async function toLoadedGraph(exported: unknown, file: string, config: FactoryConfig): Promise<LoadedGraph> {
  const value = await exported;
  const create = typeof value === "function" ? fromFactory(value as UserFactory) : fromGraph(value);
  const sample = await create(config, INTROSPECTION);
  return { create, sample, kit: await findKit(sample, file) };
}

type UserFactory = (config: FactoryConfig, runtime: ServerRuntime) => unknown;

/** Called per use, with its own copy of the configuration. */
function fromFactory(factory: UserFactory): CreateGraph {
  return async (config, runtime) => {
    const own = { ...config, configurable: { ...config.configurable } };
    return requireGraph(await factory(own, runtime), "the factory returned");
  };
}

/** Builders are compiled here, once. */
function fromGraph(value: unknown): CreateGraph {
  const graph = requireGraph(value, "the export is");
  return () => graph;
}

function requireGraph(value: unknown, what: string): CompiledGraph {
  const graph = toCompiledGraph(value);
  if (graph !== undefined) return graph;
  const kind = value === null ? "null" : Array.isArray(value) ? "an array" : `of type ${typeof value}`;
  throw new GraphModuleError(`${what} ${kind}; expected a compiled graph, a builder, an agent or a factory of one`);
}
