/**
 * S1: what a reader saw over all its connections is the run's log, nothing lost, repeated or reordered.
 *
 * The log itself is nowhere whole: readers are compared with each other and with the ledger. A folded tape is the same log,
 * therefore tokens are compared as text per message, and of `values` only the last of a claim; everything else one by one.
 * What a dead process had published and not kept is lost for those who had not read it: readers are compared with each other
 * in the last claim only, with the ledger in all.
 */
import type { Connection, SeenEvent } from "./history-data.js";
import { canonical, type Finder, groupBy, type HistoryView } from "./history-view.js";

export interface EventPlace {
  readonly fence: number;
  readonly seq: number;
}

/** undefined for what is no event id, such as the cursor `-1`. */
export function placeOf(id: string): EventPlace | undefined {
  const parts = /^(\d+)-(\d+)$/.exec(id);
  return parts === null ? undefined : { fence: Number(parts[1]), seq: Number(parts[2]) };
}

/** A reader's tape from one cursor on: its connections that continue each other. */
interface Tape {
  readonly reader: string;
  readonly runId: string;
  /** The tape holds what is after it. */
  readonly after: EventPlace;
  readonly frames: readonly Frame[];
  /** Whether it reaches the end of the log. */
  readonly isWhole: boolean;
  /** undefined where it was not heard. */
  readonly lastWord: string | undefined;
  /** What came before the last snapshot may be missing. */
  readonly knownFrom: EventPlace;
}

/** The last word is told anew, with an id of its own, where a log is no longer kept: compared by its name only. */
function isLastWord({ event }: SeenEvent): boolean {
  return event === "end" || event === "error";
}

interface Frame extends SeenEvent {
  readonly place: EventPlace;
}

const START: EventPlace = { fence: 0, seq: 0 };

function compare(a: EventPlace, b: EventPlace): number {
  return a.fence - b.fence || a.seq - b.seq;
}

/** Order of a connection's ids, and how it ends. */
export const streamOutOfOrder: Finder = function* (view) {
  for (const connections of continued(view)) {
    const { reader, runId } = connections[0];
    let last = placeOf(connections[0].cursor ?? "-1") ?? START;
    for (const { events } of connections) {
      for (const { id } of events) {
        const place = id === null ? undefined : placeOf(id);
        if (id !== null && place === undefined) yield `run ${runId}: ${reader} saw the id ${id}`;
        if (place === undefined) continue;
        // An older fence is another rule's business.
        if (place.fence === last.fence && place.seq <= last.seq) {
          yield `run ${runId}: ${reader} saw ${id} after ${last.fence}-${last.seq}`;
        }
        if (compare(place, last) > 0) last = place;
      }
    }
  }
};

/**
 * A stream ends with its run's end, and after that nothing follows (W2). A run whose row was deleted, as a rollback does, has no
 * end that could be told where its log is gone, too.
 */
export const streamEndsWrongly: Finder = function* (view) {
  for (const connections of continued(view)) {
    let isOver = false; // who was cut after the end, and comes back from there, is told nothing more
    for (const { reader, runId, events, ended } of connections) {
      const end: number = isOver ? 0 : events.findIndex(isLastWord) + 1;
      isOver ||= end > 0;
      if (isOver && end < events.length) yield `run ${runId}: ${reader} saw ${events[end]?.event} after the end`;
      if (ended !== "end" || isOver) continue;
      const course = view.timelines.get(runId) ?? [];
      if (course.at(-1)?.newStatus === null) continue;
      const told = events.slice(-3).map(({ id, event }) => `${id} ${event}`);
      const states = course.map(({ newStatus, fence }) => `${newStatus} by claim ${fence}`);
      yield `run ${runId}: the stream of ${reader} was ended before the run's end: [${told}] of a run that was [${states}]`;
    }
  }
};

/** Loss and difference between readers, and between readers and the ledger. */
export const tapesDiffer: Finder = function* (view) {
  const tapes = groupBy([...continued(view)].map(tapeOf), ({ runId }) => runId);
  const ledger = new Map((view.history.ledger ?? []).map(({ runId, events }) => [runId, ledgerTape(runId, events)]));
  for (const [runId, ofRun] of tapes) {
    const kept = ledger.get(runId);
    const all = kept === undefined ? ofRun : [...ofRun, kept];
    const lastFence = Math.max(...all.flatMap(({ frames }) => frames.map(({ place }) => place.fence)));
    yield* contradictions(runId, all);
    const lastWords = new Set(all.flatMap(({ lastWord }) => lastWord ?? []));
    if (lastWords.size > 1) yield `run ${runId} ended with ${[...lastWords].join(" and with ")}`;
    yield* missing(all, ({ place }) => place.fence === lastFence);
    yield* texts(all, lastFence);
    if (kept !== undefined) for (const tape of ofRun) yield* missing([tape], () => true, kept.frames);
  }
};

/** Connections in runs that continue each other. */
function* continued({ readers }: HistoryView): Generator<readonly [Connection, ...Connection[]]> {
  for (const connections of groupBy(readers, ({ reader, runId }) => JSON.stringify([reader, runId])).values()) {
    let tape: [Connection, ...Connection[]] | undefined;
    let last: string | null = null;
    for (const connection of connections) {
      if (tape !== undefined && connection.cursor !== null && connection.cursor === last) tape.push(connection);
      else {
        if (tape !== undefined) yield tape;
        tape = [connection];
        last = connection.cursor;
      }
      last = connection.events.findLast(({ id }) => id !== null)?.id ?? last;
    }
    if (tape !== undefined) yield tape;
  }
}

function tapeOf(connections: readonly [Connection, ...Connection[]]): Tape {
  const [{ reader, runId, cursor }] = connections;
  const after = placeOf(cursor ?? "-1") ?? START;
  const frames: Frame[] = [];
  let knownFrom = after;
  let afterSnapshot = false;
  for (const event of connections.flatMap(({ events }) => events)) {
    const place = event.id === null ? undefined : placeOf(event.id);
    if (place === undefined) {
      afterSnapshot ||= event.event === "values" || event.event === "metadata"; // told anew: what was before it is gone
      continue;
    }
    if (afterSnapshot) knownFrom = place;
    afterSnapshot = false;
    if (!isLastWord(event)) frames.push({ ...event, place });
  }
  const last = connections.at(-1);
  return {
    reader,
    runId,
    after,
    frames,
    knownFrom,
    isWhole: last?.ended === "end",
    lastWord: last?.events.find(isLastWord)?.event,
  };
}

function ledgerTape(runId: string, events: readonly SeenEvent[]): Tape {
  const connection: Connection = { reader: "the ledger", runId, cursor: null, events, ended: "open" };
  const tape = tapeOf([connection]);
  return { ...tape, isWhole: tape.lastWord !== undefined };
}

/** One id, one event. Tokens and superseded states may be folded differently. */
function* contradictions(runId: string, tapes: readonly Tape[]): Generator<string> {
  const known = new Map<string, { readonly reader: string; readonly text: string }>();
  for (const { reader, frames } of tapes) {
    for (const frame of frames) {
      const key = `${frame.place.fence}-${frame.place.seq}`;
      const text = `${frame.event} ${isTokens(frame) ? "" : canonical(frame.data)}`;
      const other = known.get(key);
      if (other === undefined) known.set(key, { reader, text });
      else if (other.text !== text)
        yield `run ${runId}: event ${key} is not the same for ${other.reader} and ${reader}`;
    }
  }
}

/** What is kept one by one, and of `values` the last, must be in every tape that spans its place. */
function* missing(
  tapes: readonly Tape[],
  counts: (frame: Frame) => boolean,
  among: readonly Frame[] = tapes.flatMap(({ frames }) => frames),
): Generator<string> {
  const kept = new Map<string, Frame>();
  const lastValues = new Map<string, Frame>();
  for (const frame of among.filter(counts)) {
    if (isTokens(frame)) continue;
    if (!isValues(frame)) kept.set(`${frame.place.fence}-${frame.place.seq}`, frame);
    else {
      const key = `${frame.place.fence} ${frame.event}`;
      const other = lastValues.get(key);
      if (other === undefined || compare(other.place, frame.place) < 0) lastValues.set(key, frame);
    }
  }
  for (const tape of tapes) {
    const places = new Set(tape.frames.map(({ place }) => `${place.fence}-${place.seq}`));
    const until = tape.isWhole ? undefined : (tape.frames.at(-1)?.place ?? tape.after);
    for (const frame of [...kept.values(), ...lastValues.values()]) {
      if (places.has(`${frame.place.fence}-${frame.place.seq}`)) continue;
      if (compare(frame.place, tape.after) <= 0 || compare(frame.place, tape.knownFrom) < 0) continue;
      if (until !== undefined && compare(frame.place, until) > 0) continue;
      yield `run ${tape.runId}: ${tape.reader} missed ${frame.event} ${frame.place.fence}-${frame.place.seq}`;
    }
  }
}

/** The text of every message in the claim: equal, a beginning, or exactly what follows the cursor. */
function* texts(tapes: readonly Tape[], fence: number): Generator<string> {
  const before = (tape: Tape): boolean => compare(tape.after, { fence, seq: 1 }) < 0 && tape.knownFrom === tape.after;
  const full = tapes.filter(before);
  const reference = full.find(({ isWhole }) => isWhole) ?? longest(full, fence);
  if (reference === undefined) return;
  const whole = messageTexts(reference.frames, fence);
  for (const tape of tapes) {
    if (tape === reference || (!before(tape) && tape.knownFrom !== tape.after)) continue; // a snapshot stands for some of it
    const seen = messageTexts(tape.frames, fence);
    for (const message of new Set([...whole.keys(), ...seen.keys()])) {
      const text = seen.get(message) ?? "";
      const expected = before(tape)
        ? (whole.get(message) ?? "")
        : textAfter(reference, fence, { message, after: tape.after });
      if (expected === undefined) {
        if (tape.isWhole && !(whole.get(message) ?? "").endsWith(text)) yield differs(tape, reference, message);
      } else if (tape.isWhole && reference.isWhole ? text !== expected : !isBeginning(text, expected)) {
        yield differs(tape, reference, message);
      }
    }
  }
}

function differs({ runId, reader }: Tape, reference: Tape, message: string): string {
  return `run ${runId}: ${reader} and ${reference.reader} saw different texts of ${message}`;
}

function isBeginning(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

function longest(tapes: readonly Tape[], fence: number): Tape | undefined {
  const length = (tape: Tape): number => [...messageTexts(tape.frames, fence).values()].join("").length;
  return [...tapes].sort((a, b) => length(b) - length(a))[0];
}

/** undefined where the reference does not show the cursor's place: it may lie inside of a folded frame. */
function textAfter(
  reference: Tape,
  fence: number,
  { message, after }: { readonly message: string; readonly after: EventPlace },
): string | undefined {
  if (!reference.frames.some(({ place }) => compare(place, after) === 0)) return undefined;
  const later = reference.frames.filter(({ place }) => compare(place, after) > 0);
  return messageTexts(later, fence).get(message) ?? "";
}

/** By event name and message id: the text of all its tokens, those of tool calls included. */
function messageTexts(frames: readonly Frame[], fence: number): Map<string, string> {
  const found = new Map<string, string>();
  for (const frame of frames) {
    if (frame.place.fence !== fence || nameOf(frame) !== "messages" || !Array.isArray(frame.data)) continue;
    const [message] = frame.data as readonly unknown[];
    const key = `${frame.event} ${String((message as { id?: unknown } | null)?.id)}`;
    found.set(key, (found.get(key) ?? "") + textOf(message));
  }
  return found;
}

function textOf(message: unknown): string {
  const { content, tool_call_chunks: calls } = message as { content?: unknown; tool_call_chunks?: unknown };
  const blocks = Array.isArray(content) ? content.map((block) => blockText(block)).join("") : blockText(content);
  const args = Array.isArray(calls) ? calls.map((call: { args?: unknown }) => String(call.args ?? "")).join("") : "";
  return blocks + args;
}

function blockText(block: unknown): string {
  if (typeof block === "string") return block;
  const { text, reasoning } = (block ?? {}) as { text?: unknown; reasoning?: unknown };
  return String(text ?? reasoning ?? "");
}

/** `values|child:1` → `values`. */
function nameOf({ event }: SeenEvent): string {
  return event.split("|", 1)[0] ?? event;
}

function isTokens(event: SeenEvent): boolean {
  return nameOf(event) === "messages" || nameOf(event) === "messages/partial";
}

function isValues(event: SeenEvent): boolean {
  return nameOf(event) === "values";
}
