/**
 * The bridge of a single process: one in-memory log per run, byte-bounded. What processes share is read from such logs too,
 * which a bridge to the others fills (`bridge/redis.ts`).
 *
 * 1. A log only grows at its end and is only evicted from its start, so a cursor is an absolute position and comparing
 *    it with the first retained position tells whether something was missed.
 * 2. A subscription holds one batch at most; how fast it is read never concerns the publisher.
 * 3. Publishing wakes readers once per turn of the event loop, so events of one turn leave in one batch.
 * 4. An unfinished log never looks finished: closing the bridge throws at its readers (W2).
 * 5. A log is folded when somebody joins who wants that, from where the last such reader left off, in slices that do not
 *    keep others waiting. What that takes counts as the log's.
 */
import type { Clock } from "../core/clock.js";
import {
  type Cursor,
  compareEventIds,
  type EventId,
  isNextEventId,
  type LogExtent,
  type Signals,
  type Silence,
  type StreamBatch,
  type StreamBridge,
  StreamBrokenError,
  type StreamEvent,
} from "./bridge.js";
import { restAfter } from "./fold.js";
import { createFolding, type Folding } from "./folding.js";

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

/** The logs of this process; nothing of them takes time. */
export interface MemoryBridge extends StreamBridge {
  publish(runId: string, event: StreamEvent): boolean;
  end(runId: string): void;
  has(runId: string): boolean;
  extent(runId: string): LogExtent | undefined;
  drop(runId: string): void;
  close(): void;
  isEnded(runId: string): boolean;
  /** What is retained of events with a greater id; of all where there is none. */
  retained(runId: string, after: EventId | undefined): readonly StreamEvent[];
  /** Forgets what is retained, because what follows does not continue it: readers who have not come further get a gap. */
  lose(runId: string): void;
  /** Tells readers who wait for the log to go on that nobody knows whether it does. */
  tellSilence(runId: string): void;
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
  /** How often its readers were told that nothing is known. */
  silences: number;
  readonly waiting: Set<() => void>;
  wakeScheduled: boolean;
  folded: FoldedLog | undefined;
}

/** The log up to a position, folded. */
interface FoldedLog {
  readonly folding: Folding;
  /** Absolute position of the first event that is not folded yet. */
  position: number;
  /** What of the log's bytes this is. */
  bytes: number;
}

/** An event costs its strings and about this much around them. */
const EVENT_OVERHEAD_BYTES = 120;

export function createMemoryBridge(options: MemoryBridgeOptions): MemoryBridge {
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
        silences: 0,
        waiting: new Set(),
        wakeScheduled: false,
        folded: undefined,
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

  /** Forgets finished logs, the oldest first, until all fit: never this one. */
  function makeRoomFor(runId: string): void {
    for (const oldest of [...finished.keys()]) {
      if (retainedBytes <= options.maxRetainedBytes) return;
      if (oldest !== runId) forget(oldest);
    }
  }

  const nextSlice = createSlices();

  /** Brings the folded log up to this position, unless that is evicted meanwhile. */
  async function foldUpTo(runId: string, log: RunLog, position: number): Promise<FoldedLog> {
    let folded = foldedOf(log);
    while (folded.position < position) {
      await nextSlice(() => {
        folded = foldedOf(log);
        foldSome(log, folded);
        const added = accountFor(log, folded);
        if (logs.get(runId) !== log || !finished.has(runId)) return;
        retainedBytes += added;
        makeRoomFor(runId);
      });
    }
    return folded;
  }

  /** What the log holds now, folded, from a position; returns the position after it. */
  async function* replayFolded(runId: string, log: RunLog, from: Position): AsyncGenerator<StreamBatch, number> {
    const end = log.base + log.events.length;
    let position = from.position;
    while (position < end && !from.signal.aborted) {
      const { folding } = await foldUpTo(runId, log, end);
      if (position < firstOf(log)) {
        position = firstOf(log);
        yield { kind: "gap" };
        continue;
      }
      const events = upTo(options.maxBytesPerReader, restAfter(folding.events(), idBefore(log, position)));
      const last = events.at(-1);
      if (last === undefined) return position;
      position = log.base + firstAfter(log, last.id);
      yield { kind: "events", events };
    }
    return position;
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
      makeRoomFor(runId);
      wake(log);
    },

    has: (runId) => logs.has(runId),

    extent(runId) {
      const log = logs.get(runId);
      const first = log?.events[log.evicted];
      if (log === undefined || first === undefined || log.last === null) return undefined;
      return { first: first.id, last: log.last, ended: log.ended };
    },

    async *subscribe(runId, { cursor, signal, replay = "raw" }): AsyncGenerator<StreamBatch | Silence> {
      const log = open(runId);
      let { silences } = log;
      const start = locate(log, cursor);
      let position = start.position;
      if (start.missed) yield { kind: "gap" };
      if (replay === "folded") position = yield* replayFolded(runId, log, { position, signal });
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
        } else if (silences < log.silences) {
          silences = log.silences;
          yield { kind: "silence" };
        } else {
          await changeOf(log, signal);
        }
      }
    },

    drop: forget,

    isEnded: (runId) => logs.get(runId)?.ended === true,

    retained(runId, after) {
      const log = logs.get(runId);
      return log === undefined ? [] : log.events.slice(after === undefined ? log.evicted : firstAfter(log, after));
    },

    lose(runId) {
      const log = open(runId);
      if (finished.has(runId)) retainedBytes -= log.bytes;
      log.base += log.events.length + 1;
      Object.assign(log, { events: [], evicted: 0, bytes: 0, folded: undefined });
      wake(log);
    },

    tellSilence(runId) {
      const log = logs.get(runId);
      if (log === undefined) return;
      log.silences++;
      wake(log);
    },

    close() {
      closed = true;
      for (const cancelExpiry of finished.values()) cancelExpiry();
      for (const log of logs.values()) wake(log);
    },
  };
}

export interface MemorySignals extends Signals {
  /** What somebody listens to. */
  topics(): readonly string[];
}

export function createMemorySignals(): MemorySignals {
  const listeners = new Map<string, Set<() => void>>();
  return {
    topics: () => [...listeners.keys()],
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
  if (log.folded !== undefined) {
    log.folded.folding.forget(event.id);
    accountFor(log, log.folded);
  }
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
    const next = log.events[index];
    const known =
      (before !== undefined && compareEventIds(before.id, cursor.after) === 0) ||
      (next !== undefined && isNextEventId(cursor.after, next.id));
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
  return upTo(maxBytes, log.events, position - log.base);
}

/** The events from an index on that fit, and one at least. */
function upTo(maxBytes: number, events: readonly StreamEvent[], start = 0): readonly StreamEvent[] {
  let end = start;
  for (let bytes = 0; end < events.length && (bytes < maxBytes || end === start); end++) {
    const event = events[end];
    if (event !== undefined) bytes += sizeOf(event);
  }
  return events.slice(start, end);
}

// ---- folding

interface Position {
  readonly position: number;
  readonly signal: AbortSignal;
}

/** How long folding keeps others waiting. */
const SLICE_MS = 5;

/** The folded log; a new one when events went that it had not come to. */
function foldedOf(log: RunLog): FoldedLog {
  if (log.folded === undefined || log.folded.position < firstOf(log)) {
    log.bytes -= log.folded?.bytes ?? 0;
    log.folded = { folding: createFolding(), position: firstOf(log), bytes: 0 };
  }
  return log.folded;
}

function foldSome(log: RunLog, folded: FoldedLog): void {
  const stopAt = performance.now() + SLICE_MS;
  do {
    const event = log.events[folded.position - log.base];
    if (event === undefined) return;
    folded.folding.push(event);
    folded.position++;
  } while (performance.now() < stopAt);
}

/** Counts what the folded log takes as the log's; returns by how much that has grown. */
function accountFor(log: RunLog, folded: FoldedLog): number {
  const added = folded.folding.bytes - folded.bytes;
  folded.bytes += added;
  log.bytes += added;
  return added;
}

/** The id that a reader has last who comes to this position. */
function idBefore(log: RunLog, position: number): EventId {
  const index = position - log.base;
  const before = log.events[index - 1]?.id;
  if (before !== undefined) return before;
  const { fence, seq } = log.events[index]?.id ?? { fence: 1, seq: 1 };
  return { fence, seq: seq - 1 };
}

/** Runs one piece of work per turn of the event loop, in the order in which they came. */
function createSlices(): (work: () => void) => Promise<void> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const slice = last.then(() => new Promise((resolve) => setImmediate(resolve))).then(work);
    last = slice.catch(() => {}); // whoever asked for it is told
    return slice;
  };
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
