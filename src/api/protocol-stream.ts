/** A thread's events for one subscriber. Events become bytes once for all who read them live. */
import type { Caller, PerCaller } from "../core/caller.js";
import { createSharedMemory } from "../core/shared-memory.js";
import { eventJson, type ProtocolEvent } from "../protocol/event.js";
import { type EventFilter, isWanted } from "../protocol/filter.js";
import type { ThreadLog } from "../protocol/thread-log.js";
import type { EndlessStreams } from "./endless-stream.js";
import type { Connection } from "./run-stream.js";

export interface Subscription extends EventFilter {
  /** Only events with a greater `seq`. */
  readonly since?: number | undefined;
}

type ThreadLogReader = (
  threadId: string,
  range: { readonly since?: number | undefined; readonly until?: number | undefined },
  signal: AbortSignal,
) => AsyncGenerator<readonly ProtocolEvent[]>;

export interface EventStreams {
  /** As frames of SSE. */
  open(threadId: string, subscription: Subscription, connection: Connection): Promise<Response>;
  /** All of them; ends when the signal aborts, and behind `until` where that is given. */
  read: ThreadLogReader;
  /** An event as it stands in a message of a WebSocket. */
  json(event: ProtocolEvent): string;
}

export function createEventStreams(threadLog: ThreadLog, streams: EndlessStreams): PerCaller<EventStreams> {
  const frames = createSharedMemory({ make: encodeFrame, bytesOf: (frame) => frame.length, maxBytes: SHARED_BYTES });
  const texts = createSharedMemory({ make: eventJson, bytesOf: (text) => 2 * text.length, maxBytes: SHARED_BYTES });

  /** What of the thread's log the caller may read: of a thread out of sight nothing, for as long as it is. */
  async function logFor(caller: Caller, threadId: string): Promise<ThreadLog> {
    const { scope } = await caller.authorize("threads:read", { thread_id: threadId });
    return threadLog.within(scope);
  }

  async function* events(
    log: ThreadLog,
    { threadId, since, ...filter }: Subscription & { readonly threadId: string },
    signal: AbortSignal,
  ): AsyncGenerator<readonly ProtocolEvent[]> {
    for await (const batch of log.read(threadId, { since, signal })) {
      const wanted = batch.filter((event) => isWanted(event, filter));
      if (wanted.length > 0) yield wanted;
    }
  }

  return {
    as: (caller) => ({
      async open(threadId, subscription, connection) {
        const log = await logFor(caller, threadId);
        const wanted = { ...subscription, threadId };
        const chunks = async function* (signal: AbortSignal): AsyncGenerator<Uint8Array> {
          for await (const batch of events(log, wanted, signal)) yield Buffer.concat(batch.map(frames.of));
        };
        return streams.open({ threadId, chunks }, connection);
      },

      async *read(threadId, range, signal) {
        yield* (await logFor(caller, threadId)).read(threadId, { ...range, signal });
      },

      json: texts.of,
    }),
  };
}

/** What is held of frames, and of messages for WebSockets, for readers to come. */
const SHARED_BYTES = 16 * 1_024 * 1_024;

function encodeFrame(event: ProtocolEvent): Uint8Array {
  return Buffer.from(`id: ${event.id}\nevent: ${event.method}\ndata: ${eventJson(event)}\n\n`);
}
