/**
 * The same story in fewer events: a run's tape as somebody needs it who joins later.
 *
 * 1. A client that reads the folded tape is in the same state as one that read the raw tape, and so is one that read the
 *    raw tape up to any event and the folded one from there.
 * 2. Adjacent token chunks of one message become one event with the id of the last. State events, and messages as they
 *    were so far, go where a later event says it all. Everything else stays, in order.
 * 3. Each event stands for the raw events `firstId` to `id`: those that it holds, and those before it that went. The last
 *    event of a claim always stays. So a tape tells which events there were.
 * 4. Folding further what was folded gives what folding all at once gives.
 */
import { compareEventIds, type EventId, type StreamEvent } from "./bridge.js";
import { chunksOf } from "./chunk-group.js";
import { createFolding, type FoldedEvent, firstOf } from "./folding.js";

export type { FoldedEvent } from "./folding.js";

/** Folds a tape, raw or folded in part. */
export function fold(tape: readonly FoldedEvent[]): readonly FoldedEvent[] {
  const folding = createFolding();
  for (const event of tape) folding.push(event);
  return folding.events();
}

/**
 * What a reader who has everything up to and including `after` still needs. Undefined when the tape has no such event:
 * the reader needs a snapshot.
 */
export function foldedAfter(tape: readonly FoldedEvent[], after: EventId): readonly FoldedEvent[] | undefined {
  const index = firstAfter(tape, after);
  const [before, next] = [tape[index - 1], tape[index]];
  const isLast = before !== undefined && compareEventIds(before.id, after) === 0;
  const isWithin = next !== undefined && compareEventIds(firstOf(next), after) <= 0;
  return isLast || isWithin ? restAfter(tape, after) : undefined;
}

/** The same for a reader of whom it is known that it lacks nothing before the rest of the tape. */
export function restAfter(tape: readonly FoldedEvent[], after: EventId): readonly FoldedEvent[] {
  const index = firstAfter(tape, after);
  const next = tape[index];
  if (next === undefined || compareEventIds(firstOf(next), after) > 0) return tape.slice(index);
  return [suffixOf(next, after.seq), ...tape.slice(index + 1)];
}

/** The raw events that a folded one holds: itself, or the chunks that it was made of. */
export function unfolded(event: FoldedEvent): readonly StreamEvent[] {
  const { parts, firstId: _, anchor: __, ...whole } = event;
  if (parts === undefined) return [event];
  const { fence } = event.id;
  return [...chunksOf(parts)].map(({ seq, data }) => ({ ...whole, id: { fence, seq }, data }));
}

/** Index of the first event whose id is greater: ids only grow, so halving finds it. */
function firstAfter(tape: readonly FoldedEvent[], after: EventId): number {
  let low = 0;
  let high = tape.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const event = tape[middle];
    if (event !== undefined && compareEventIds(event.id, after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What `event` says beyond the raw event `seq`, which it stands for. */
function suffixOf(event: FoldedEvent, seq: number): FoldedEvent {
  const { fence } = event.id;
  const { firstId: _, parts, ...whole } = event;
  const range = seq + 1 < event.id.seq ? { firstId: { fence, seq: seq + 1 } } : {};
  if (parts === undefined) return { ...whole, ...range };
  const missing = [...chunksOf(parts)].filter((chunk) => chunk.seq > seq);
  const [suffix] = fold(missing.map((chunk) => ({ ...whole, id: { fence, seq: chunk.seq }, data: chunk.data })));
  return { ...(suffix ?? event), ...range };
}
