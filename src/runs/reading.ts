/**
 * Following runs: their events from any cursor, their result when they have ended.
 *
 * Everything comes from the run's tape while that holds it. What is kept nowhere any more is told by the rows: a snapshot
 * of the state instead of events that are gone, never a silent gap and never a wait for what cannot come. A log in memory
 * can outlive its run: that of a temporary thread, or of a run that was rolled back.
 */
import { type Cursor, type Replay, type StreamBridge, StreamBrokenError, type StreamEvent } from "../bridge/bridge.js";
import { toJson } from "../core/json.js";
import type { Log } from "../core/log.js";
import { isInFlight, type JsonObject, type Run } from "../core/model.js";
import { isInScope, type Scope } from "../core/scope.js";
import type { GraphHost } from "../graphs/host.js";
import type { RunStore } from "../storage/ports/runs.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import { RESULT_EVENT, resultJson } from "./result.js";
import { ACCESS_EVENT, endJson, metadataJson } from "./run-log.js";
import type { RunTape } from "./tape.js";

/** What a follower sees, in order: events, and what stands for events that are kept no more. */
export type StreamItem = Pick<StreamEvent, "event" | "namespace" | "data"> & { readonly id: StreamEvent["id"] | null };

export interface FollowOptions {
  readonly cursor: Cursor;
  readonly signal: AbortSignal;
  /** `raw` unless it is given. */
  readonly replay?: Replay | undefined;
}

/** A run as its readers see it. */
export interface RunReading {
  readonly runId: string;
  /** The newest claim: what a cursor without one means. */
  readonly fence: number;
  /** To follow what is said from the moment of asking, whenever somebody begins to. */
  now(): Promise<Cursor>;
  /** Batches of events; ends when the run has, throws `StreamBrokenError` when the gateway stops first. */
  follow(options: FollowOptions): AsyncGenerator<readonly StreamItem[]>;
  /** The JSON that `wait` and `join` answer with, when the run has ended; undefined when `signal` aborts first. */
  result(signal: AbortSignal): Promise<string | undefined>;
}

export interface RunReader {
  ofRun(run: Run): RunReading;
  /**
   * From its log alone, for a run whose row is gone; undefined when the log is gone too, is another thread's, or does not
   * say that it is in `scope`.
   */
  ofRetained(threadId: string | null, runId: string, scope: Scope): Promise<RunReading | undefined>;
}

export interface RunReaderDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly host: GraphHost;
  readonly bridge: StreamBridge;
  readonly tape: RunTape;
  readonly log: Log;
}

const NEVER = new AbortController().signal;

export function createRunReader({ runs, threads, host, bridge, tape, log }: RunReaderDeps): RunReader {
  /** Undefined too where the log falls silent and `isOver`: then it is not known what it would say. */
  async function resultOfLog(
    runId: string,
    signal: AbortSignal,
    isOver: () => Promise<boolean>,
  ): Promise<string | undefined> {
    for await (const batch of bridge.subscribe(runId, { cursor: { from: "start" }, signal })) {
      if (batch.kind === "silence" && (await isOver())) return undefined;
      if (batch.kind !== "events") continue;
      const last = batch.events.find(({ event }) => event === RESULT_EVENT);
      if (last !== undefined) return last.data;
    }
    return undefined;
  }

  /** The state at the thread's head; nothing where there is none. */
  async function snapshotOf(run: Run): Promise<readonly StreamItem[]> {
    const valuesJson = await readValues(run);
    return valuesJson === null ? [] : [unnumbered("values", valuesJson)];
  }

  async function readValues(run: Run): Promise<string | null> {
    try {
      const ref = { graphId: run.graphId, threadId: run.threadId, checkpoint: null, config: run.payload.config };
      const state = await host.getState(ref, { subgraphs: false });
      return state.checkpoint === null ? null : toJson(state.values);
    } catch (error) {
      // The graph may be gone since, or its factory fail: the thread's row shows the state of the last run that ended.
      log.warn({ err: error, runId: run.runId, threadId: run.threadId }, "the state for a late reader cannot be read");
      return (await threads.get(run.threadId))?.valuesJson ?? null;
    }
  }

  /** Whether there is, or will be, a log to read. */
  async function hasLog(run: Run): Promise<boolean> {
    return isInFlight(run.status) || (await bridge.has(run.runId));
  }

  async function* followLog(runId: string, options: FollowOptions): AsyncGenerator<readonly StreamItem[]> {
    for await (const batch of bridge.subscribe(runId, options)) {
      if (batch.kind === "silence") throw new StreamBrokenError("the rest of the log cannot be had");
      const items = batch.kind === "gap" ? [] : batch.events.filter(isShown); // there is no state to show instead
      if (items.length > 0) yield items;
    }
  }

  return {
    ofRun(run) {
      const { runId, threadId } = run;
      const metadata = unnumbered("metadata", metadataJson(run));
      return {
        runId,
        fence: run.fence,
        now: () => tape.now(run),

        async *follow(options) {
          const fromStart = "from" in options.cursor && options.cursor.from === "start";
          let isFirst = true;
          let isBehindGap = false;
          for await (const batch of tape.read(run, options)) {
            const introduction = isFirst && fromStart ? [metadata] : [];
            const items =
              batch.kind === "gap" ? [...introduction, ...(await snapshotOf(run))] : batch.events.filter(isShown);
            isFirst = false;
            isBehindGap = batch.kind === "gap";
            if (items.length > 0) yield items;
          }
          if (!isBehindGap || options.signal.aborted) return;
          // Nobody keeps how the run ended but its row.
          const row = await runs.get(threadId, runId);
          if (row !== undefined && !isInFlight(row.status)) yield [endOf(row)];
        },

        async result(signal) {
          const isOver = async (): Promise<boolean> => {
            const row = await runs.get(threadId, runId);
            return row === undefined || !isInFlight(row.status);
          };
          const inLog = (await hasLog(run)) ? await resultOfLog(runId, signal, isOver) : undefined;
          if (inLog !== undefined || signal.aborted) return inLog;
          const kept = await tape.result(runId);
          if (kept !== undefined) return kept;
          const [row, thread] = await Promise.all([runs.get(threadId, runId), threads.get(threadId)]);
          if (row === undefined && run.payload.temporary) throw new StreamBrokenError("the result of the run is lost");
          const { valuesJson, interrupts } = thread ?? { valuesJson: null, interrupts: {} };
          return resultJson({ valuesJson, interrupts, error: row?.error ?? null });
        },
      };
    },

    async ofRetained(threadId, runId, scope) {
      if (!(await bridge.has(runId))) return undefined;
      if (threadId !== null || scope.length > 0) {
        const about = await headOfLog(bridge, runId);
        if (threadId !== null && threadId !== about.threadId) return undefined;
        if (scope.length > 0 && (about.metadata === undefined || !isInScope(about.metadata, scope))) return undefined;
      }
      return {
        runId,
        fence: 1,
        now: async () => ({ from: "now" }),
        follow: (options) => followLog(runId, options),
        result: (signal) => resultOfLog(runId, signal, async () => true),
      };
    },
  };
}

/** What the log's first events say of its run; nothing when they are no longer retained. */
async function headOfLog(
  bridge: StreamBridge,
  runId: string,
): Promise<{ readonly threadId?: unknown; readonly metadata?: JsonObject | undefined }> {
  for await (const batch of bridge.subscribe(runId, { cursor: { from: "start" }, signal: NEVER })) {
    const [first, second] = batch.kind === "events" ? batch.events : [];
    if (first?.event !== "metadata") return {};
    const { thread_id: threadId } = JSON.parse(first.data) as { readonly thread_id: unknown };
    const metadata = second?.event === ACCESS_EVENT ? (JSON.parse(second.data) as JsonObject) : undefined;
    return { threadId, metadata };
  }
  return {};
}

/** Whether REST streams show the event: the others are read by event streaming, or are the result. */
export function isShown({ event }: StreamEvent): boolean {
  return event !== RESULT_EVENT && !event.startsWith("#");
}

/** No cursor can point at it. */
function unnumbered(event: string, data: string): StreamItem {
  return { id: null, event, namespace: [], data };
}

/** Its id is greater than any that the run's log had: a run that never ran spoke as its first claim would. */
function endOf(run: Run): StreamItem {
  const end =
    run.error === null
      ? { event: "end", data: endJson(run.runId, run.status) }
      : { event: "error", data: toJson(run.error) };
  return { id: { fence: Math.max(run.fence, 1) + 1, seq: 1 }, namespace: [], ...end };
}
