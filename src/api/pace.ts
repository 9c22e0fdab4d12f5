/**
 * How fast readers are fed that take more than a conversation says.
 *
 * Who reads nothing takes megabytes all the same, into the buffers of the system, and a graph in this process waits
 * while they are copied. So the graph comes first:
 *
 * 1. What a reader of live tokens takes never waits.
 * 2. While the event loop has time to spare, the others are fed as fast as they read.
 * 3. While it has none, all of them together get `BUSY_BYTES_PER_MS`, in the order in which they asked.
 */
import { performance } from "node:perf_hooks";
import type { Clock } from "../core/clock.js";

export interface Pace {
  /** For one reader: when it may be sent a chunk of that many bytes; undefined for at once. */
  reader(): (bytes: number) => Promise<void> | undefined;
}

export interface PaceDeps {
  readonly clock: Clock;
  /** For how long the event loop had nothing to do since the last call. */
  readonly spareMs: () => number;
}

/** What a reader may take at any time, and how that grows again. */
const FREE_BYTES = 64 * 1_024;
const FREE_BYTES_PER_MS = 256;
/** A write costs as much as copying this many bytes. */
const WRITE_BYTES = 512;
/** How much is sent to all of them before the event loop gets its turn: about a millisecond's work. */
const TURN_BYTES = 1_024 * 1_024;
const BUSY_BYTES_PER_MS = 8 * 1_024;
const TURN_MS = 1;
/** Less is the grain of timers. */
const SPARE_MS = 0.2;

export function createPace({ clock, spareMs }: PaceDeps): Pace {
  const waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  let credit = TURN_BYTES;
  let filledAt = clock.now();
  let isTicking = false;

  function tick(): void {
    const now = clock.now();
    const elapsedMs = Math.max(now - filledAt, TURN_MS);
    filledAt = now;
    credit = spareMs() > SPARE_MS ? TURN_BYTES : Math.min(credit + elapsedMs * BUSY_BYTES_PER_MS, TURN_BYTES);
    while (credit > 0) {
      const next = waiting.shift();
      if (next === undefined) break;
      credit -= next.bytes;
      next.go();
    }
    isTicking = waiting.length > 0;
    if (isTicking) clock.after(TURN_MS, tick);
  }

  function inTurn(bytes: number): Promise<void> | undefined {
    if (waiting.length === 0 && credit > 0) {
      credit -= bytes;
      return undefined;
    }
    return new Promise((go) => {
      waiting.push({ bytes, go });
      if (isTicking) return;
      isTicking = true;
      clock.after(TURN_MS, tick);
    });
  }

  return {
    reader() {
      let free = FREE_BYTES;
      let grownAt = clock.now();
      return (bytes) => {
        const now = clock.now();
        free = Math.min(free + (now - grownAt) * FREE_BYTES_PER_MS, FREE_BYTES);
        grownAt = now;
        const cost = bytes + WRITE_BYTES;
        if (cost > free) return inTurn(cost);
        free -= cost;
        return undefined;
      };
    },
  };
}

/** Of the thread that calls it. */
export function createSpareTime(): () => number {
  let seenMs = performance.eventLoopUtilization().idle;
  return () => {
    const { idle } = performance.eventLoopUtilization();
    const spareMs = idle - seenMs;
    seenMs = idle;
    return spareMs;
  };
}
