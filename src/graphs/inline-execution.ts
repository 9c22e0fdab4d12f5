/**
 * One execution of a graph in this process.
 *
 * 1. Its saver is closed before its result is returned: a node that ignores the abort can write nothing more.
 * 2. Whatever user code throws becomes a result; only faults of heddle itself are thrown.
 * 3. User code that does not notice the abort cannot hold it up: it is waited for a moment, then left behind.
 */
import type { BaseStore } from "@langchain/langgraph-checkpoint";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { passWithPatience, withPatience } from "../core/async.js";
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import type { MessageKit } from "../core/kit.js";
import type { Log } from "../core/log.js";
import type { ThreadProjection } from "../core/model.js";
import type { Checkpoints, RunSaver } from "../storage/storage.js";
import { createChunkConverter } from "./chunks.js";
import type { CompiledGraph } from "./compiled-graph.js";
import { executionConfig, toGraphInput } from "./graph-input.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent } from "./host.js";
import { createObserver, type Execution, projectExecution, projectStream } from "./inline-outcome.js";
import { streamGraph } from "./inline-stream.js";
import type { FactoryConfig } from "./load.js";
import { createPartialTracker, type PartialAnswer } from "./partial.js";
import type { GraphRegistry } from "./registry.js";

export interface ExecutionDeps {
  readonly registry: GraphRegistry;
  readonly checkpoints: Checkpoints;
  readonly store: BaseStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long user code may take to notice that it was stopped (3). LangGraph itself needs a few milliseconds. */
const NOTICE_MS = 1_000;

/** Yields the graph's events in order; returns how it ended, when nothing of it can write any more. */
export async function* execute(
  deps: ExecutionDeps,
  request: ExecuteRequest,
  signal: AbortSignal,
): AsyncGenerator<GraphEvent, ExecuteResult> {
  const kit = deps.registry.kit(request.graphId);
  const runSaver = deps.checkpoints.forRun(request, kit);
  const patience = { signal, noticeMs: NOTICE_MS, clock: deps.clock };
  const seen = createObserver();
  const partial = request.keepPartialOn === undefined ? undefined : createPartialTracker();
  let graph: CompiledGraph | undefined;
  let driven: Execution["driven"] = "never";
  let thrown: { readonly value: unknown } | undefined;
  try {
    const config = executionConfig(request, signal);
    graph = await withPatience(bindForRun(deps, request, runSaver, config), patience);
    signal.throwIfAborted();
    driven = "partly";
    const converter = createChunkConverter(request.payload.streamModes, request.payload.subgraphs);
    for await (const item of passWithPatience(
      streamGraph(graph, toGraphInput(kit, request), config, request),
      patience,
    )) {
      if ("event" in item) {
        yield item;
        continue;
      }
      partial?.observe(item);
      seen.chunk(item);
      for (const event of converter.convert(item)) {
        seen.event(item, event);
        yield event;
      }
    }
    driven = "to its end";
  } catch (value) {
    thrown = { value };
  } finally {
    runSaver.close(); // 1
  }
  if (signal.aborted && signal.reason === request.keepPartialOn) {
    const answer = partial?.answer(kit);
    if (answer !== undefined) await keepAnswer(deps, request, kit, answer);
  }
  const projection = graph === undefined ? null : await project(deps, graph, { request, seen, driven });
  if (thrown === undefined) return { kind: "finished", projection };
  if (signal.aborted) return { kind: "aborted", projection };
  return { kind: "failed", error: describeError(thrown.value), projection };
}

function bindForRun(
  { registry, store }: ExecutionDeps,
  { graphId, payload }: ExecuteRequest,
  { saver }: RunSaver,
  config: FactoryConfig,
): Promise<CompiledGraph> {
  const runtime: ServerRuntime = {
    accessContext: "threads.create_run",
    executionRuntime: { context: payload.context ?? undefined },
  };
  return registry.bind(graphId, { config, runtime, checkpointer: saver, store });
}

async function project(
  { log }: ExecutionDeps,
  graph: CompiledGraph,
  execution: Execution,
): Promise<ThreadProjection | null> {
  try {
    return await projectExecution(graph, execution);
  } catch (error) {
    const { runId, threadId } = execution.request;
    log.error({ err: error, runId, threadId }, "the state after a run cannot be read");
    const streamed = projectStream(execution.seen);
    return streamed.valuesJson === null ? null : streamed;
  }
}

async function keepAnswer(
  deps: ExecutionDeps,
  request: ExecuteRequest,
  kit: MessageKit,
  answer: PartialAnswer,
): Promise<void> {
  const runSaver = deps.checkpoints.forRun(request, kit);
  const config = { configurable: { thread_id: request.threadId } };
  try {
    const graph = await bindForRun(deps, request, runSaver, config);
    if (!("messages" in graph.channels)) return;
    await graph.bulkUpdateState(config, [
      { updates: [{ values: { messages: [answer.message] }, asNode: answer.node }] },
    ]);
  } catch (error) {
    deps.log.warn({ err: error, runId: request.runId }, "the partial answer of a cancelled run could not be kept");
  } finally {
    runSaver.close();
  }
}
