/**
 * Writes down what runs say, so that it can be read when the process or the memory log is gone.
 *
 * 1. Nothing waits for it: an event is taken in memory and written a moment later, those of all runs in one commit.
 * 2. What waits is bounded, whatever becomes of the disk: the run that has waited longest loses what of it was not written,
 *    and its readers get a snapshot there.
 * 3. A write that fails is tried again with what came meanwhile; runs go on.
 * 4. When a run has ended, what was written of it piece by piece is folded once more, and so is a run that grows too large;
 *    what is too much even then goes, oldest first.
 * 5. An event that is larger than what is kept of a run is not written at all, so that no other run's go for it.
 */
import type { StreamEvent } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { LedgerSegment, RunLedger } from "../storage/ports/ledger.js";
import { foldRun } from "./ledger-folding.js";
import { segmentsOf } from "./ledger-segments.js";

export interface LedgerWriterDeps {
  readonly ledger: RunLedger;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "ledgerBytes" | "ledgerLostEvents">;
  readonly options: LedgerWriterOptions;
}

export interface LedgerWriterOptions {
  /** What is kept of one run; a quarter more while it runs. */
  readonly maxBytesPerRun: number;
  /** What may wait to be written, of all runs together. */
  readonly maxBufferedBytes: number;
}

export interface LedgerWriter {
  /** Takes an event that was published. Returns at once and never throws. */
  append(runId: string, event: StreamEvent): void;
  /** The run has said its last word. */
  end(runId: string): void;
  /** Resolves when what was taken of the run is written, or could not be for now. */
  flush(runId: string): Promise<void>;
  /** Writes what is left; what comes later is not taken. */
  stop(): Promise<void>;
}

/** Where no ledger is kept. */
export const keepsNothing: LedgerWriter = {
  append() {},
  end() {},
  async flush() {},
  async stop() {},
};

const FLUSH_MS = 250;
const RETRY_MS = 1_000;
/** So much is written before its time has come, and as much at once, so that one commit does not hold up others for long. */
const BATCH_BYTES = 1_024 * 1_024;
const BATCH_RUNS = 64;
const EVENT_OVERHEAD_BYTES = 200;

/** What of a run was taken and not written. */
interface Unwritten {
  events: StreamEvent[];
  bytes: number;
  ended: boolean;
}

/** What of a run in flight was written. */
interface Written {
  pieces: number;
  bytesSinceFolding: number;
  foldAtBytes: number;
}

export function createLedgerWriter({ ledger, clock, log, metrics, options }: LedgerWriterDeps): LedgerWriter {
  /** Runs in the order in which they began to wait. */
  const unwritten = new Map<string, Unwritten>();
  let unwrittenBytes = 0;
  const written = new Map<string, Written>();
  const toFold = new Set<string>();
  let flushing: Promise<void> | undefined;
  /** One commit of it: others may go on saying things for as long as it lasts. */
  let writing: Promise<boolean> | undefined;
  let folding: Promise<void> | undefined;
  let timer: { readonly delayMs: number; readonly forget: () => void } | undefined;
  let isFailing = false;
  let isStopped = false;

  function flushSoon(): void {
    if (flushing !== undefined || isStopped) return; // it looks again when it is done
    if (isFailing) flushAfter(RETRY_MS);
    else flushAfter(unwrittenBytes < BATCH_BYTES ? FLUSH_MS : 0);
  }

  function flushAfter(delayMs: number): void {
    if (timer !== undefined && timer.delayMs <= delayMs) return;
    timer?.forget();
    const forget = clock.after(delayMs, () => {
      timer = undefined;
      void flushAll();
    });
    timer = { delayMs, forget };
  }

  function waitingOf(runId: string): Unwritten {
    let waiting = unwritten.get(runId);
    if (waiting === undefined) {
      waiting = { events: [], bytes: 0, ended: false };
      unwritten.set(runId, waiting);
    }
    return waiting;
  }

  /** Invariant 2. */
  function makeRoom(): void {
    for (const [runId, waiting] of unwritten) {
      if (unwrittenBytes <= options.maxBufferedBytes) return;
      if (waiting.events.length === 0) continue;
      log.error({ runId, events: waiting.events.length }, "events that could not be written to the ledger are lost");
      metrics.ledgerLostEvents.inc(waiting.events.length);
      unwrittenBytes -= waiting.bytes;
      waiting.events = [];
      waiting.bytes = 0;
    }
  }

  /** 5 */
  function leaveOut(runId: string, { event, id }: StreamEvent): void {
    log.warn({ runId, event, id }, "an event is larger than what the ledger keeps of a run; it is not written");
    metrics.ledgerLostEvents.inc(1);
  }

  function flushAll(): Promise<void> {
    flushing ??= writeAll().finally(() => {
      flushing = undefined;
      if (unwritten.size > 0) flushSoon();
    });
    return flushing;
  }

  async function writeAll(): Promise<void> {
    while (unwritten.size > 0) {
      writing = writeBatch();
      if (!(await writing)) return;
    }
  }

  /** Whether it could be written. Never throws. */
  async function writeBatch(): Promise<boolean> {
    const batch = takeBatch();
    try {
      const segments = [...batch].flatMap(([runId, { events }]) =>
        segmentsOf(events).map((segment) => ({ ...segment, runId })),
      );
      if (segments.length > 0) await ledger.append(segments);
      for (const segment of segments) noteWritten(segment.runId, segment);
      if (isFailing) log.info("the ledger can be written again");
      isFailing = false;
    } catch (err) {
      if (!isFailing) log.error({ err }, "the ledger could not be written; trying again");
      isFailing = true;
      for (const [runId, taken] of batch) putBack(runId, taken); // 3
      makeRoom();
      return false;
    }
    for (const [runId, { ended }] of batch) if (ended) noteEnd(runId);
    foldNext();
    return true;
  }

  /** From the run that has waited longest; more of a run than fits stays. */
  function takeBatch(): ReadonlyMap<string, Unwritten> {
    const batch = new Map<string, Unwritten>();
    let room = BATCH_BYTES;
    for (const [runId, waiting] of unwritten) {
      if (room <= 0 || batch.size === BATCH_RUNS) break;
      let count = 0;
      let bytes = 0;
      for (const event of waiting.events) {
        if (bytes >= room) break;
        bytes += sizeOf(event);
        count++;
      }
      const isAll = count === waiting.events.length;
      batch.set(runId, {
        events: isAll ? waiting.events : waiting.events.splice(0, count),
        bytes,
        ended: isAll && waiting.ended,
      });
      if (isAll) unwritten.delete(runId);
      else waiting.bytes -= bytes;
      room -= bytes;
      unwrittenBytes -= bytes;
    }
    return batch;
  }

  function putBack(runId: string, taken: Unwritten): void {
    const waiting = waitingOf(runId);
    waiting.events = [...taken.events, ...waiting.events];
    waiting.bytes += taken.bytes;
    waiting.ended ||= taken.ended;
    unwrittenBytes += taken.bytes;
  }

  function noteWritten(runId: string, segment: LedgerSegment): void {
    const soFar = written.get(runId) ?? { pieces: 0, bytesSinceFolding: 0, foldAtBytes: options.maxBytesPerRun };
    written.set(runId, soFar);
    // Of an earlier claim there may be pieces that another process wrote.
    soFar.pieces += segment.fence > 1 ? 2 : 1;
    const bytes = Buffer.byteLength(segment.events);
    soFar.bytesSinceFolding += bytes;
    metrics.ledgerBytes.inc(bytes);
    if (soFar.bytesSinceFolding <= soFar.foldAtBytes) return;
    soFar.bytesSinceFolding = 0;
    soFar.foldAtBytes = options.maxBytesPerRun / 4;
    toFold.add(runId);
  }

  function noteEnd(runId: string): void {
    if ((written.get(runId)?.pieces ?? 0) > 1) toFold.add(runId);
    written.delete(runId);
  }

  /** Invariant 4: one run at a time, in the background. */
  function foldNext(): void {
    const [runId] = toFold;
    if (runId === undefined || folding !== undefined || isStopped) return;
    toFold.delete(runId);
    folding = foldRun({ ledger, runId, maxBytes: options.maxBytesPerRun, isStopped: () => isStopped })
      .catch((err: unknown) =>
        log.warn({ err, runId }, "a run's ledger could not be folded; it stays as it was written"),
      )
      .finally(() => {
        folding = undefined;
        foldNext();
      });
  }

  return {
    append(runId, event) {
      if (isStopped) return;
      const bytes = sizeOf(event);
      if (bytes > options.maxBytesPerRun) return leaveOut(runId, event);
      const waiting = waitingOf(runId);
      waiting.events.push(event);
      waiting.bytes += bytes;
      unwrittenBytes += bytes;
      if (unwrittenBytes > options.maxBufferedBytes) makeRoom();
      flushSoon();
    },

    end(runId) {
      if (isStopped) return;
      waitingOf(runId).ended = true;
      flushSoon();
    },

    async flush(runId) {
      while (unwritten.has(runId)) {
        if (flushing === undefined) void flushAll();
        if (!(await writing)) return;
      }
      await writing; // which may hold the last of it
    },

    async stop() {
      isStopped = true;
      timer?.forget();
      await flushing;
      await flushAll();
      const events = [...unwritten.values()].reduce((sum, waiting) => sum + waiting.events.length, 0);
      if (events > 0)
        log.error({ events }, "the gateway stops before the ledger could be written: these events are lost");
      await folding;
    },
  };
}

function sizeOf({ data }: StreamEvent): number {
  return data.length + EVENT_OVERHEAD_BYTES;
}
