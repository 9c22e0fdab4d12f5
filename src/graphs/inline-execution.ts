/**
 * One execution of a graph in this process.
 *
 * 1. Its saver is closed before its result is returned: a node that ignores the abort can write nothing more.
 * 2. Whatever user code throws becomes a result; only faults of heddle itself are thrown.
 */
import type { BaseStore } from "@langchain/langgraph-checkpoint";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { describeError } from "../core/errors.js";
import { toJson } from "../core/json.js";
import type { MessageKit } from "../core/kit.js";
import type { Log } from "../core/log.js";
import type { Interrupt, InterruptsByTask, RunCommand, ThreadProjection } from "../core/model.js";
import type { Checkpoints, RunSaver } from "../storage/storage.js";
import type { BoundGraph, LangChainEvent, StateSnapshotLike, StreamOptions } from "./bound-graph.js";
import { createChunkConverter, type GraphChunk, graphStreamModes } from "./chunks.js";
import type { CompiledGraph } from "./compiled-graph.js";
import { executionConfig, toGraphInput } from "./graph-input.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent } from "./host.js";
import type { FactoryConfig } from "./load.js";
import { createPartialTracker, type PartialAnswer } from "./partial.js";
import type { GraphRegistry } from "./registry.js";
import { finishedTasks, projectionOf, toInterrupt } from "./snapshot.js";

export interface ExecutionDeps {
  readonly registry: GraphRegistry;
  readonly checkpoints: Checkpoints;
  readonly store: BaseStore;
  readonly log: Log;
}

/** Yields the graph's events in order; returns how it ended, when nothing of it can write any more. */
export async function* execute(
  deps: ExecutionDeps,
  request: ExecuteRequest,
  signal: AbortSignal,
): AsyncGenerator<GraphEvent, ExecuteResult> {
  const kit = deps.registry.kit(request.graphId);
  const runSaver = deps.checkpoints.forRun(request, kit);
  const seen = createObserver();
  const partial = request.keepPartialOn === undefined ? undefined : createPartialTracker();
  let graph: CompiledGraph | undefined;
  let thrown: { readonly value: unknown } | undefined;
  try {
    const config = executionConfig(request, signal);
    graph = await bindRun(deps, request, runSaver, config);
    const converter = createChunkConverter(request.payload.streamModes);
    for await (const item of streamGraph(graph, toGraphInput(kit, request), config, request)) {
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
  } catch (value) {
    thrown = { value };
  } finally {
    runSaver.close(); // 1
  }
  if (signal.aborted && signal.reason === request.keepPartialOn && partial !== undefined && graph !== undefined) {
    const answer = partial.answer(kit);
    if (answer !== undefined) await keepAnswer(deps, request, kit, answer);
  }
  const projection = graph === undefined ? null : await project(deps, graph, request, seen, thrown === undefined);
  if (thrown === undefined) return { kind: "finished", projection };
  if (signal.aborted) return { kind: "aborted", projection };
  return { kind: "failed", error: describeError(thrown.value), projection };
}

function bindRun(
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

/** The graph's chunks in order; with the `events` mode also every LangChain event, as ready wire events. */
async function* streamGraph(
  graph: BoundGraph,
  input: unknown,
  config: StreamOptions,
  request: ExecuteRequest,
): AsyncGenerator<GraphChunk | GraphEvent> {
  const { streamModes, subgraphs } = request.payload;
  const options = { ...config, streamMode: graphStreamModes(streamModes), subgraphs };
  if (!streamModes.includes("events")) {
    for await (const chunk of await graph.stream(input, options)) yield toGraphChunk(chunk, subgraphs);
    return;
  }
  for await (const event of graph.streamEvents(input, { ...options, version: "v2" })) {
    if (event.tags?.includes("langsmith:hidden")) continue;
    yield { event: "events", namespace: [], data: toJson(event) };
    if (isRootChunk(event, request.runId)) yield toGraphChunk(event.data.chunk, subgraphs);
  }
}

function isRootChunk(event: LangChainEvent, runId: string): boolean {
  return event.event === "on_chain_stream" && event.run_id === runId && Array.isArray(event.data.chunk);
}

function toGraphChunk(chunk: unknown, subgraphs: boolean): GraphChunk {
  // With several modes LangGraph yields [namespace, mode, payload], and without subgraphs [mode, payload].
  if (!subgraphs) {
    const [mode, payload] = chunk as [string, unknown];
    return { namespace: [], mode, payload };
  }
  const [namespace, mode, payload] = chunk as [string[] | null, string, unknown];
  return { namespace: namespace ?? [], mode, payload };
}

interface Observer {
  chunk(chunk: GraphChunk): void;
  event(chunk: GraphChunk, event: GraphEvent): void;
  readonly interrupts: ReadonlyMap<string, Interrupt>;
  /** Whether the graph said that it paused, at an interrupt or at a breakpoint. */
  paused(): boolean;
  /** The last full root state as wire JSON; null before the first. */
  valuesJson(): string | null;
}

/** Remembers from the stream what the run's result needs, so that most runs end without reading the state back. */
function createObserver(): Observer {
  const interrupts = new Map<string, Interrupt>();
  let paused = false;
  let last: { readonly payload: unknown; json: string | null } | undefined;

  return {
    interrupts,
    chunk({ namespace, mode, payload }) {
      if (mode !== "values" || namespace.length > 0) return;
      const asked = interruptsIn(payload);
      if (asked === undefined) {
        last = { payload, json: null };
        return;
      }
      paused = true;
      for (const interrupt of asked) interrupts.set(interrupt.id, interrupt);
    },
    event(chunk, event) {
      if (last !== undefined && event.event === "values" && last.payload === chunk.payload) last.json = event.data;
    },
    paused: () => paused,
    valuesJson() {
      if (last === undefined) return null;
      last.json ??= toJson(last.payload);
      return last.json;
    },
  };
}

function interruptsIn(payload: unknown): Interrupt[] | undefined {
  if (typeof payload !== "object" || payload === null || !("__interrupt__" in payload)) return undefined;
  const list = payload.__interrupt__;
  return Array.isArray(list) ? list.map(toInterrupt) : [];
}

/** What the thread shows after this execution; null where the state cannot be read. */
async function project(
  deps: ExecutionDeps,
  graph: BoundGraph,
  request: ExecuteRequest,
  seen: Observer,
  ranToItsEnd: boolean,
): Promise<ThreadProjection | null> {
  const streamed = seen.valuesJson();
  const done: ThreadProjection = { valuesJson: streamed, interrupts: {}, next: [] };
  if (graph.checkpointer === false) return done;
  if (ranToItsEnd && !seen.paused() && streamed !== null) return done;
  try {
    const snapshot = await graph.getState({ configurable: { thread_id: request.threadId } });
    if (snapshot.config.configurable?.checkpoint_id === undefined) return null; // nothing was ever persisted
    return projectionOf(snapshot, {
      emitted: byTask(snapshot, seen.interrupts),
      before: request.pendingBefore,
      answered: answeredIds(request.payload.command),
      finished: await finishedTasks(graph, snapshot),
    });
  } catch (error) {
    deps.log.error(
      { err: error, runId: request.runId, threadId: request.threadId },
      "the state after a run cannot be read",
    );
    return streamed === null ? null : done;
  }
}

function byTask(snapshot: StateSnapshotLike, emitted: ReadonlyMap<string, Interrupt>): InterruptsByTask {
  const tasks = snapshot.tasks.map((task) => {
    const asked = task.interrupts.flatMap((interrupt) => emitted.get(interrupt.id ?? "") ?? []);
    return [task.id, asked] as const;
  });
  return Object.fromEntries(tasks.filter(([, asked]) => asked.length > 0));
}

function answeredIds(command: RunCommand | null): ReadonlySet<string> {
  const resume = command?.resume;
  return new Set(typeof resume === "object" && resume !== null ? Object.keys(resume) : []);
}

async function keepAnswer(
  deps: ExecutionDeps,
  request: ExecuteRequest,
  kit: MessageKit,
  answer: PartialAnswer,
): Promise<void> {
  const runSaver: RunSaver = deps.checkpoints.forRun(request, kit);
  const config = { configurable: { thread_id: request.threadId } };
  try {
    const graph = await bindRun(deps, request, runSaver, config);
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
