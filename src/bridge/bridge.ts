/**
 * The port between the process that executes a run and everybody who watches it.
 *
 * A bridge keeps one log per run. Publishing appends; a subscriber is a cursor over that log, so replay and live events
 * come from one source and any number of readers see the same events. `Signals` are hints without payload: losing one
 * makes something slower, never wrong.
 */

/** `<fence>-<seq>`: the fence grows with every claim of the run, the owner of a fence numbers its events from 1. */
export interface EventId {
  readonly fence: number;
  readonly seq: number;
}

export interface StreamEvent {
  readonly id: EventId;
  /** The wire name without namespace, such as `values` or `messages/partial`. */
  readonly event: string;
  /** Empty for the root graph, else `node:task_id` segments. */
  readonly namespace: readonly string[];
  /** One line of JSON, serialised once where the event was produced. */
  readonly data: string;
  /** When it was produced, epoch milliseconds. */
  readonly at: number;
}

/** Where a reader starts: from the beginning, strictly after an id, or with what comes next (of a complete log, the end). */
export type Cursor = { readonly from: "start" } | { readonly from: "now" } | { readonly after: EventId };

/**
 * What a subscription yields: events in log order, as many at once as there are, or a gap where the cursor points to
 * something the log does not hold (evicted, or never published): the reader must show a snapshot before going on.
 */
export type StreamBatch =
  | { readonly kind: "events"; readonly events: readonly StreamEvent[] }
  | { readonly kind: "gap" };

/**
 * Of a bridge that processes share: nothing has come for a while, and the bridge cannot tell whether there is something. A
 * reader who can looks elsewhere; the subscription goes on.
 */
export interface Silence {
  readonly kind: "silence";
}

/**
 * How what a log holds already is told to somebody who joins: event by event, or folded (`bridge/fold.ts`), which brings a
 * client to the same state with less. What is published later is never folded.
 */
export type Replay = "raw" | "folded";

export interface SubscribeOptions {
  readonly cursor: Cursor;
  readonly signal: AbortSignal;
  /** `raw` unless it is given. */
  readonly replay?: Replay | undefined;
}

/** The ids between which a log is retained. */
export interface LogExtent {
  readonly first: EventId;
  readonly last: EventId;
  /** Whether the log is complete. */
  readonly ended: boolean;
}

export interface StreamBridge {
  /**
   * Appends to the run's log. An id that is not greater than the last one comes from a zombie: false, nothing changes. A
   * shared bridge may find that out later; readers see nothing of it all the same. A promise sets the pace.
   */
  publish(runId: string, event: StreamEvent): boolean | Promise<boolean>;
  /** Marks the log complete: subscriptions finish after the last event. */
  end(runId: string): void | Promise<void>;
  /** Whether the run's log is retained here, complete or not. */
  has(runId: string): boolean | Promise<boolean>;
  /** What is retained of the run's log; undefined while that is no event. */
  extent(runId: string): LogExtent | undefined | Promise<LogExtent | undefined>;
  /**
   * Reads the run's log. Waits for a run that has not published yet; returns at the end of a complete log; throws
   * `StreamBrokenError` when the bridge closes first, because an unfinished stream must never look finished. Where a claim
   * ends that did not end the run, what its owner could not share is not in the log: the ledger may have it.
   */
  subscribe(runId: string, options: SubscribeOptions): AsyncIterable<StreamBatch | Silence>;
  /** Forgets the log of a run that was deleted; its subscriptions finish. */
  drop(runId: string): void | Promise<void>;
  close(): void | Promise<void>;
}

/** The stream stops although the run goes on; the connection must be cut, not ended (W2). */
export class StreamBrokenError extends Error {
  override readonly name = "StreamBrokenError";
}

export interface Signals {
  send(topic: string): void;
  /** Calls `listener` at every later `send` of the topic; the returned function stops it. */
  on(topic: string, listener: () => void): () => void;
}

export function compareEventIds(a: EventId, b: EventId): number {
  return a.fence - b.fence || a.seq - b.seq;
}

/** Whether nothing can come between the two: an owner numbers its events without holes. */
export function isNextEventId(id: EventId, next: EventId): boolean {
  return id.fence === next.fence && id.seq + 1 === next.seq;
}

export function formatEventId(id: EventId): string {
  return `${id.fence}-${id.seq}`;
}
