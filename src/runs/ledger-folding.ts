/**
 * Folds what was written of a run piece by piece: chunks of one message grow together, superseded states go.
 *
 * Only neighbours without a hole between them, of one claim, become one: what a segment covers stays exact. It works
 * through a run step by step, so that nothing else waits for long, and it may be interrupted at any step.
 */
import { createFolding, type Folding } from "../bridge/folding.js";
import type { KeptSegment, LedgerPosition, RunLedger } from "../storage/ports/ledger.js";
import { eventsOf, isContinuation, isFull, toSegments } from "./ledger-segments.js";

export interface FoldRequest {
  readonly ledger: RunLedger;
  readonly runId: string;
  /** What is kept of the run afterwards; its oldest segments go first. */
  readonly maxBytes: number;
  readonly isStopped: () => boolean;
}

/** A group that is still larger when it is folded takes no more neighbours: it is written at once, and others wait for that. */
const GROUP_CHARS = 1_024 * 1_024;

/** What an event takes besides its data. A million short ones are much, however little they say. */
const HEAD_CHARS = 80;

/** Neighbours that become one. */
interface Group {
  readonly first: KeptSegment;
  last: KeptSegment;
  readonly numbers: number[];
  readonly folding: Folding;
  /** What they take as they are. */
  storedChars: number;
  /** How many events they hold. */
  count: number;
  /** All but the last are as large as segments become. */
  isFull: boolean;
  /** From here on it is looked how large they are when they are folded. */
  measureAtChars: number;
}

export async function foldRun({ ledger, runId, maxBytes, isStopped }: FoldRequest): Promise<void> {
  let position: LedgerPosition = { fence: 0, seq: 0 };
  let group: Group | undefined;
  while (!isStopped()) {
    const segment = await ledger.find(runId, position);
    if (group !== undefined && (segment === undefined || !takes(group, segment))) {
      await nextTurn();
      await replace(ledger, runId, group);
      await nextTurn();
      group = undefined;
    }
    if (segment === undefined) break;
    group = group === undefined ? groupOf(segment) : added(group, segment);
    position = { fence: segment.fence, seq: segment.lastSeq + 1 };
    await nextTurn();
  }
  await ledger.trim(runId, maxBytes);
}

function groupOf(segment: KeptSegment): Group {
  const group: Group = {
    first: segment,
    last: segment,
    numbers: [],
    folding: createFolding(),
    storedChars: 0,
    count: 0,
    isFull: true,
    measureAtChars: GROUP_CHARS,
  };
  return added(group, segment);
}

function added(group: Group, segment: KeptSegment): Group {
  const events = eventsOf(segment);
  for (const event of events) group.folding.push(event);
  group.count += events.length;
  if (group.numbers.length > 0 && !isFull(group.last)) group.isFull = false;
  group.last = segment;
  group.numbers.push(segment.number);
  group.storedChars += segment.events.length;
  return group;
}

function takes(group: Group, segment: KeptSegment): boolean {
  if (!isContinuation(group.last, segment)) return false;
  if (group.storedChars < group.measureAtChars) return true;
  const chars = group.folding.events().reduce((sum, { data }) => sum + data.length + HEAD_CHARS, 0);
  group.measureAtChars = group.storedChars + GROUP_CHARS - chars;
  return chars < GROUP_CHARS;
}

/** Worth a write where there are fewer segments afterwards, or where much of what they held is gone. */
async function replace(ledger: RunLedger, runId: string, group: Group): Promise<void> {
  if (group.numbers.length < 2) return;
  if (group.isFull && group.folding.events().length === group.count) return; // it would become what it is
  const { fence, firstSeq } = group.first;
  const merged = toSegments(group.folding.events(), { fence, firstSeq, lastSeq: group.last.lastSeq });
  await nextTurn();
  const chars = merged.reduce((sum, { events }) => sum + events.length, 0);
  const isSmaller = merged.length < group.numbers.length || chars < group.storedChars / 2;
  if (isSmaller && merged.length <= group.numbers.length) await ledger.replace(runId, group.numbers, merged);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
