/**
 * The graph host that runs user code in this process. Every use gets a fresh binding; the registered graph is never touched.
 *
 * Whoever asks for anything but a run hears within `answerMs`, and has an answer that stays true: what the graph does
 * afterwards can write nothing.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { createBreather, withLimit } from "../core/async.js";
import { describeError, GatewayError, invalid, notFound, unsupported } from "../core/errors.js";
import type { EmbedTexts } from "../core/items.js";
import type { JsonObject, ThreadState } from "../core/model.js";
import { type Blame, blamed } from "./blame.js";
import type { StateSnapshotLike } from "./bound-graph.js";
import { pointerOf } from "./checkpoint-chunks.js";
import type { CompiledGraph } from "./compiled-graph.js";
import { describeSubgraphs, drawGraph, graphSchemas } from "./describe.js";
import { stateConfig, toGraphUpdate } from "./graph-input.js";
import type { GraphHost, StateRef } from "./host.js";
import { type ExecutionDeps, execute } from "./inline-execution.js";
import { type LangsmithAccess, openLangsmith } from "./langsmith.js";
import type { FactoryConfig } from "./load.js";
import { finishedTasks, projectionAfterUpdate, toThreadState } from "./snapshot.js";

export interface InlineHostDeps extends Omit<ExecutionDeps, "langsmith"> {
  /** Absent without credentials. */
  readonly langsmith?: LangsmithAccess | undefined;
  readonly blame: Blame;
  /** How long a graph may take to answer what does not run it. */
  readonly answerMs: number;
  /** null: items are not indexed. */
  readonly embed: EmbedTexts | null;
}

export function createInlineHost(deps: InlineHostDeps): GraphHost {
  const { registry, checkpoints, store, blame, clock, answerMs, embed } = deps;
  const execution: ExecutionDeps = { ...deps, langsmith: deps.langsmith && openLangsmith(deps.langsmith, deps) };

  /** Binds for anything but a run. A factory is told which. */
  async function bind(
    { graphId, config, accessContext, reservation }: Use,
    signal: AbortSignal,
  ): Promise<CompiledGraph> {
    const checkpointer = checkpoints.saver(registry.kit(graphId), { signal, reservation });
    const runtime = { accessContext, executionRuntime: null };
    try {
      return await registry.bind(graphId, { config, runtime, checkpointer, store });
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      throw invalid(`graph ${graphId} could not be made: ${describeError(error).message}`);
    }
  }

  /** What `work` makes of the graph; refuses for one that takes too long over it. */
  async function using<T>(use: Use, work: (graph: CompiledGraph) => T | Promise<T>): Promise<T> {
    const over = new AbortController();
    const answer = async (): Promise<T> => work(await bind(use, over.signal));
    const error = invalid(`graph ${use.graphId} did not answer within ${answerMs / 1_000} s`);
    try {
      return await withLimit(answer(), { limitMs: answerMs, error, clock });
    } finally {
      over.abort(new Error("the request is over: its checkpoints can no longer be written"));
    }
  }

  return {
    graphs: () => registry.graphs(),

    execute: (request, signal) =>
      blamed(blame, { label: request.runId, signal }, (stopped) => execute(execution, request, stopped)),

    isAnswering: () => true, // whoever asks runs on the same thread

    async getState(ref, { subgraphs }) {
      const config = stateConfig(ref);
      return using({ graphId: ref.graphId, config, accessContext: "threads.read" }, async (graph) => {
        const snapshot = await readable(graph.getState(config, { subgraphs }), ref);
        return toThreadState(snapshot, await finishedTasks(graph, snapshot));
      });
    },

    async getHistory(ref, { limit, before, metadata, maxBytes }) {
      const config = stateConfig(ref);
      const options = {
        limit,
        ...(before === null ? {} : { before: { configurable: { checkpoint_id: before } } }),
        ...(Object.keys(metadata).length === 0 ? {} : { filter: metadata }),
      };
      return using({ graphId: ref.graphId, config, accessContext: "threads.read" }, async (graph) => {
        const breathe = createBreather(BREATHE_MS);
        const states: ThreadState[] = [];
        let bytes = 0;
        for await (const snapshot of graph.getStateHistory(config, options)) {
          const state = toThreadState(snapshot, await finishedTasks(graph, snapshot));
          const last = states.at(-1);
          bytes += jsonBytes(state);
          if (last !== undefined && bytes > maxBytes) return { states, next: checkpointIdOf(last) };
          states.push(state);
          await breathe();
        }
        return { states, next: null };
      });
    },

    async updateState(ref, supersteps) {
      const config = stateConfig(ref);
      const { graphId, reservation } = ref;
      return using({ graphId, config, accessContext: "threads.update", reservation }, async (graph) => {
        const kit = registry.kit(ref.graphId);
        let written: RunnableConfig;
        try {
          written = await graph.bulkUpdateState(
            config,
            supersteps.map((updates) => ({ updates: updates.map((update) => toGraphUpdate(kit, update)) })),
          );
        } catch (error) {
          if (error instanceof GatewayError && error.code === "unavailable") throw error; // the storage's, not the graph's
          throw invalid(`the state update was refused by the graph: ${describeError(error).message}`);
        }
        const snapshot = await graph.getState({ configurable: { thread_id: ref.threadId } });
        const projection = projectionAfterUpdate(snapshot, await finishedTasks(graph, snapshot));
        return { checkpoint: { ...pointerOf(written) } as JsonObject, projection };
      });
    },

    async schemas(graphId, config) {
      return using({ graphId, config, accessContext: "assistants.read" }, graphSchemas);
    },

    async drawing(graphId, config, xray) {
      const draw = (graph: CompiledGraph) => drawGraph(graph, config as RunnableConfig, xray);
      return using({ graphId, config, accessContext: "assistants.read" }, draw);
    },

    async subgraphs(graphId, config, options) {
      return using({ graphId, config, accessContext: "assistants.read" }, (graph) => describeSubgraphs(graph, options));
    },

    async embed(texts, purpose) {
      if (embed === null) throw unsupported("embed", "store.index is not configured");
      return embed(texts, purpose);
    },

    async close() {},
  };
}

/** A thread that walks a long history answers pings meanwhile. */
const BREATHE_MS = 50;

function jsonBytes(state: ThreadState): number {
  try {
    return Buffer.byteLength(JSON.stringify(state));
  } catch {
    return Number.POSITIVE_INFINITY; // longer than a string can be
  }
}

function checkpointIdOf({ checkpoint }: ThreadState): string {
  return String((checkpoint as JsonObject).checkpoint_id); // a history's states are stored, so each has a pointer
}

/** What a graph is bound for when it is not run. */
interface Use {
  readonly graphId: string;
  readonly config: FactoryConfig;
  readonly accessContext: Exclude<ServerRuntime["accessContext"], "threads.create_run">;
  readonly reservation?: string | undefined;
}

/** LangGraph answers a pointer to nowhere with an error of its own: for clients that is a missing checkpoint. */
async function readable(state: Promise<StateSnapshotLike>, ref: StateRef): Promise<StateSnapshotLike> {
  try {
    const snapshot = await state;
    const wanted = ref.checkpoint?.checkpointId;
    const found = snapshot.createdAt !== undefined;
    if (wanted !== undefined && !found) throw notFound("checkpoint", wanted);
    return snapshot;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw invalid(`the state cannot be read: ${describeError(error).message}`);
  }
}
