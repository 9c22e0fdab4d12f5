/**
 * The events of one run as one log, wherever they are: in the bridge's log, in the ledger, or still to come.
 *
 * 1. The bridge's log is read wherever it goes on exactly where the reader stands. Otherwise the ledger is read from there,
 *    page by page, until the bridge's log does, or the run has nothing more to say.
 * 2. What a crash kept from being written is lost for everybody: a claim that begins after the end of the ledger is what
 *    comes next. A reader that had seen some of it is told that there is a gap.
 * 3. A gap is told once, and never where nothing is missing. The last thing told of an ended run is its end or a gap.
 * 4. Nothing is waited for that cannot come: when there is no log, the run's row decides whether there will be one. Where
 *    the bridge falls silent the ledger and the row are asked: another process may have died, or not reach the bridge.
 * 5. What the reader has is never told again, whichever of the two has it.
 */
import {
  type Cursor,
  compareEventIds,
  type EventId,
  isNextEventId,
  type LogExtent,
  type StreamBatch,
  type StreamBridge,
  StreamBrokenError,
  type StreamEvent,
  type SubscribeOptions,
} from "../bridge/bridge.js";
import { restAfter } from "../bridge/fold.js";
import { firstOf } from "../bridge/folding.js";
import { type Clock, pause } from "../core/clock.js";
import { isInFlight, type Run } from "../core/model.js";
import type { KeptSegment, RunLedger } from "../storage/ports/ledger.js";
import type { RunStore } from "../storage/ports/runs.js";
import { eventsOf, firstIdOf, lastIdOf } from "./ledger-segments.js";
import type { LedgerWriter } from "./ledger-writer.js";
import { RESULT_EVENT } from "./result.js";
import { isLastEvent } from "./run-log.js";

export interface RunTapeDeps {
  readonly bridge: StreamBridge;
  readonly ledger: RunLedger;
  readonly ledgerWriter: LedgerWriter;
  readonly runs: RunStore;
  /** Where other processes publish too. */
  readonly others?: {
    /** How long after an event was published it may be missing from the ledger. */
    readonly lagMs: number;
    /** As the rows of runs tell it. */
    readonly clock: Clock;
  };
}

export interface RunTape {
  /** As `subscribe` of a bridge; ends when the run has. */
  read(run: Run, options: SubscribeOptions): AsyncGenerator<StreamBatch>;
  /** The newest event that is there, and whether nothing will come after it. */
  end(
    run: Run,
  ): Promise<{ readonly last: EventId | undefined; readonly isComplete: boolean; readonly isLive: boolean }>;
  /** Where a reader begins who is told what is said from the moment of asking, whenever it begins to read. */
  now(run: Run): Promise<Cursor>;
  /** Whether the ledger holds the run's last word. */
  hasEnd(runId: string): Promise<boolean>;
  /** What the ledger holds as the result of a run that has ended. */
  result(runId: string): Promise<string | undefined>;
}

/** How many lags an event is waited for before it counts as lost: a machine, or a database, may have much to do. */
const MAX_WAITS = 4;

/** What precedes the first event of a run. */
const BEGINNING: EventId = { fence: 1, seq: 0 };
const GAP: StreamBatch = { kind: "gap" };

/** Where a reader stands. */
interface Place {
  /** It has everything up to here. */
  readonly at: EventId;
  /** Everything of the ledger up to here was read: it is the beginning, or the end of a page. */
  readonly inLedger: boolean;
  /** It was told that something is missing behind this. */
  readonly knowsGap: boolean;
}

export function createRunTape({ bridge, ledger, ledgerWriter, runs, others }: RunTapeDeps): RunTape {
  type ReadOptions = Omit<SubscribeOptions, "cursor">;

  async function* readFrom(run: Run, from: Place, options: ReadOptions): AsyncGenerator<StreamBatch> {
    const { runId } = run;
    const { signal } = options;
    let place = from;
    let isFlushed = false;
    let waits = 0;
    let hasEnded = false;
    let elsewhere: News = "none";
    let isOnlyInLedger = false; // the bridge's log does not know the reader's place
    while (!signal.aborted) {
      const live = elsewhere === "ended" ? undefined : await bridge.extent(runId);
      if (elsewhere === "ledger" || live === undefined || !goesOnFrom(live, place)) {
        const page = await pageAfter(runId, place);
        if (page !== undefined) {
          if (page.isBehindGap && !place.knowsGap) yield GAP;
          if (page.events.length > 0) yield { kind: "events", events: page.events };
          place = { at: page.last, inLedger: true, knowsGap: false };
          hasEnded = page.isEnd;
          isFlushed = false;
          waits = 0;
          continue;
        }
        if (elsewhere === "ledger") {
          elsewhere = "none";
          continue;
        }
        if (!isFlushed) {
          await ledgerWriter.flush(runId);
          isFlushed = true;
          continue;
        }
        const state = live === undefined ? await stateOf(run) : "in flight";
        const isEnded = state === "ended" || state === "over";
        if (isEnded && hasEnded) return;
        const isSeam = state === "in flight" && place.inLedger && (live === undefined || beginsClaim(live, place.at)); // 2
        const isBeyondEnd = live?.ended === true && compareEventIds(place.at, live.last) > 0;
        const mayCome = state !== "over" && !isBeyondEnd && waits < MAX_WAITS;
        if (others !== undefined && !isSeam && !place.knowsGap && mayCome) {
          await pause(others.clock, others.lagMs, signal);
          waits++;
          continue;
        }
        if (state === "gone") return requireNoEnd(run, elsewhere);
        if (!isSeam && !place.knowsGap) yield GAP;
        if (isEnded) return;
        place = { ...place, knowsGap: place.knowsGap || !isSeam };
      }
      elsewhere = "none";
      let goesOn = false;
      let isBehindGap = false; // what follows a gap is wherever the bridge says
      const cursor = cursorInto(live, place, isOnlyInLedger);
      isOnlyInLedger = "from" in cursor;
      for await (const batch of bridge.subscribe(runId, { ...options, cursor })) {
        if (batch.kind === "silence") {
          elsewhere = await newsOf(run, place);
          if (elsewhere === "none") continue;
          goesOn = true;
          break; // 4
        }
        if (batch.kind === "events") {
          for (const events of claimsOf(batch.events)) {
            const unread = isBehindGap ? events : unreadOf(events, place.at);
            const [first] = unread;
            if (first === undefined) continue;
            const step = isBehindGap ? "next" : await stepTo(runId, first, place, signal);
            if (step === "ledger") {
              elsewhere = "ledger";
              goesOn = true;
              break;
            }
            if (step === "gap") yield GAP;
            isOnlyInLedger = false;
            yield { kind: "events", events: unread };
            place = { at: unread.at(-1)?.id ?? place.at, inLedger: false, knowsGap: false };
            isBehindGap = false;
          }
          if (goesOn) break;
          isFlushed = false;
          waits = 0;
          continue;
        }
        if (isOnlyInLedger) continue; // the ids tell what is missing
        const now = await bridge.extent(runId);
        if (place.inLedger && !place.knowsGap && now !== undefined && goesOnFrom(now, place)) {
          isOnlyInLedger = true;
          goesOn = true;
          break;
        }
        goesOn = !place.knowsGap && now !== undefined && !goesOnFrom(now, place);
        if (goesOn) break; // the ledger may still have it
        if (!place.knowsGap) yield GAP;
        isBehindGap = true;
        const isBeyond = now !== undefined && compareEventIds(now.last, place.at) < 0;
        place = { ...place, at: isBeyond ? now.last : place.at, knowsGap: true };
      }
      if (!goesOn) return;
    }
  }

  async function* readNow(run: Run, options: ReadOptions): AsyncGenerator<StreamBatch> {
    const { runId } = run;
    if ((await bridge.extent(runId)) === undefined && (await stateOf(run)) !== "in flight") return yield GAP;
    let at: EventId | undefined;
    for await (const batch of bridge.subscribe(runId, { ...options, cursor: { from: "now" } })) {
      if (batch.kind !== "silence") {
        yield batch;
        if (batch.kind === "events") at = batch.events.at(-1)?.id ?? at;
        continue;
      }
      const place = { at: at ?? (await bridge.extent(runId))?.last ?? (await ledger.end(runId)) ?? BEGINNING };
      return yield* readFrom(run, { ...place, inLedger: false, knowsGap: false }, options); // 4
    }
  }

  /** How the bridge's event follows the place: directly, after what the ledger has, or after something that is lost. */
  async function stepTo(
    runId: string,
    event: StreamEvent,
    { at, knowsGap }: Place,
    signal: AbortSignal,
  ): Promise<"next" | "ledger" | "gap"> {
    const first = firstOf(event);
    if (knowsGap || compareEventIds(first, at) <= 0 || isNextEventId(at, first)) return "next";
    const isInLedger = async (): Promise<boolean> => {
      const segment = await ledger.find(runId, { fence: at.fence, seq: at.seq + 1 });
      return segment !== undefined && compareEventIds(firstIdOf(segment), first) < 0;
    };
    if (await isInLedger()) return "ledger";
    if (first.seq === 1 && first.fence > at.fence) return "next"; // 2
    for (let waits = 0; others !== undefined && waits < MAX_WAITS && !signal.aborted; waits++) {
      await pause(others.clock, others.lagMs, signal);
      if (await isInLedger()) return "ledger";
    }
    return "gap";
  }

  /** Where a reader goes on whom the bridge tells nothing. */
  async function newsOf(run: Run, { at }: Place): Promise<News> {
    const segment = await ledger.find(run.runId, { fence: at.fence, seq: at.seq + 1 });
    if (segment !== undefined) return "ledger";
    return (await stateOf(run)) === "in flight" ? "none" : "ended";
  }

  /** Of a run that was made for its thread nothing stays but what the bridge has. */
  function requireNoEnd({ payload }: Run, elsewhere: News): void {
    if (elsewhere === "ended" && payload.temporary) throw new StreamBrokenError("the end of the run is not known");
  }

  async function pageAfter(runId: string, { at, inLedger }: Place): Promise<Page | undefined> {
    const segment = await ledger.find(runId, inLedger ? { fence: at.fence, seq: at.seq + 1 } : at);
    if (segment === undefined) return undefined;
    const all = eventsOf(segment);
    const last = all.at(-1);
    return {
      events: restAfter(all, at),
      last: lastIdOf(segment),
      isBehindGap: !continues(segment, { at, inLedger }),
      isEnd: last !== undefined && isLastEvent(last),
    };
  }

  /** `over`: ended so long ago that all of it that will ever be in the ledger is there. */
  async function stateOf({ threadId, runId }: Run): Promise<"in flight" | "ended" | "over" | "gone"> {
    const row = await runs.get(threadId, runId);
    if (row === undefined) return "gone";
    if (isInFlight(row.status)) return "in flight";
    if (others === undefined) return "over";
    return others.clock.now() - row.updatedAt > MAX_WAITS * others.lagMs ? "over" : "ended";
  }

  /** The log's extent, unless the run has ended and the log does not say so: whoever was to say it may have died. */
  async function livingExtent(run: Run): Promise<LogExtent | undefined> {
    const live = await bridge.extent(run.runId);
    if (others === undefined || live === undefined || live.ended || (await stateOf(run)) === "in flight") return live;
    await pause(others.clock, others.lagMs);
    const later = await bridge.extent(run.runId);
    return later?.ended === true ? later : undefined;
  }

  async function end(run: Run): ReturnType<RunTape["end"]> {
    const live = await livingExtent(run);
    if (live !== undefined) return { last: live.last, isComplete: live.ended, isLive: true };
    await ledgerWriter.flush(run.runId);
    const isComplete = (await stateOf(run)) !== "in flight";
    return { last: await ledger.end(run.runId), isComplete, isLive: false };
  }

  return {
    read(run, { cursor, ...options }) {
      if ("after" in cursor) return readFrom(run, { at: cursor.after, inLedger: false, knowsGap: false }, options);
      if (cursor.from === "now") return readNow(run, options);
      return readFrom(run, { at: BEGINNING, inLedger: true, knowsGap: false }, options);
    },

    end,

    async now(run) {
      const { last, isComplete } = await end(run);
      if (isComplete) return { from: "now" };
      return last === undefined ? { from: "start" } : { after: last };
    },

    async hasEnd(runId) {
      const newest = await ledger.newest(runId);
      const last = newest === undefined ? undefined : eventsOf(newest).at(-1);
      return last !== undefined && isLastEvent(last);
    },

    async result(runId) {
      await ledgerWriter.flush(runId);
      const newest = await ledger.newest(runId);
      if (newest === undefined) return undefined;
      // The result precedes the end, and a large one fills a segment.
      const before = await ledger.find(runId, { fence: newest.fence, seq: newest.firstSeq - 1 });
      const events = [newest, before].flatMap((segment) => (segment === undefined ? [] : eventsOf(segment)));
      return events.find(({ event }) => event === RESULT_EVENT)?.data;
    },
  };
}

/** Where there is something that the bridge has not told: in the ledger, or in the run's row. */
type News = "none" | "ledger" | "ended";

interface Page {
  readonly events: readonly StreamEvent[];
  readonly last: EventId;
  /** Between the reader's place and this something is missing. */
  readonly isBehindGap: boolean;
  /** The run's last event is in it. */
  readonly isEnd: boolean;
}

/** Whether the log holds what comes after the place, if there is such an event. */
function goesOnFrom({ first, last }: LogExtent, { at, inLedger }: Place): boolean {
  if (isNextEventId(at, first)) return true;
  return compareEventIds(first, at) <= 0 && (inLedger || compareEventIds(at, last) <= 0);
}

/** Whether it begins with a claim's first event, of a later claim than the one that the reader knows. */
function beginsClaim({ first }: LogExtent, at: EventId): boolean {
  return first.seq === 1 && first.fence > at.fence;
}

/** Whether nothing is missing between the reader's place and the segment that was found from there. */
function continues(segment: KeptSegment, { at, inLedger }: Pick<Place, "at" | "inLedger">): boolean {
  const first = firstIdOf(segment);
  if (compareEventIds(first, at) <= 0 || isNextEventId(at, first)) return true;
  if (!inLedger || first.seq !== 1) return false;
  return compareEventIds(at, BEGINNING) !== 0 || segment.number === 1;
}

/** Where the bridge's log goes on for a reader at this place; what it tells again is left out (5). */
function cursorInto(live: LogExtent | undefined, { at, inLedger }: Place, isOnlyInLedger: boolean): Cursor {
  if (live === undefined || isOnlyInLedger || (inLedger && compareEventIds(live.last, at) < 0))
    return { from: "start" };
  const { first } = live;
  return { after: compareEventIds(first, at) <= 0 ? at : { fence: first.fence, seq: first.seq - 1 } };
}

/** The same events, cut where another claim begins. */
function claimsOf(events: readonly StreamEvent[]): readonly (readonly StreamEvent[])[] {
  if (events[0]?.id.fence === events.at(-1)?.id.fence) return [events]; // ids only grow
  const claims: (readonly StreamEvent[])[] = [];
  let start = 0;
  for (const [index, { id }] of events.entries()) {
    if (id.fence === events[start]?.id.fence) continue;
    claims.push(events.slice(start, index));
    start = index;
  }
  return [...claims, events.slice(start)];
}

function unreadOf(events: readonly StreamEvent[], at: EventId): readonly StreamEvent[] {
  const [first] = events;
  return first === undefined || compareEventIds(firstOf(first), at) > 0 ? events : restAfter(events, at);
}
