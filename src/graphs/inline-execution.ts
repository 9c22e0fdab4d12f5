/**
 * One execution of a graph in this process.
 *
 * 1. Its saver is closed before its result is returned: a node that ignores the abort can write nothing more.
 * 2. Whatever user code throws becomes a result; only faults of heddle itself are thrown.
 * 3. User code that does not notice the abort cannot hold it up: it is waited for a moment, then left behind. What is asked
 *    of it afterwards has a limit, too.
 * 4. A graph that says a lot at once does not keep the event loop: others, and its own time limit, get their turn.
 * 5. What a graph had said when it was told to stop is passed on: LangGraph forgets it at the abort, though the checkpoint
 *    of the superstep that said it may be written. So the graph hears of the abort when all of that is read, or when it says
 *    more than can be read.
 */
import type { BaseStore } from "@langchain/langgraph-checkpoint";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { createBreather, passWithPatience, type ReadAhead, readAhead, withLimit, withPatience } from "../core/async.js";
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import type { MessageKit } from "../core/kit.js";
import type { Log } from "../core/log.js";
import type { ThreadProjection } from "../core/model.js";
import { SPAN_EVENT } from "../core/tracing.js";
import type { Checkpoints, RunSaver } from "../storage/ports/checkpoints.js";
import type { StreamOptions } from "./bound-graph.js";
import { createChunkConverter } from "./chunks.js";
import type { CompiledGraph } from "./compiled-graph.js";
import { executionConfig, toGraphInput } from "./graph-input.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent } from "./host.js";
import { createObserver, type Execution, projectExecution, projectStream } from "./inline-outcome.js";
import { readAheadInside, streamGraph } from "./inline-stream.js";
import type { Langsmith } from "./langsmith.js";
import type { FactoryConfig } from "./load.js";
import { createMessageEnds } from "./message-ends.js";
import { createPartialTracker, type PartialAnswer } from "./partial.js";
import type { GraphRegistry } from "./registry.js";
import { createSpanRecorder, type SpanRecorder } from "./span-recorder.js";
import { createTransformerStream, type TransformerStream } from "./stream-transformers.js";

export interface ExecutionDeps {
  readonly registry: GraphRegistry;
  readonly checkpoints: Pick<Checkpoints, "forRun" | "saver">;
  readonly store: BaseStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Absent without credentials: then no run asks for it. */
  readonly langsmith?: Langsmith | undefined;
}

/** How long user code may take to notice that it was stopped (3). LangGraph itself needs a few milliseconds. */
const NOTICE_MS = 1_000;

/** How long reading what a graph had said when it was stopped may take (5). */
const CATCH_UP_MS = 5_000;

/** How long a graph may take over what is asked of it when it was driven: to keep a stopped answer, to show its state (3). */
const AFTERWARDS_MS = 10_000;

/** How long events of one graph may be passed on without a turn of the event loop (4). */
const BREATHE_MS = 10;

/** Yields the graph's events in order; returns how it ended, when nothing of it can write any more. */
export async function* execute(
  deps: ExecutionDeps,
  request: ExecuteRequest,
  signal: AbortSignal,
): AsyncGenerator<GraphEvent, ExecuteResult> {
  const kit = deps.registry.kit(request.graphId);
  const runSaver = deps.checkpoints.forRun({ ...request, durability: request.payload.durability }, kit);
  const seen = createObserver();
  const partial = request.keepPartialOn === undefined ? undefined : createPartialTracker();
  let graph: CompiledGraph | undefined;
  let driven: Execution["driven"] = "never";
  let thrown: { readonly value: unknown } | undefined;
  let ahead: Pick<ReadAhead<unknown>, "caughtUp"> | undefined;
  let transformers: TransformerStream | undefined;
  const spans = request.recording && createSpanRecorder(request.recording, () => deps.clock.now());
  const langsmith = deps.langsmith?.ask(request);
  const stopGraph = new AbortController();
  const patience = { signal: stopGraph.signal, noticeMs: NOTICE_MS, clock: deps.clock };
  const passOn = (): void => stopGraph.abort(signal.reason);
  const onAbort = (): void => {
    const limit = { limitMs: CATCH_UP_MS, error: new Error("it says more than can be read"), clock: deps.clock };
    if (ahead === undefined) passOn();
    else void withLimit(ahead.caughtUp(), limit).then(passOn, passOn); // 5
  };
  if (signal.aborted) passOn();
  else signal.addEventListener("abort", onAbort);
  try {
    const ends = request.payload.eventStreaming === true ? createMessageEnds() : undefined;
    const callbacks = [
      ...(ends === undefined ? [] : [ends.handler]),
      ...(spans === undefined ? [] : [spans.handler]),
      ...(langsmith?.callbacks ?? []),
    ];
    const config = {
      ...executionConfig(request, stopGraph.signal),
      ...(callbacks.length === 0 ? {} : { callbacks }),
    } as StreamOptions; // as `fromMethods` takes it
    graph = await withPatience(bindForRun(deps, request, runSaver, config), patience);
    signal.throwIfAborted();
    driven = "partly";
    const converter = createChunkConverter(request.payload, ends);
    transformers = transformersOf(deps, request, graph);
    const breathe = createBreather(BREATHE_MS);
    ahead = readAheadInside(graph);
    const stream = streamGraph(graph, toGraphInput(kit, request), config, request);
    for await (const item of readAhead(passWithPatience(stream, patience))) {
      const breath = breathe();
      if (breath !== undefined) await breath;
      if (spans !== undefined) yield* noted(spans);
      if ("event" in item) {
        yield item;
        continue;
      }
      partial?.observe(item);
      seen.chunk(item);
      const events = transformers === undefined ? converter.convert(item) : [...converter.convert(item)];
      for (const event of events) {
        seen.event(item, event);
        yield event;
      }
      if (transformers !== undefined) yield* transformers.push(item, [...events]);
    }
    if (transformers !== undefined) yield* await withPatience(transformers.end(), patience);
    const feedback = await langsmith?.feedback;
    if (feedback !== undefined) yield { event: "feedback", namespace: [], data: feedback };
    await runSaver.settled();
    driven = "to its end";
  } catch (value) {
    thrown = { value };
    transformers?.fail(value);
  } finally {
    runSaver.close(); // 1
    signal.removeEventListener("abort", onAbort);
  }
  spans?.end();
  if (spans !== undefined) yield* noted(spans);
  if (signal.aborted && signal.reason === request.keepPartialOn) {
    const answer = partial?.answer(kit);
    if (answer !== undefined) await keepAnswer(deps, { request, kit, runSaver }, answer);
  }
  const projection = graph === undefined ? null : await project(deps, graph, { request, seen, driven });
  if (thrown === undefined) return { kind: "finished", projection };
  if (signal.aborted) return { kind: "aborted", projection };
  return { kind: "failed", error: describeError(thrown.value), projection };
}

function* noted(spans: SpanRecorder): Generator<GraphEvent> {
  const data = spans.take();
  if (data !== undefined) yield { event: SPAN_EVENT, namespace: [], data };
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

/** Only event streaming shows what they say. */
function transformersOf(
  { log }: ExecutionDeps,
  { payload }: ExecuteRequest,
  { streamTransformers = [] }: CompiledGraph,
): TransformerStream | undefined {
  const isWanted = payload.eventStreaming === true && streamTransformers.length > 0;
  return isWanted ? createTransformerStream(streamTransformers, log) : undefined;
}

async function project(
  deps: ExecutionDeps,
  graph: CompiledGraph,
  execution: Execution,
): Promise<ThreadProjection | null> {
  try {
    return await afterwards(deps, projectExecution(graph, execution));
  } catch (error) {
    const { runId, threadId } = execution.request;
    deps.log.warn({ err: error, runId, threadId }, "the state after a run cannot be read");
    const streamed = projectStream(execution.seen);
    return streamed.valuesJson === null ? null : streamed;
  }
}

async function keepAnswer(
  deps: ExecutionDeps,
  stopped: { readonly request: ExecuteRequest; readonly kit: MessageKit; readonly runSaver: RunSaver },
  answer: PartialAnswer,
): Promise<void> {
  const { request } = stopped;
  const runSaver = deps.checkpoints.forRun({ ...request, durability: "sync" }, stopped.kit);
  const config = { configurable: { thread_id: request.threadId } };
  const keep = async (): Promise<void> => {
    await stopped.runSaver.settled();
    const graph = await bindForRun(deps, request, runSaver, config);
    if (!("messages" in graph.channels)) return;
    await graph.bulkUpdateState(config, [
      { updates: [{ values: { messages: [answer.message] }, asNode: answer.node }] },
    ]);
  };
  try {
    await afterwards(deps, keep());
  } catch (error) {
    deps.log.warn({ err: error, runId: request.runId }, "the partial answer of a cancelled run could not be kept");
  } finally {
    runSaver.close();
  }
}

function afterwards<T>({ clock }: ExecutionDeps, work: Promise<T>): Promise<T> {
  const error = new Error(`the graph did not answer within ${AFTERWARDS_MS / 1_000} s`);
  return withLimit(work, { limitMs: AFTERWARDS_MS, error, clock });
}
