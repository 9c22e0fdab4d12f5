/**
 * The events of one WebSocket, for all its subscriptions.
 *
 * 1. There is one reader, and an event that several subscriptions want is sent once. So events come in the thread's order,
 *    whatever they are wanted for.
 * 2. A subscription that comes later is first told what it missed, up to where the reader is; meanwhile the reader waits.
 */
import { createLock } from "../core/async.js";
import type { ProtocolEvent } from "../protocol/event.js";
import { type EventFilter, isWanted } from "../protocol/filter.js";
import type { EventStreams, Subscription } from "./protocol-stream.js";

export interface SocketEvents {
  /** Rejects when the thread cannot be read. `told` is called before the first of its events is sent. */
  subscribe(id: string, subscription: Subscription, told: () => void): Promise<void>;
  /** False when there is no such subscription. */
  unsubscribe(id: string): boolean;
  readonly count: number;
}

export interface SocketEventsOptions {
  readonly streams: EventStreams;
  readonly threadId: string;
  /** Resolves when the socket took it. */
  readonly send: (messages: readonly string[]) => Promise<void>;
  readonly signal: AbortSignal;
  /** The reader ended before the signal aborted. */
  readonly onFailure: (error: unknown) => void;
}

export function createSocketEvents({ streams, threadId, send, signal, onFailure }: SocketEventsOptions): SocketEvents {
  const subscriptions = new Map<string, Subscription>();
  const lock = createLock();
  /** Up to here everything that was wanted has been sent; undefined before there is a reader. */
  let position: number | undefined;

  const isNew = ({ seq }: ProtocolEvent, { since }: Subscription): boolean => since === undefined || seq > since;
  const sendWanted = (
    events: readonly ProtocolEvent[],
    filters: readonly (Subscription & EventFilter)[],
  ): Promise<void> => {
    const wanted = events.filter((event) => filters.some((each) => isNew(event, each) && isWanted(event, each)));
    return wanted.length === 0 ? Promise.resolve() : send(wanted.map(streams.json));
  };

  async function pump(since: number | undefined): Promise<void> {
    for await (const batch of streams.read(threadId, { since }, signal)) {
      await lock(async () => {
        await sendWanted(batch, [...subscriptions.values()]);
        position = batch.at(-1)?.seq ?? position;
      });
    }
  }

  /** 2 */
  async function catchUp(subscription: Subscription, until: number): Promise<void> {
    for await (const batch of streams.read(threadId, { since: subscription.since, until }, signal)) {
      await sendWanted(batch, [subscription]);
    }
  }

  return {
    subscribe(id, subscription, told) {
      return lock(async () => {
        told();
        if (position !== undefined) await catchUp(subscription, position);
        subscriptions.set(id, subscription);
        if (position !== undefined) return;
        position = subscription.since ?? 0;
        pump(subscription.since).catch(onFailure);
      });
    },
    unsubscribe: (id) => subscriptions.delete(id),
    get count() {
      return subscriptions.size;
    },
  };
}
