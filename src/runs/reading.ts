/**
 * Following runs: their events from any cursor, their result when they have ended.
 *
 * Everything comes from the run's log while it is retained. What the log does not hold any more is told by the rows: a
 * snapshot of the state instead of events that are gone, never a silent gap and never a wait for what cannot come. A log
 * can outlive its run: that of a temporary thread, or of a run that was rolled back.
 */
import type { Cursor, StreamBridge, StreamEvent } from "../bridge/bridge.js";
import { toJson } from "../core/json.js";
import type { Log } from "../core/log.js";
import { isInFlight, type Run } from "../core/model.js";
import type { GraphHost } from "../graphs/host.js";
import type { RunStore, ThreadStore } from "../storage/storage.js";
import { RESULT_EVENT, resultJson } from "./result.js";
import { endJson, metadataJson } from "./run-log.js";

/** What a follower sees, in order: events of the log, and what stands for events that the log does not hold any more. */
export type StreamItem = Pick<StreamEvent, "event" | "namespace" | "data"> & { readonly id: StreamEvent["id"] | null };

export interface FollowOptions {
  readonly cursor: Cursor;
  readonly signal: AbortSignal;
}

/** A run as its readers see it. */
export interface RunReading {
  readonly runId: string;
  /** The newest claim: what a cursor without one means. */
  readonly fence: number;
  /** Batches of events; ends when the run has, throws `StreamBrokenError` when the gateway stops first. */
  follow(options: FollowOptions): AsyncGenerator<readonly StreamItem[]>;
  /** The JSON that `wait` and `join` answer with, when the run has ended; undefined when `signal` aborts first. */
  result(signal: AbortSignal): Promise<string | undefined>;
}

export interface RunReader {
  ofRun(run: Run): RunReading;
  /** From its log alone, for a run whose row is gone; undefined when the log is gone too, or is another thread's. */
  ofRetained(threadId: string | null, runId: string): Promise<RunReading | undefined>;
}

export interface RunReaderDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly host: GraphHost;
  readonly bridge: StreamBridge;
  readonly log: Log;
}

const NEVER = new AbortController().signal;

export function createRunReader({ runs, threads, host, bridge, log }: RunReaderDeps): RunReader {
  async function* followLog(
    runId: string,
    { cursor, signal }: FollowOptions,
    insteadOfGap: (position: "first" | "later") => Promise<readonly StreamItem[]>,
  ): AsyncGenerator<readonly StreamItem[]> {
    let position: "first" | "later" = "first";
    for await (const batch of bridge.subscribe(runId, { cursor, signal })) {
      const items = batch.kind === "gap" ? await insteadOfGap(position) : batch.events.filter(isShown);
      position = "later";
      if (items.length > 0) yield items;
    }
  }

  async function resultOfLog(runId: string, signal: AbortSignal): Promise<string | undefined> {
    for await (const batch of bridge.subscribe(runId, { cursor: { from: "start" }, signal })) {
      if (batch.kind === "gap") continue;
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

  return {
    ofRun(run) {
      const { runId, threadId } = run;
      const metadata = unnumbered("metadata", metadataJson(run));
      return {
        runId,
        fence: run.fence,

        async *follow(options) {
          const fromStart = "from" in options.cursor && options.cursor.from === "start";
          const introduction = fromStart ? [metadata] : [];
          if (await hasLog(run)) {
            yield* followLog(runId, options, async (position) => [
              ...(position === "first" ? introduction : []),
              ...(await snapshotOf(run)),
            ]);
          } else {
            yield [...introduction, ...(await snapshotOf(run)), endOf(run)];
          }
        },

        async result(signal) {
          const inLog = (await hasLog(run)) ? await resultOfLog(runId, signal) : undefined;
          if (inLog !== undefined || signal.aborted) return inLog;
          const [row, thread] = await Promise.all([runs.get(threadId, runId), threads.get(threadId)]);
          const { valuesJson, interrupts } = thread ?? { valuesJson: null, interrupts: {} };
          return resultJson({ valuesJson, interrupts, error: row?.error ?? null });
        },
      };
    },

    async ofRetained(threadId, runId) {
      if (!(await bridge.has(runId))) return undefined;
      if (threadId !== null && threadId !== (await threadOfLog(bridge, runId))) return undefined;
      return {
        runId,
        fence: 1,
        follow: (options) => followLog(runId, options, async () => []),
        result: (signal) => resultOfLog(runId, signal),
      };
    },
  };
}

/** From the log's first event; undefined when that is no longer retained. */
async function threadOfLog(bridge: StreamBridge, runId: string): Promise<unknown> {
  for await (const batch of bridge.subscribe(runId, { cursor: { from: "start" }, signal: NEVER })) {
    const [first] = batch.kind === "events" ? batch.events : [];
    return first?.event === "metadata" ? (JSON.parse(first.data) as { thread_id: unknown }).thread_id : undefined;
  }
  return undefined;
}

function isShown({ event }: StreamEvent): boolean {
  return event !== RESULT_EVENT;
}

/** No cursor can point at it. */
function unnumbered(event: string, data: string): StreamItem {
  return { id: null, event, namespace: [], data };
}

function endOf(run: Run): StreamItem {
  const end =
    run.error === null
      ? { event: "end", data: endJson(run.runId, run.status) }
      : { event: "error", data: toJson(run.error) };
  return { id: { fence: run.fence + 1, seq: 1 }, namespace: [], ...end };
}
