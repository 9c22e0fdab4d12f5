/**
 * Folds a run's tape event by event, as it grows (see `bridge/fold.ts`, whose numbers this cites).
 *
 * The tape is a list from which an event can go when a later one replaces it; then its neighbours may turn out to be
 * chunks of one message.
 */
import { compareEventIds, type EventId, type StreamEvent } from "./bridge.js";
import {
  type ChunkGroup,
  type ChunkParts,
  createChunkGroup,
  type ReadChunk,
  readChunk,
  readChunkBefore,
} from "./chunk-group.js";
import { createMessagePlaces, type ValuesPlace } from "./message-places.js";
import { createMessageShape, type MessageShape } from "./message-shape.js";
import { createPartialReader } from "./partial-reader.js";

/** One event for several of the raw tape. Plain data. */
export interface FoldedEvent extends StreamEvent {
  /** The first raw event that this stands for; its own id unless given. */
  readonly firstId?: EventId;
  /** The raw chunks that `data` is made of. */
  readonly parts?: ChunkParts;
  /** Of a state event: it places messages (`bridge/message-places.ts`). */
  readonly anchor?: true;
}

export interface Folding {
  /** Adds the tape's next event, raw or folded. */
  push(event: FoldedEvent): void;
  /** The tape so far, folded. */
  events(): readonly FoldedEvent[];
  /** Lets go of what stands for raw events up to `id` only. */
  forget(id: EventId): void;
  /** About what it takes in memory besides the events that were pushed. */
  readonly bytes: number;
}

interface Entry {
  /** As it was pushed; of a group, its last. */
  event: FoldedEvent;
  firstId: EventId;
  readonly group: ChunkGroup | undefined;
  readonly place: ValuesPlace | undefined;
  bytes: number;
  /** The first of its kind, the last of its claim (3), or the state that a later claim goes on from. */
  stays: boolean;
  isGone: boolean;
  folded: FoldedEvent | undefined;
  previous: Entry | undefined;
  next: Entry | undefined;
}

export function createFolding(): Folding {
  let head: Entry | undefined;
  let tail: Entry | undefined;
  let tape: readonly FoldedEvent[] | undefined;
  let bytes = 0;
  const places = createMessagePlaces();
  const shapes = new Map<string, MessageShape>();
  const readPartial = createPartialReader();
  /** Of the newest event that tells the root's state. */
  let stateFence = 1;
  /** The newest event of a kind of which a later one makes the earlier superfluous. */
  const newest = new Map<string, Entry>();

  function append(event: FoldedEvent, own: Partial<Pick<Entry, "group" | "place">> = {}): Entry {
    const entry: Entry = {
      event,
      firstId: firstOf(event),
      group: own.group,
      place: own.place,
      bytes: 0,
      stays: false,
      isGone: false,
      folded: event,
      previous: tail,
      next: undefined,
    };
    if (tail === undefined) head = entry;
    else tail.next = entry;
    tail = entry;
    measure(entry);
    return entry;
  }

  function measure(entry: Entry): void {
    bytes -= entry.bytes;
    entry.bytes = entry.isGone ? 0 : ENTRY_BYTES + (entry.group?.bytes ?? 0);
    bytes += entry.bytes;
  }

  function remove(entry: Entry): void {
    const { previous, next } = entry;
    entry.isGone = true;
    measure(entry);
    if (previous === undefined) head = next;
    else previous.next = next;
    if (next === undefined) tail = previous;
    else next.previous = previous;
  }

  /** Lets `entry` go, which a later one replaces. */
  function drop(entry: Entry): void {
    const { previous, next } = entry;
    remove(entry);
    if (next === undefined) return;
    next.firstId = entry.firstId; // 3
    next.folded = undefined;
    if (previous?.group === undefined || next.group === undefined || previous.stays) return;
    if (canJoin(previous, next.event, next.group) && previous.group.addGroup(next.group)) {
      extend(previous, next.event);
      remove(next);
    }
  }

  function extend(entry: Entry, event: FoldedEvent): void {
    entry.event = event;
    entry.folded = undefined;
    measure(entry);
  }

  /** Appends an event that replaces the one before of this kind. */
  function replace(kind: string, entry: Entry, keepFirst: boolean): void {
    const before = newest.get(kind);
    newest.set(kind, entry);
    if (before === undefined) entry.stays = keepFirst;
    else if (!before.stays && !before.isGone && (before.place === undefined || places.drop(before.place))) drop(before);
  }

  /** With its first state a claim says where it goes on from: event streaming takes back what it says anew. */
  function keepFirstState({ namespace, id: { fence } }: FoldedEvent): void {
    if (namespace.length > 0 || fence === stateFence || tail === undefined) return;
    tail.stays = true;
    stateFence = fence;
  }

  function pushValues(event: FoldedEvent): void {
    const kind = `values|${event.namespace.join("|")}`;
    if (hasInterrupts(event.data)) {
      append(event); // clients add it to the state that they have
      return;
    }
    if (event.namespace.some(isOfSubagent)) {
      replace(kind, append(event), true); // the first tells clients whose it is
    } else {
      replace(kind, append(event, { place: places.values(event.data, event.anchor === true) }), false);
    }
    keepFirstState(event);
  }

  /** A state that only event streaming shows. The first of a graph tells where its messages begin. */
  function pushUnshownValues(event: FoldedEvent): void {
    replace(`#values|${event.namespace.join("|")}`, append(event), true);
    keepFirstState(event);
  }

  function pushPartial(event: FoldedEvent): void {
    const id = readPartial(event.data);
    const entry = append(event);
    // The first gives a message its place among others.
    if (id !== undefined) replace(`partial|${event.namespace.join("|")}|${id}`, entry, true);
  }

  function pushMessage(event: FoldedEvent): void {
    if (addText(event)) return;
    const read = readMessage(event);
    if (read === undefined || shapeOf(read.messageId).admit(read.chunk) === "alone") {
      append(event);
      return;
    }
    if (tail?.group === undefined || !canJoin(tail, event, read)) {
      append(event, { group: groupOf(event, read) });
    } else if (addTo(tail.group, event, read)) {
      extend(tail, event);
    } else {
      append(event);
    }
  }

  /** Takes a chunk that continues the group at the end by a text. */
  function addText(event: FoldedEvent): boolean {
    const group = tail?.group;
    if (tail === undefined || group === undefined || event.parts !== undefined) return false;
    const text = canJoin(tail, event, group) ? group.textOf(event.data) : undefined;
    if (text === undefined) return false;
    if (text !== "" && shapeOf(group.messageId).admitText() === "alone") return false;
    group.addText({ seq: event.id.seq, data: event.data }, text);
    extend(tail, event);
    return true;
  }

  /** Takes note of the message, and returns it when it is a chunk. */
  function readMessage({ event, data }: FoldedEvent): ReadChunk | undefined {
    const known = tail?.group === undefined ? undefined : readChunkBefore(tail.group.rest, data);
    if (known !== undefined) {
      if (event === "messages") places.message(known.messageId);
      return known;
    }
    const tuple = JSON.parse(data) as unknown;
    if (event === "#messages") return readChunk(tuple, data); // clients of REST do not see it
    const message = (Array.isArray(tuple) ? tuple[0] : undefined) as
      | { id?: unknown; type?: unknown }
      | null
      | undefined;
    if (typeof message?.id === "string" && message.id !== "") places.message(message.id);
    if (typeof message?.id !== "string" || message.type === "remove") places.unknown();
    return readChunk(tuple, data);
  }

  function shapeOf(messageId: string): MessageShape {
    const shape = shapes.get(messageId) ?? createMessageShape();
    shapes.set(messageId, shape);
    return shape;
  }

  return {
    push(event) {
      tape = undefined;
      if (tail !== undefined && tail.event.id.fence !== event.id.fence) tail.stays = true; // 3
      if (event.event === "values") pushValues(event);
      else if (event.event === "#values") pushUnshownValues(event);
      else if (event.event === "messages" || event.event === "#messages") pushMessage(event);
      else if (event.event === "messages/partial") pushPartial(event);
      else append(event);
    },

    events() {
      if (tape === undefined) {
        const events: FoldedEvent[] = [];
        for (let entry = head; entry !== undefined; entry = entry.next) events.push(foldedOf(entry));
        tape = events;
      }
      return tape;
    },

    forget(id) {
      while (head !== undefined && compareEventIds(head.event.id, id) <= 0) {
        tape = undefined;
        remove(head);
      }
    },

    get bytes() {
      return bytes;
    },
  };
}

/** What keeping an event in a list costs. */
const ENTRY_BYTES = 200;

/** The first raw event that `event` stands for. */
export function firstOf({ id, firstId }: FoldedEvent): EventId {
  return firstId ?? id;
}

function canJoin(
  { event, group }: Entry,
  next: StreamEvent,
  { messageId, rest }: Pick<ReadChunk, "messageId" | "rest">,
) {
  return (
    group?.messageId === messageId &&
    group.rest === rest &&
    event.event === next.event &&
    event.id.fence === next.id.fence &&
    event.namespace.join("|") === next.namespace.join("|")
  );
}

function groupOf({ id, data, parts }: FoldedEvent, read: ReadChunk): ChunkGroup {
  return createChunkGroup({ seq: id.seq, data }, read, parts);
}

function addTo(group: ChunkGroup, event: FoldedEvent, read: ReadChunk): boolean {
  if (event.parts !== undefined) return group.addGroup(groupOf(event, read));
  return group.add({ seq: event.id.seq, data: event.data }, read.chunk);
}

function foldedOf(entry: Entry): FoldedEvent {
  const { event, firstId, group, place } = entry;
  const anchor = place?.anchor === true;
  if (entry.folded === undefined || (entry.folded.anchor === true) !== anchor) {
    const { id, namespace, at } = event;
    entry.folded = {
      id,
      ...(compareEventIds(firstId, id) < 0 ? { firstId } : {}),
      event: event.event,
      namespace,
      data: group === undefined ? event.data : group.data(),
      at,
      ...(group !== undefined && group.size > 1 ? { parts: group.parts } : {}),
      ...(anchor ? { anchor } : {}),
    };
  }
  return entry.folded;
}

/** Clients merge such a state into the one that they have, instead of replacing it. */
function hasInterrupts(data: string): boolean {
  if (!data.includes('"__interrupt__"')) return false;
  const state = JSON.parse(data) as unknown;
  return typeof state === "object" && state !== null && "__interrupt__" in state;
}

/** Clients keep apart what comes from a graph that a tool runs. */
function isOfSubagent(segment: string): boolean {
  return segment.startsWith("tools:");
}
