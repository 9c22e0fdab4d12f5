/**
 * Events as the bytes of SSE frames.
 *
 * An event becomes bytes once, when its first reader needs them, and all its readers share those, as long as they are held
 * (`core/shared-memory.ts`).
 */
import { formatEventId } from "../bridge/bridge.js";
import { createSharedMemory } from "../core/shared-memory.js";
import type { StreamItem } from "../runs/reading.js";

export interface Frames {
  /** One frame, to be sent as it is: its bytes are shared and never change. */
  of(item: StreamItem): Uint8Array;
}

export interface FramesOptions {
  /** What may be held for readers to come; at least half of it is. */
  readonly maxBytes: number;
  readonly encode?: (item: StreamItem) => Uint8Array;
}

export function createFrames({ maxBytes, encode = encodeFrame }: FramesOptions): Frames {
  return createSharedMemory({ make: encode, bytesOf: (frame) => frame.length, maxBytes });
}

/** Data is one line already, and neither a name nor an id can hold a line break. Without an id no cursor can point at it. */
export function encodeFrame({ id, event, namespace, data }: StreamItem): Uint8Array {
  const name = namespace.length === 0 ? event : `${event}|${namespace.join("|")}`;
  const numbered = id === null ? "" : `id: ${formatEventId(id)}\n`;
  return Buffer.from(`${numbered}event: ${oneLine(name)}\ndata: ${data}\n\n`);
}

function oneLine(text: string): string {
  return /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, " ") : text;
}
