/**
 * The graphs that a gateway serves, by id.
 *
 * G1. A registered graph is never mutated: every use gets its own binding.
 * G2. A reload swaps all of a graph (its code and its kit) at once, or nothing: a binding in use keeps what it has.
 * G3. Graphs load one after the other, so that a module they share is evaluated once.
 */
import type { BaseCheckpointSaver, BaseStore } from "@langchain/langgraph-checkpoint";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { notFound } from "../core/errors.js";
import type { MessageKit } from "../core/kit.js";
import type { Json, RunConfig } from "../core/model.js";
import { bindGraph, type CompiledGraph, hasBreakpoints, hasOwnCheckpointer, hasOwnStore } from "./compiled-graph.js";
import type { GraphInfo } from "./host.js";
import {
  adoptGraph,
  type FactoryConfig,
  type LoadedGraph,
  loadGraphModule,
  locateGraph,
  type ModuleLocation,
} from "./load.js";

interface GraphDefaults {
  readonly description?: string | undefined;
  /** Configuration and context of the graph's system assistant. */
  readonly config?: RunConfig | undefined;
  readonly context?: Json | undefined;
}

/** Where a graph comes from: `"./path.ts:export"` from the base folder, or a ready object. */
export type GraphSpec = GraphDefaults & ({ readonly path: string } | { readonly graph: unknown });

export interface BindOptions {
  /** What a factory is called with. */
  readonly config: FactoryConfig;
  /** Told to a factory: what the graph is wanted for. */
  readonly runtime: ServerRuntime;
  readonly checkpointer: BaseCheckpointSaver;
  readonly store: BaseStore;
}

export interface GraphRegistryOptions {
  readonly graphs: { readonly [graphId: string]: GraphSpec };
  /** The folder that paths are relative to. */
  readonly baseDir: string;
}

/** Where a graph is: undefined for a ready object, and for a graph that there is not. */
export function locateSpec({ graphs, baseDir }: GraphRegistryOptions, graphId: string): ModuleLocation | undefined {
  const spec = Object.hasOwn(graphs, graphId) ? graphs[graphId] : undefined;
  return spec !== undefined && "path" in spec ? locateGraph(graphId, spec.path, baseDir) : undefined;
}

export class GraphRegistry {
  readonly #specs: ReadonlyMap<string, GraphSpec>;
  readonly #baseDir: string;
  readonly #loaded = new Map<string, LoadedGraph>();
  #reloading: Promise<unknown> = Promise.resolve();

  constructor({ graphs, baseDir }: GraphRegistryOptions) {
    this.#specs = new Map(Object.entries(graphs));
    this.#baseDir = baseDir;
  }

  /** Loads every graph; throws the `GraphLoadError` of the first that does not load. */
  async load(): Promise<void> {
    for (const graphId of this.#specs.keys()) this.#loaded.set(graphId, await this.#read(graphId, "cached")); // G3
  }

  /** Loads a graph again, from what its files say now. Throws a `GraphLoadError` and keeps the graph as it was. */
  async reload(graphId: string): Promise<void> {
    this.#requireSpec(graphId);
    const reloaded = this.#reloading.then(() => this.#read(graphId, "fresh"));
    this.#reloading = reloaded.catch(() => undefined); // its caller sees the error; the next reload goes on
    this.#loaded.set(graphId, await reloaded); // G2
  }

  has(graphId: string): boolean {
    return this.#loaded.has(graphId);
  }

  graphs(): readonly GraphInfo[] {
    return [...this.#loaded].map(([graphId, { sample }]) => {
      const spec = this.#requireSpec(graphId);
      return {
        graphId,
        description: spec.description ?? null,
        config: spec.config ?? {},
        context: spec.context ?? {},
        checkpointer: hasOwnCheckpointer(sample) ? "own" : "injected",
        store: hasOwnStore(sample) ? "own" : "injected",
        hasBreakpoints: hasBreakpoints(sample),
      };
    });
  }

  /** The LangChain classes of the graph's own copy. */
  kit(graphId: string): MessageKit {
    return this.#require(graphId).kit;
  }

  /** The graph as it was loaded, for descriptions that need no configuration. Never to be run. */
  sample(graphId: string): CompiledGraph {
    return this.#require(graphId).sample;
  }

  /** The graph's file; undefined for a ready object. */
  file(graphId: string): string | undefined {
    const spec = this.#requireSpec(graphId);
    return "path" in spec ? locateGraph(graphId, spec.path, this.#baseDir).file : undefined;
  }

  /**
   * A binding for one use: a copy of the graph with the checkpointer and store, unless it was compiled with its own.
   * Throws what a factory throws.
   */
  async bind(graphId: string, options: BindOptions): Promise<CompiledGraph> {
    const graph = await this.#require(graphId).create(options.config, options.runtime);
    return bindGraph(graph, options); // G1
  }

  async #read(graphId: string, modules: "cached" | "fresh"): Promise<LoadedGraph> {
    const spec = this.#requireSpec(graphId);
    if ("graph" in spec) {
      const location = { graphId, file: undefined, exportName: "", baseDir: this.#baseDir };
      return adoptGraph(location, spec.graph, spec.config);
    }
    const location = locateGraph(graphId, spec.path, this.#baseDir);
    return loadGraphModule(location, { config: spec.config, modules });
  }

  #require(graphId: string): LoadedGraph {
    const loaded = this.#loaded.get(graphId);
    if (loaded === undefined) throw notFound("graph", graphId);
    return loaded;
  }

  #requireSpec(graphId: string): GraphSpec {
    const spec = this.#specs.get(graphId);
    if (spec === undefined) throw notFound("graph", graphId);
    return spec;
  }
}
