/**
 * Events ↔ the segments of the run ledger. Pure.
 *
 * An event is two lines of text: what it is, then its data as it came. The data is one line of JSON already; as a member of
 * the first line every quote in it would be escaped, and read again only to be written to a stream.
 */
import { type EventId, isNextEventId, type StreamEvent } from "../bridge/bridge.js";
import { fold } from "../bridge/fold.js";
import type { FoldedEvent } from "../bridge/folding.js";
import type { LedgerSegment } from "../storage/ports/ledger.js";

/** What a reader is given at once, and what one statement writes; an event that is larger stands alone. */
const SEGMENT_CHARS = 1_024 * 1_024;

/** Whether no other event could have been written with its own. */
export function isFull({ events }: Pick<LedgerSegment, "events">): boolean {
  return events.length >= SEGMENT_CHARS;
}

/** The places of one claim's log that events cover, whatever became of them when they were folded. */
export type Coverage = Pick<LedgerSegment, "fence" | "firstSeq" | "lastSeq">;

/** Cuts a claim's folded events into segments; together they cover what `coverage` says. */
export function toSegments(events: readonly FoldedEvent[], coverage: Coverage): LedgerSegment[] {
  const { fence } = coverage;
  const segments: LedgerSegment[] = [];
  let firstSeq = coverage.firstSeq;
  let lines: string[] = [];
  let chars = 0;
  const cut = (lastSeq: number): void => {
    segments.push({ fence, firstSeq, lastSeq, events: lines.join("\n") });
    firstSeq = lastSeq + 1;
    lines = [];
    chars = 0;
  };
  for (const [index, { data, ...head }] of events.entries()) {
    const headLine = JSON.stringify(head);
    lines.push(headLine, data);
    chars += headLine.length + data.length;
    const isLast = index === events.length - 1;
    if (isLast || chars >= SEGMENT_CHARS) cut(isLast ? coverage.lastSeq : head.id.seq);
  }
  return segments;
}

/** The events of a segment. */
export function eventsOf({ events }: Pick<LedgerSegment, "events">): readonly FoldedEvent[] {
  const lines = events.split("\n");
  const decoded: FoldedEvent[] = [];
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const head = JSON.parse(lines[index] ?? "") as Omit<FoldedEvent, "data">; // what toSegments wrote
    decoded.push({ ...head, data: lines[index + 1] ?? "" });
  }
  return decoded;
}

/** Folds what was published and cuts it into segments; where events are missing, or a new claim begins, so does a segment. */
export function segmentsOf(events: readonly StreamEvent[]): LedgerSegment[] {
  return consecutive(events).flatMap((piece) => {
    const [first, last] = [piece[0]?.id, piece.at(-1)?.id];
    if (first === undefined || last === undefined) return [];
    return toSegments(fold(piece), { fence: first.fence, firstSeq: first.seq, lastSeq: last.seq });
  });
}

function consecutive(events: readonly StreamEvent[]): readonly (readonly StreamEvent[])[] {
  const pieces: StreamEvent[][] = [];
  let before: EventId | undefined;
  for (const event of events) {
    const piece = pieces.at(-1);
    if (piece !== undefined && before !== undefined && isNextEventId(before, event.id)) piece.push(event);
    else pieces.push([event]);
    before = event.id;
  }
  return pieces;
}

export function firstIdOf({ fence, firstSeq }: Coverage): EventId {
  return { fence, seq: firstSeq };
}

export function lastIdOf({ fence, lastSeq }: Coverage): EventId {
  return { fence, seq: lastSeq };
}

/** Whether `next` goes on exactly where `before` ends. */
export function isContinuation(before: Coverage, next: Coverage): boolean {
  return before.fence === next.fence && before.lastSeq + 1 === next.firstSeq;
}
