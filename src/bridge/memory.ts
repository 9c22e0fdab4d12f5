/**
 * The bridge of a single process: one in-memory log per run, byte-bounded.
 *
 * 1. A log only grows at its end and is only evicted from its start, so a cursor is an absolute position and comparing
 *    it with the first retained position tells whether something was missed.
 * 2. A subscription holds one batch at most; how fast it is read never concerns the publisher.
 * 3. Publishing wakes readers once per turn of the event loop, so events of one turn leave in one batch.
 * 4. An unfinished log never looks finished: closing the bridge throws at its readers (W2).
 */
import type { Clock } from "../core/clock.js";
import {
  type Cursor,
  compareEventIds,
  type EventId,
  type Signals,
  type StreamBatch,
  type StreamBridge,
  StreamBrokenError,
  type StreamEvent,
} from "./bridge.js";

export interface MemoryBridgeOptions {
  readonly clock: Clock;
  /** What one run's log may hold; its oldest events go first. */
  readonly maxBytesPerRun: number;
  /** What one reader may hold between two reads. */
  readonly maxBytesPerReader: number;
  /** What all finished logs together may hold; the log that finished first goes first. */
  readonly maxRetainedBytes: number;
  /** How long a finished log can be replayed. */
  readonly retentionMs: number;
}

interface RunLog {
  events: StreamEvent[];
  /** How many of the first events count as gone: they are removed many at once, because each removal moves the rest. */
  evicted: number;
  /** Absolute position of `events[0]`. */
  base: number;
  bytes: number;
  ended: boolean;
  last: EventId | null;
  readonly waiting: Set<() => void>;
  wakeScheduled: boolean;
}

/** An event costs its strings and about this much around them. */
const EVENT_OVERHEAD_BYTES = 120;

export function createMemoryBridge(options: MemoryBridgeOptions): StreamBridge {
  const logs = new Map<string, RunLog>();
  /** Finished runs in the order in which they finished. */
  const finished = new Map<string, () => void>();
  let retainedBytes = 0;
  let closed = false;

  function open(runId: string): RunLog {
    let log = logs.get(runId);
    if (log === undefined) {
      log = {
        events: [],
        evicted: 0,
        base: 0,
        bytes: 0,
        ended: false,
        last: null,
        waiting: new Set(),
        wakeScheduled: false,
      };
      logs.set(runId, log);
    }
    return log;
  }

  function forget(runId: string): void {
    const log = logs.get(runId);
    if (log === undefined) return;
    if (finished.has(runId)) retainedBytes -= log.bytes;
    finished.get(runId)?.();
    finished.delete(runId);
    logs.delete(runId);
    log.ended = true;
    wake(log);
  }

  return {
    publish(runId, event) {
      const log = open(runId);
      if (log.ended || (log.last !== null && compareEventIds(event.id, log.last) <= 0)) return false;
      log.last = event.id;
      log.events.push(event);
      log.bytes += sizeOf(event);
      while (log.bytes > options.maxBytesPerRun && log.evicted < log.events.length - 1) evictOldest(log);
      wake(log);
      return true;
    },

    end(runId) {
      const log = open(runId);
      if (log.ended) return;
      log.ended = true;
      retainedBytes += log.bytes;
      finished.set(
        runId,
        options.clock.after(options.retentionMs, () => forget(runId)),
      );
      for (const oldest of finished.keys()) {
        if (retainedBytes <= options.maxRetainedBytes || oldest === runId) break;
        forget(oldest);
      }
      wake(log);
    },

    has: (runId) => logs.has(runId),

    async *subscribe(runId, { cursor, signal }): AsyncGenerator<StreamBatch> {
      const log = open(runId);
      const start = locate(log, cursor);
      let position = start.position;
      if (start.missed) yield { kind: "gap" };
      while (!signal.aborted) {
        if (position < firstOf(log)) {
          position = firstOf(log);
          yield { kind: "gap" };
        }
        const events = takeBatch(log, position, options.maxBytesPerReader);
        if (events.length > 0) {
          position += events.length;
          yield { kind: "events", events };
        } else if (log.ended) {
          return;
        } else if (closed) {
          throw new StreamBrokenError("the gateway is stopping");
        } else {
          await changeOf(log, signal);
        }
      }
    },

    drop: forget,

    close() {
      closed = true;
      for (const cancelExpiry of finished.values()) cancelExpiry();
      for (const log of logs.values()) wake(log);
    },
  };
}

export function createMemorySignals(): Signals {
  const listeners = new Map<string, Set<() => void>>();
  return {
    send(topic) {
      for (const listener of [...(listeners.get(topic) ?? [])]) listener();
    },
    on(topic, listener) {
      const ofTopic = listeners.get(topic) ?? new Set();
      listeners.set(topic, ofTopic.add(listener));
      return () => {
        ofTopic.delete(listener);
        if (ofTopic.size === 0) listeners.delete(topic);
      };
    },
  };
}

/** Absolute position of the first retained event. */
function firstOf(log: RunLog): number {
  return log.base + log.evicted;
}

function evictOldest(log: RunLog): void {
  const event = log.events[log.evicted];
  if (event === undefined) return;
  log.bytes -= sizeOf(event);
  log.evicted++;
  if (log.evicted < log.events.length / 8) return;
  log.base += log.evicted;
  log.events = log.events.slice(log.evicted);
  log.evicted = 0;
}

/** Where a cursor points to, and whether the log lacks something between the cursor and that place. */
function locate(log: RunLog, cursor: Cursor): { readonly position: number; readonly missed: boolean } {
  if ("after" in cursor) {
    const index = firstAfter(log, cursor.after);
    const before = index > log.evicted ? log.events[index - 1] : undefined;
    const known = before !== undefined && compareEventIds(before.id, cursor.after) === 0;
    return { position: log.base + index, missed: !known };
  }
  if (cursor.from === "start") return { position: 0, missed: false };
  const end = log.base + log.events.length;
  return { position: log.ended ? Math.max(firstOf(log), end - 1) : end, missed: false };
}

/** Index of the first event whose id is greater: ids only grow, so halving finds it. */
function firstAfter({ events, evicted }: RunLog, id: EventId): number {
  let low = evicted;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const event = events[middle];
    if (event !== undefined && compareEventIds(event.id, id) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function takeBatch(log: RunLog, position: number, maxBytes: number): readonly StreamEvent[] {
  const start = position - log.base;
  let end = start;
  for (let bytes = 0; end < log.events.length && (bytes < maxBytes || end === start); end++) {
    const event = log.events[end];
    if (event !== undefined) bytes += sizeOf(event);
  }
  return log.events.slice(start, end);
}

function sizeOf(event: StreamEvent): number {
  return event.data.length + EVENT_OVERHEAD_BYTES;
}

function wake(log: RunLog): void {
  if (log.wakeScheduled || log.waiting.size === 0) return;
  log.wakeScheduled = true;
  setImmediate(() => {
    log.wakeScheduled = false;
    for (const resume of [...log.waiting]) resume();
  });
}

function changeOf(log: RunLog, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const resume = () => {
      log.waiting.delete(resume);
      signal.removeEventListener("abort", resume);
      resolve();
    };
    log.waiting.add(resume);
    signal.addEventListener("abort", resume);
  });
}
