/** The graph host that runs user code in this process. Every use gets a fresh binding; the registered graph is never touched. */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { describeError, GatewayError, invalid, notFound } from "../core/errors.js";
import type { JsonObject } from "../core/model.js";
import type { StateSnapshotLike } from "./bound-graph.js";
import { pointerOf } from "./checkpoint-chunks.js";
import type { CompiledGraph } from "./compiled-graph.js";
import { describeSubgraphs, drawGraph, graphSchemas } from "./describe.js";
import { stateConfig, toGraphUpdate } from "./graph-input.js";
import type { GraphHost, StateRef } from "./host.js";
import { type ExecutionDeps, execute } from "./inline-execution.js";
import type { FactoryConfig } from "./load.js";
import { finishedTasks, projectionAfterUpdate, toThreadState } from "./snapshot.js";

export function createInlineHost(deps: ExecutionDeps): GraphHost {
  const { registry, checkpoints, store } = deps;

  /** Binds for anything but a run. A factory is told which. */
  async function bind(graphId: string, config: FactoryConfig, accessContext: OtherUse): Promise<CompiledGraph> {
    const checkpointer = checkpoints.saver(registry.kit(graphId));
    const runtime = { accessContext, executionRuntime: null };
    try {
      return await registry.bind(graphId, { config, runtime, checkpointer, store });
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      throw invalid(`graph ${graphId} could not be made: ${describeError(error).message}`);
    }
  }

  return {
    graphs: () => registry.graphs(),

    execute: (request, signal) => execute(deps, request, signal),

    async getState(ref, { subgraphs }) {
      const config = stateConfig(ref);
      const graph = await bind(ref.graphId, config, "threads.read");
      const snapshot = await readable(graph.getState(config, { subgraphs }), ref);
      return toThreadState(snapshot, await finishedTasks(graph, snapshot));
    },

    async getHistory(ref, { limit, before, metadata }) {
      const config = stateConfig(ref);
      const graph = await bind(ref.graphId, config, "threads.read");
      const options = {
        limit,
        ...(before === null ? {} : { before: { configurable: { checkpoint_id: before } } }),
        ...(Object.keys(metadata).length === 0 ? {} : { filter: metadata }),
      };
      const states = [];
      for await (const snapshot of graph.getStateHistory(config, options)) {
        states.push(toThreadState(snapshot, await finishedTasks(graph, snapshot)));
      }
      return states;
    },

    async updateState(ref, supersteps) {
      const config = stateConfig(ref);
      const graph = await bind(ref.graphId, config, "threads.update");
      const kit = registry.kit(ref.graphId);
      let written: RunnableConfig;
      try {
        written = await graph.bulkUpdateState(
          config,
          supersteps.map((updates) => ({ updates: updates.map((update) => toGraphUpdate(kit, update)) })),
        );
      } catch (error) {
        throw invalid(`the state update was refused by the graph: ${describeError(error).message}`);
      }
      const snapshot = await graph.getState({ configurable: { thread_id: ref.threadId } });
      const projection = projectionAfterUpdate(snapshot, await finishedTasks(graph, snapshot));
      return { checkpoint: { ...pointerOf(written) } as JsonObject, projection };
    },

    async schemas(graphId, config) {
      return graphSchemas(await bind(graphId, config, "assistants.read"));
    },

    async drawing(graphId, config, xray) {
      return drawGraph(await bind(graphId, config, "assistants.read"), config as RunnableConfig, xray);
    },

    async subgraphs(graphId, config, options) {
      return describeSubgraphs(await bind(graphId, config, "assistants.read"), options);
    },

    async close() {},
  };
}

/** What a graph is bound for when it is not run. */
type OtherUse = Exclude<ServerRuntime["accessContext"], "threads.create_run">;

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
