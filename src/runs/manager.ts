/**
 * The one way in for runs: REST, and later the protocol, crons and MCP, create, follow and stop runs through it.
 *
 * It admits and cancels in the database and reads logs from the bridge; executing is the worker's business, in this
 * process or another. Nothing here waits on a timer: followers wake from the log, and a log ends when the run has.
 */
import type { Cursor, Signals, StreamBridge, StreamEvent } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { conflict, notFound } from "../core/errors.js";
import { newId } from "../core/ids.js";
import { toJson } from "../core/json.js";
import {
  type Assistant,
  type CancelAction,
  isInFlight,
  type MultitaskStrategy,
  type Run,
  type RunStatus,
} from "../core/model.js";
import type { GraphHost } from "../graphs/host.js";
import type { AdmitRequest, Page, RunStore, ThreadStore } from "../storage/storage.js";
import { draftRun, type RunRequest } from "./draft.js";
import { requestHash } from "./idempotency.js";
import { decideMultitask } from "./multitask.js";
import { RESULT_EVENT, resultJson } from "./result.js";

export interface RunManagerDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly findAssistant: (idOrGraphId: string) => Promise<Assistant>;
  readonly host: GraphHost;
  readonly bridge: StreamBridge;
  readonly signals: Signals;
  readonly clock: Clock;
  readonly options: {
    readonly defaultMultitaskStrategy: MultitaskStrategy;
    readonly maxPendingPerThread: number;
  };
}

/** What a follower of a run sees, in order. A snapshot stands for events that the log does not hold any more. */
export type StreamItem =
  | { readonly kind: "event"; readonly event: StreamEvent }
  | { readonly kind: "snapshot"; readonly valuesJson: string };

export interface FollowOptions {
  readonly cursor: Cursor;
  readonly signal: AbortSignal;
}

export interface RunManager {
  /**
   * Admits a run and returns its row, committed. `threadId` null makes a thread for it: a temporary one unless the
   * request keeps it. An idempotency key that was used before returns the run that it created.
   */
  create(threadId: string | null, request: RunRequest): Promise<Run>;
  get(threadId: string | null, runId: string): Promise<Run>;
  /** The run that occupies the thread now: the one that executes, else the next in line. */
  active(threadId: string): Promise<Run | undefined>;
  list(threadId: string, query: { limit: number; offset: number; status?: RunStatus | undefined }): Promise<Page<Run>>;
  /** Deletes a finished run's row; `conflict` while it is in flight. */
  remove(threadId: string, runId: string): Promise<void>;
  /** The run's events in batches; ends when the run has ended, throws `StreamBrokenError` when the gateway stops first. */
  follow(run: Run, options: FollowOptions): AsyncGenerator<readonly StreamItem[]>;
  /** A stateless run's log after its thread is gone. */
  followFinished(runId: string, options: FollowOptions): AsyncGenerator<readonly StreamItem[]> | undefined;
  /** The JSON that `wait` and `join` answer with, when the run has ended. */
  result(run: Run, signal: AbortSignal): Promise<string>;
  /** Requests a cancel and tells the worker. Idempotent; `conflict` for a run that ended otherwise. */
  cancel(threadId: string | null, runId: string, action: CancelAction): Promise<void>;
  /** Resolves when the run is in flight no more. */
  ended(runId: string, signal: AbortSignal): Promise<void>;
  /** Cancels what is in flight on the thread and resolves when all of it has stopped. */
  stopThread(threadId: string): Promise<void>;
  /** Cancels every run that matches; returns how many. */
  cancelMany(
    selection:
      | { readonly status: "pending" | "running" | "all" }
      | { readonly threadId: string; readonly runIds: readonly string[] },
    action: CancelAction,
  ): Promise<number>;
}

export function createRunManager(deps: RunManagerDeps): RunManager {
  const { runs, threads, bridge, signals } = deps;

  async function get(threadId: string | null, runId: string): Promise<Run> {
    const run = await runs.get(threadId, runId);
    if (run === undefined) throw notFound("run", runId);
    return run;
  }

  /** A pending run that was cancelled has no worker to end its log. */
  async function endUnstarted(run: Run, status: "interrupted" | "rollback"): Promise<void> {
    const end = toJson({ run_id: run.runId, status });
    const fence = run.fence + 1;
    await bridge.publish(run.runId, { id: { fence, seq: 1 }, event: RESULT_EVENT, namespace: [], data: "{}" });
    await bridge.publish(run.runId, { id: { fence, seq: 2 }, event: "end", namespace: [], data: end });
    await bridge.end(run.runId);
    signals.send(`run:${run.runId}`);
    signals.send("runs");
  }

  async function cancel(threadId: string | null, runId: string, action: CancelAction): Promise<void> {
    const run = await get(threadId, runId);
    const answer = await runs.requestCancel(threadId, runId, action);
    switch (answer) {
      case "ended":
        return endUnstarted(run, action === "rollback" ? "rollback" : "interrupted");
      case "requested":
        signals.send(`cancel:${runId}`);
        return;
      case "already":
        return;
      case "finished":
        throw conflict(`run ${runId} has ended already with status ${run.status}`, { status: run.status });
      case "missing":
        throw notFound("run", runId);
    }
  }

  async function ended(runId: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const changed = nextSignal(signals, `run:${runId}`, signal);
      const run = await runs.get(null, runId);
      if (run === undefined || !isInFlight(run.status) || signal.aborted) {
        changed.forget();
        return;
      }
      await changed.promise;
    }
  }

  async function* follow(run: Run, { cursor, signal }: FollowOptions): AsyncGenerator<readonly StreamItem[]> {
    if (!isInFlight(run.status) && !(await bridge.has(run.runId))) {
      const values = await snapshotOf(run);
      yield values;
      yield [{ kind: "event", event: endOf(run) }];
      return;
    }
    yield* read(run.runId, cursor, signal, () => snapshotOf(run));
  }

  async function* read(
    runId: string,
    cursor: Cursor,
    signal: AbortSignal,
    snapshot: () => Promise<readonly StreamItem[]>,
  ): AsyncGenerator<readonly StreamItem[]> {
    for await (const batch of bridge.subscribe(runId, { cursor, signal })) {
      if (batch.kind === "gap") {
        yield await snapshot();
        continue;
      }
      const shown = batch.events.filter(({ event }) => event !== RESULT_EVENT);
      if (shown.length > 0) yield shown.map((event) => ({ kind: "event", event }));
    }
  }

  /** The state at the thread's head; nothing where there is none. */
  async function snapshotOf(run: Run): Promise<readonly StreamItem[]> {
    const ref = { graphId: run.graphId, threadId: run.threadId, checkpoint: null, config: run.payload.config };
    const state = await deps.host.getState(ref, { subgraphs: false });
    return state.checkpoint === null ? [] : [{ kind: "snapshot", valuesJson: toJson(state.values) }];
  }

  /** From the log while it is retained; else from the rows. */
  async function result(run: Run, signal: AbortSignal): Promise<string> {
    if (isInFlight(run.status) || (await bridge.has(run.runId))) {
      for await (const batch of bridge.subscribe(run.runId, { cursor: { from: "start" }, signal })) {
        if (batch.kind === "gap") continue;
        const last = batch.events.find(({ event }) => event === RESULT_EVENT);
        if (last !== undefined) return last.data;
      }
    }
    const row = await runs.get(run.threadId, run.runId);
    const thread = await threads.get(run.threadId);
    return resultJson({
      status: row?.status ?? run.status,
      valuesJson: thread?.valuesJson ?? null,
      interrupts: thread?.interrupts ?? {},
      error: row?.error ?? null,
    });
  }

  return {
    get,
    cancel,
    ended,
    follow,
    result,

    async create(threadId, request) {
      const assistant = await deps.findAssistant(request.assistantId);
      const admitted = await runs.admit(admission(deps, threadId, request, assistant));
      if (admitted.kind === "repeated") return admitted.run;
      for (const other of admitted.cancelled) {
        if (other.status === "running") signals.send(`cancel:${other.runId}`);
        else await endUnstarted(other, admitted.run.multitaskStrategy === "rollback" ? "rollback" : "interrupted");
      }
      signals.send("runs");
      return admitted.run;
    },

    async active(threadId) {
      const inFlight = await runs.listInFlight({ threadId });
      return inFlight.find(({ status }) => status === "running") ?? inFlight.at(-1);
    },

    async list(threadId, query) {
      if ((await threads.get(threadId)) === undefined) throw notFound("thread", threadId);
      return runs.list(threadId, query);
    },

    async remove(threadId, runId) {
      const run = await get(threadId, runId);
      if (!(await runs.remove(threadId, runId))) {
        throw conflict(`run ${runId} is ${run.status}; cancel it first`, { status: run.status });
      }
      await bridge.drop(runId);
    },

    followFinished(runId, { cursor, signal }) {
      if (bridge.has(runId) !== true) return undefined;
      return read(runId, cursor, signal, async () => []);
    },

    async stopThread(threadId) {
      const inFlight = await runs.listInFlight({ threadId });
      await Promise.all(
        inFlight.map(async (run) => {
          await cancel(threadId, run.runId, "interrupt").catch(ignoreRace);
          await ended(run.runId, NEVER);
        }),
      );
    },

    async cancelMany(selection, action) {
      const selected = await select(runs, selection);
      const outcomes = await Promise.all(
        selected.map(async (run) => {
          const answer = await cancel(run.threadId, run.runId, action).then(() => true, ignoreRace);
          return answer === true;
        }),
      );
      return outcomes.filter(Boolean).length;
    },
  };
}

const NEVER = new AbortController().signal;

/** A run that ended between being listed and being cancelled needs no cancel. */
function ignoreRace(error: unknown): false {
  if (error instanceof Error && error.name === "GatewayError") return false;
  throw error;
}

async function select(runs: RunStore, selection: Parameters<RunManager["cancelMany"]>[0]): Promise<readonly Run[]> {
  if ("status" in selection) {
    return runs.listInFlight(selection.status === "all" ? {} : { status: selection.status });
  }
  const found = await Promise.all(selection.runIds.map((runId) => runs.get(selection.threadId, runId)));
  return found.filter((run): run is Run => run !== undefined && isInFlight(run.status));
}

function admission(
  deps: RunManagerDeps,
  threadId: string | null,
  request: RunRequest,
  assistant: Assistant,
): AdmitRequest {
  const { options, clock } = deps;
  const temporary = threadId === null && request.onCompletion === "delete";
  const newThread = { threadId: threadId ?? newId(), metadata: {}, ttl: null };
  const mayCreate = threadId === null || request.ifNotExists === "create";
  const strategy = request.multitaskStrategy ?? options.defaultMultitaskStrategy;
  return {
    threadId: newThread.threadId,
    createThread: mayCreate ? newThread : null,
    idempotency:
      request.idempotencyKey === null
        ? null
        : { key: request.idempotencyKey, requestHash: requestHash(threadId, request) },
    decide(thread, inFlight) {
      if (thread === undefined && !mayCreate) return { kind: "refuse", error: notFound("thread", newThread.threadId) };
      const decision = decideMultitask(strategy, inFlight, options);
      if (decision.kind === "refuse") return decision;
      const context = {
        assistant,
        thread: thread ?? { ...newThread, config: {}, interrupts: {} },
        inFlight,
        strategy,
        temporary,
        now: clock.now(),
      };
      return { kind: "insert", run: draftRun(request, context), cancelInFlight: decision.cancel };
    },
  };
}

function endOf(run: Run): StreamEvent {
  const id = { fence: run.fence + 1, seq: 1 };
  if (run.error !== null) return { id, event: "error", namespace: [], data: toJson(run.error) };
  return { id, event: "end", namespace: [], data: toJson({ run_id: run.runId, status: run.status }) };
}

/** Resolves at the next send of `topic`, or when `signal` aborts. Listening starts at once. */
function nextSignal(
  signals: Signals,
  topic: string,
  signal: AbortSignal,
): { promise: Promise<void>; forget: () => void } {
  let forget = (): void => {};
  const promise = new Promise<void>((resolve) => {
    const finish = (): void => {
      forget();
      resolve();
    };
    const stopListening = signals.on(topic, finish);
    signal.addEventListener("abort", finish);
    forget = () => {
      stopListening();
      signal.removeEventListener("abort", finish);
    };
  });
  return { promise, forget };
}
