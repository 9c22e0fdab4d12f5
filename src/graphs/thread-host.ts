/**
 * The graph host that runs user code in worker threads, so that no graph can take the gateway along.
 *
 * H1. Work goes to the thread with the least to do. A graph that keeps its checkpoints or its store itself keeps them in
 *     one thread's memory, so it always runs on the same one.
 * H2. A thread that does not answer for `stuckAfterMs` is ended, and so is one whose code was told to stop and goes on
 *     without a pause. The inspector tells whose code it is: that run fails, its siblings are evicted and run again.
 * H3. Where it cannot be told who took a thread down, all are evicted, and each is alone on a thread of its own next time:
 *     then it can.
 * H4. A thread that went is replaced.
 */
import type { WorkerOptions } from "node:worker_threads";
import type { Clock } from "../core/clock.js";
import { GatewayError, invalid } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { ThreadProjection } from "../core/model.js";
import { type Departure, GraphThread, ThreadGoneError } from "./graph-thread.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent, GraphHost } from "./host.js";
import type { CallableMethod, LocatedGraph } from "./thread-messages.js";
import { labelOfRunningCode } from "./thread-suspect.js";

export interface ThreadHostDeps {
  /** The module that a thread starts with. */
  readonly entry: URL;
  readonly worker: WorkerOptions;
  /** Does what a thread asks for. */
  readonly serve: (ask: unknown) => unknown;
  readonly threads: number;
  readonly stuckAfterMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ThreadHost extends GraphHost {
  /** The file that a graph comes from. */
  file(graphId: string): string | undefined;
  /** Loads a graph again on every thread. Throws a `GraphLoadError` and keeps the graph as it was. */
  reload(graphId: string): Promise<void>;
}

const PING_MS = 1_000;
const START_AGAIN_MS = 1_000;
/** Unanswered pings after which nothing new goes to a thread, and leases of what it runs are not renewed. */
const SUSPICIOUS_PINGS = 2;
const CLOSING: Departure = { culprit: null, error: { error: "Closed", message: "the gateway is stopping" } };

/** Resolves once one thread has loaded the graphs; throws what keeps them from loading. */
export async function createThreadHost(deps: ThreadHostDeps): Promise<ThreadHost> {
  const { clock, log, threads, stuckAfterMs } = deps;
  const slots: (GraphThread | undefined)[] = new Array(threads).fill(undefined);
  const lonely = new Set<GraphThread>();
  /** Runs that were on a thread when nobody could tell who took it down (H3). */
  const suspects = new Set<string>();
  /** Runs whose thread went while what they left is being read: nothing of their code is under way. */
  const leftBehind = new Set<string>();
  const readyThreads = new Set<GraphThread>();
  const waiting = new Set<() => void>();
  let graphs: readonly LocatedGraph[] = [];
  let isClosed = false;
  let forgetPing = (): void => {};

  function start(): GraphThread {
    const thread = new GraphThread(deps);
    thread.ready.then(
      (loaded) => {
        graphs = loaded;
        readyThreads.add(thread);
        for (const wake of [...waiting]) wake();
      },
      () => {}, // whoever waits for it, or its departure, tells
    );
    void thread.gone.then(({ culprit, error }) => {
      const wasReady = readyThreads.delete(thread);
      if (wasReady && !isClosed) log.error({ culprit, ...error }, "a graph thread went down");
    });
    return thread;
  }

  /** H4 */
  function fill(index: number): GraphThread {
    const thread = start();
    slots[index] = thread;
    void thread.gone.then(async () => {
      if (isClosed || slots[index] !== thread) return;
      const wasReady = await thread.ready.then(
        () => true,
        () => false,
      );
      if (wasReady) fill(index);
      else clock.after(START_AGAIN_MS, () => isClosed || fill(index));
    });
    return thread;
  }

  /** H1; null for what needs no graph. */
  async function pick(graphId: string | null): Promise<GraphThread> {
    const info = graphs.find((graph) => graph.graphId === graphId);
    const isPinned = info?.checkpointer === "own" || info?.store === "own";
    for (;;) {
      if (isClosed) throw new GatewayError("unavailable", CLOSING.error.message);
      const candidates = (isPinned ? slots.slice(0, 1) : slots).filter(isReady);
      const calm = candidates.filter(({ missedPings }) => missedPings < SUSPICIOUS_PINGS);
      const [best] = (calm.length > 0 ? calm : candidates).sort((a, b) => a.load - b.load);
      if (best !== undefined) return best;
      await new Promise<void>((resolve) => {
        waiting.add(resolve);
      }).finally(() => waiting.clear());
    }
  }

  function isReady(thread: GraphThread | undefined): thread is GraphThread {
    return thread !== undefined && readyThreads.has(thread);
  }

  async function* executeAlone(
    request: ExecuteRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GraphEvent, ExecuteResult> {
    const thread = start();
    lonely.add(thread);
    try {
      await thread.ready;
      return yield* thread.execute(request, signal);
    } finally {
      lonely.delete(thread);
      await thread.terminate(CLOSING);
    }
  }

  async function* executeOnce(request: ExecuteRequest, signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult> {
    if (suspects.has(request.runId)) return yield* executeAlone(request, signal);
    return yield* (await pick(request.graphId)).execute(request, signal);
  }

  /** The state that a run left whose thread went; null where it cannot be read. */
  async function projectionLeftBy(request: ExecuteRequest): Promise<ThreadProjection | null> {
    leftBehind.add(request.runId);
    try {
      const thread = await pick(request.graphId);
      const stopped = thread.execute({ ...request, input: { kind: "continue" } }, AbortSignal.abort());
      const { value } = await stopped.next();
      return value !== undefined && "projection" in value ? value.projection : null;
    } catch (error) {
      log.warn({ err: error, runId: request.runId }, "the state after a run cannot be read");
      return null;
    } finally {
      leftBehind.delete(request.runId);
    }
  }

  async function* execute(request: ExecuteRequest, signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult> {
    const { runId } = request;
    try {
      const result = yield* executeOnce(request, signal);
      suspects.delete(runId);
      return result;
    } catch (error) {
      if (!(error instanceof ThreadGoneError)) throw error;
      const { culprit, error: failure } = error.departure;
      if (signal.aborted) return { kind: "aborted", projection: await projectionLeftBy(request) };
      if (error.isCulprit) {
        suspects.delete(runId);
        return { kind: "failed", error: failure, projection: await projectionLeftBy(request) };
      }
      if (culprit === null && !isClosed) suspects.add(runId); // H3
      return { kind: "evicted" };
    }
  }

  async function call<Method extends CallableMethod>(
    method: Method,
    graphId: string | null,
    args: Parameters<GraphHost[Method]>,
  ): Promise<Awaited<ReturnType<GraphHost[Method]>>> {
    for (let isFirst = true; ; isFirst = false) {
      const thread = await pick(graphId);
      try {
        return await thread.call(method, args);
      } catch (error) {
        if (!(error instanceof ThreadGoneError)) throw error;
        const whose = method === "embed" ? "store.index.embed" : "the graph";
        if (error.isCulprit) throw invalid(`${whose} could not answer: ${error.message}`);
        const mayBeDone = method === "updateState";
        if (!isFirst || mayBeDone || isClosed) throw new GatewayError("unavailable", `try again: ${error.message}`);
      }
    }
  }

  /** H2 */
  function watchThreads(): void {
    forgetPing = clock.after(PING_MS, watchThreads);
    for (const thread of [...readyThreads]) {
      thread.ping();
      const isStuck = thread.missedPings * PING_MS >= stuckAfterMs;
      const ignoresStop = thread.missedPings >= SUSPICIOUS_PINGS && thread.hasStopping;
      if (isStuck || ignoresStop) void endStuck(thread, isStuck);
    }
  }

  const beingEnded = new WeakSet<GraphThread>();
  async function endStuck(thread: GraphThread, isStuck: boolean): Promise<void> {
    if (beingEnded.has(thread)) return;
    beingEnded.add(thread);
    const culprit = await labelOfRunningCode(thread.threadId);
    beingEnded.delete(thread);
    if (thread.isGone || thread.missedPings === 0) return; // it answered after all
    if (!isStuck && (culprit === null || !thread.isStopping(culprit))) return;
    const seconds = Math.round((thread.missedPings * PING_MS) / 1_000);
    const message = `the graph kept its thread busy for ${seconds} s without a pause`;
    await thread.terminate({ culprit, error: { error: "EventLoopBlocked", message } });
  }

  try {
    for (let index = 0; index < threads; index++) fill(index);
    await Promise.race(slots.map((thread) => thread?.ready)); // what one cannot load, none can
  } catch (error) {
    isClosed = true;
    await Promise.all(slots.map((thread) => thread?.terminate(CLOSING)));
    throw error;
  }
  watchThreads();

  return {
    graphs: () => graphs,
    file: (graphId) => graphs.find((graph) => graph.graphId === graphId)?.file,
    execute,
    isAnswering(runId) {
      if (leftBehind.has(runId)) return true;
      const thread = [...readyThreads, ...lonely].find((each) => each.isExecuting(runId));
      return thread !== undefined && thread.missedPings < SUSPICIOUS_PINGS;
    },
    getState: (ref, options) => call("getState", ref.graphId, [ref, options]),
    getHistory: (ref, query) => call("getHistory", ref.graphId, [ref, query]),
    updateState: (ref, supersteps) => call("updateState", ref.graphId, [ref, supersteps]),
    schemas: (graphId, config) => call("schemas", graphId, [graphId, config]),
    drawing: (graphId, config, xray) => call("drawing", graphId, [graphId, config, xray]),
    subgraphs: (graphId, config, options) => call("subgraphs", graphId, [graphId, config, options]),
    embed: (texts, purpose) => call("embed", null, [texts, purpose]),
    async reload(graphId) {
      for (const thread of [...readyThreads]) graphs = await thread.reload(graphId);
    },
    async close() {
      isClosed = true;
      forgetPing();
      for (const wake of [...waiting]) wake();
      await Promise.all([...slots, ...lonely].map((thread) => thread?.terminate(CLOSING)));
    },
  };
}
