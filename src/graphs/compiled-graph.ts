/**
 * What heddle knows of a compiled LangGraph before a run: how to tell one, and how to bind one.
 *
 * Everything is told by structure (`lg_is_pregel`), never by `instanceof`: the graph may come from another copy of
 * `@langchain/langgraph` than heddle's.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { BaseCheckpointSaver, BaseStore } from "@langchain/langgraph-checkpoint";
import type { BoundGraph } from "./bound-graph.js";
import type { StreamTransformer } from "./stream-transformers.js";

/** A drawing as LangGraph makes it. */
export interface Drawing {
  readonly nodes: { readonly [id: string]: { readonly id: string; readonly metadata?: unknown } };
  toJSON(): { readonly nodes: readonly object[]; readonly edges: readonly object[] };
}

export interface CompiledGraph extends BoundGraph {
  readonly lg_is_pregel: true;
  readonly store?: unknown;
  readonly interruptBefore?: readonly string[] | "*";
  readonly interruptAfter?: readonly string[] | "*";
  /** The builder that a `StateGraph` was compiled from; graphs of the functional API have none. */
  readonly builder?: unknown;
  /** What `compile` was given as `transformers`. */
  readonly streamTransformers?: readonly (() => StreamTransformer)[];
  readonly triggerToNodes?: { readonly [trigger: string]: readonly string[] };
  getGraphAsync(config: RunnableConfig & { xray?: boolean | number }): Promise<Drawing>;
  getSubgraphsAsync(namespace?: string, recurse?: boolean): AsyncIterable<readonly [string, CompiledGraph]>;
}

export interface Persistence {
  readonly checkpointer: BaseCheckpointSaver;
  readonly store: BaseStore;
}

function isCompiledGraph(value: unknown): value is CompiledGraph {
  return typeof value === "object" && value !== null && "lg_is_pregel" in value && value.lg_is_pregel === true;
}

/**
 * The compiled graph that `value` is or stands for: a compiled graph, a builder, or an agent of `langchain`'s
 * `createAgent`, whose compiled graph is its member `graph`. Undefined for anything else.
 */
export function toCompiledGraph(value: unknown): CompiledGraph | undefined {
  if (isCompiledGraph(value)) return value;
  if (typeof value !== "object" || value === null) return undefined;
  if ("graph" in value && isCompiledGraph(value.graph)) return value.graph;
  if (!("compile" in value) || typeof value.compile !== "function") return undefined;
  const compiled: unknown = value.compile();
  return isCompiledGraph(compiled) ? compiled : undefined;
}

/** A saver of the graph's own, or `false`: the graph asked for none. `true` means "whatever the parent has": ours. */
export function hasOwnCheckpointer(graph: CompiledGraph): boolean {
  return graph.checkpointer === false || (typeof graph.checkpointer === "object" && graph.checkpointer !== null);
}

export function hasBreakpoints({ interruptBefore = [], interruptAfter = [] }: CompiledGraph): boolean {
  return interruptBefore.length > 0 || interruptAfter.length > 0;
}

export function hasOwnStore(graph: CompiledGraph): boolean {
  return typeof graph.store === "object" && graph.store !== null;
}

/**
 * A copy of `graph` with heddle's checkpointer and store where it has none of its own; `graph` is left untouched.
 *
 * This is how `Pregel.withConfig` copies, but for two objects that the constructor would change in the original: it
 * writes into `channels`, and validating again would append every node to `triggerToNodes` a second time.
 */
export function bindGraph(graph: CompiledGraph, { checkpointer, store }: Persistence): CompiledGraph {
  // proven by lg_is_pregel: the constructor of every Pregel takes its own fields
  const Graph = graph.constructor as new (fields: object) => CompiledGraph;
  const bound = new Graph({
    ...graph,
    channels: { ...graph.channels },
    autoValidate: false,
    checkpointer: hasOwnCheckpointer(graph) ? graph.checkpointer : checkpointer,
    store: hasOwnStore(graph) ? graph.store : store,
  });
  passStoreDirectly(bound);
  return bound;
}

/** What LangGraph's `_defaults` answers with, as far as it concerns us: the config at 4, the store at 8. */
const CONFIG_AT = 4;
const STORE_AT = 8;

/**
 * Hands nodes the store itself. LangGraph would wrap it for the run into one that polls every millisecond, adds a
 * millisecond to the end of each run, drops `index` from `put` and lacks `listNamespaces`; a node finds a store in its
 * config as well. `_defaults` is not public: where it is not what we know, the graph is left as it is, and a test tells.
 */
function passStoreDirectly(graph: CompiledGraph & { _defaults?: (options: unknown) => unknown }): void {
  const original = graph._defaults;
  if (typeof original !== "function") return;
  const withDirectStore = (options: unknown): unknown => {
    const defaults = original.call(graph, options);
    if (!Array.isArray(defaults) || defaults[STORE_AT] === undefined) return defaults;
    if (typeof defaults[CONFIG_AT] !== "object" || typeof defaults[STORE_AT]?.batch !== "function") return defaults;
    return defaults.with(CONFIG_AT, { ...defaults[CONFIG_AT], store: defaults[STORE_AT] }).with(STORE_AT, undefined);
  };
  // not enumerable: a copy of the binding must not take it along
  Object.defineProperty(graph, "_defaults", { value: withDirectStore, enumerable: false });
}
