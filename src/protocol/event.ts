/**
 * The events of the event-streaming protocol, and where they stand on their thread.
 *
 * A thread's log is what its runs said, one claim after the other. An event's `seq` says which claim of the thread said it
 * and which place it has there, so it grows over runs, restarts and processes, and nothing counts it: the claim number is
 * given with the claim, the place is the log's. `id` is unique on the thread, whoever reads it and however often.
 */
import type { EventId } from "../bridge/bridge.js";

export interface ProtocolEvent {
  readonly id: string;
  readonly seq: number;
  readonly method: string;
  /** What subscriptions call it: the method, `input` for questions, `custom:<name>` for what is named. */
  readonly channel: string;
  readonly namespace: readonly string[];
  /** The node that it is about, where it is about one. */
  readonly node?: string | undefined;
  /** Epoch milliseconds. */
  readonly timestamp: number;
  /** One line of JSON. */
  readonly data: string;
}

/** Where events stand: 21 bits of claims on a thread, 22 bits of entries in a claim, 10 bits of events of one entry. */
const ENTRIES = 2 ** 22;
const EVENTS = 2 ** 10;

/** Events past what fits share the last number: they stay in order, and their ids stay apart. */
export function seqOf(claim: number, entry: number, index: number): number {
  return (claim * ENTRIES + Math.min(entry, ENTRIES - 1)) * EVENTS + Math.min(index, EVENTS - 1);
}

/** The greatest number that an entry's events can have. */
export function lastSeqOf(claim: number, entry: number): number {
  return seqOf(claim, entry, EVENTS - 1);
}

/** The greatest number that a claim's events can have. */
export function lastSeqOfClaim(claim: number): number {
  return lastSeqOf(claim, ENTRIES - 1);
}

/** The claim whose event has this number. */
export function claimOf(seq: number): number {
  return Math.floor(seq / (ENTRIES * EVENTS));
}

/** The thread's number of a run's claim, whose fences count from 1. */
export function claimNumber(firstClaim: number, { fence }: Pick<EventId, "fence">): number {
  return firstClaim + fence - 1;
}

/** The number of the event with this id; undefined for what is no id, or one that says nothing of the event's place. */
export function seqOfEventId(id: string): number | undefined {
  const parts = /^(\d+)-(\d+)(?:\.(\d+))?$/.exec(id);
  if (parts === null) return undefined;
  const seq = seqOf(Number(parts[1]), Number(parts[2]), Number(parts[3] ?? 0));
  return Number.isSafeInteger(seq) ? seq : undefined;
}

/** As the wire shows it. */
export function eventJson({ id, seq, method, namespace, node, timestamp, data }: ProtocolEvent): string {
  const place = node === undefined ? "" : `"node":${JSON.stringify(node)},`;
  const params = `{"namespace":${JSON.stringify(namespace)},"timestamp":${timestamp},${place}"data":${data}}`;
  return `{"type":"event","event_id":${JSON.stringify(id)},"seq":${seq},"method":${JSON.stringify(method)},"params":${params}}`;
}
