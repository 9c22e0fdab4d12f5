/**
 * The events of one run as one log, wherever they are: in the memory log, in the ledger, or still to come.
 *
 * 1. The memory log is read wherever it goes on exactly where the reader stands. Otherwise the ledger is read from there,
 *    page by page, until the memory log does, or the run has nothing more to say.
 * 2. What a crash kept from being written is lost for everybody: a claim that begins after the end of the ledger is what
 *    comes next. A reader that had seen some of it is told that there is a gap.
 * 3. A gap is told once, and never where nothing is missing. The last thing told of an ended run is its end or a gap.
 * 4. Nothing is waited for that cannot come: when there is no memory log, the run's row decides whether there will be one.
 */
import {
  type Cursor,
  compareEventIds,
  type EventId,
  isNextEventId,
  type LogExtent,
  type StreamBatch,
  type StreamBridge,
  type StreamEvent,
  type SubscribeOptions,
} from "../bridge/bridge.js";
import { restAfter } from "../bridge/fold.js";
import { isInFlight, type Run } from "../core/model.js";
import type { KeptSegment, RunLedger, RunStore } from "../storage/storage.js";
import { eventsOf, firstIdOf, lastIdOf } from "./ledger-segments.js";
import type { LedgerWriter } from "./ledger-writer.js";
import { RESULT_EVENT } from "./result.js";
import { isLastEvent } from "./run-log.js";

export interface RunTapeDeps {
  readonly bridge: StreamBridge;
  readonly ledger: RunLedger;
  readonly ledgerWriter: LedgerWriter;
  readonly runs: RunStore;
}

export interface RunTape {
  /** As `subscribe` of a bridge; ends when the run has. */
  read(run: Run, options: SubscribeOptions): AsyncGenerator<StreamBatch>;
  /** The newest event that is there, and whether nothing will come after it. */
  end(
    run: Run,
  ): Promise<{ readonly last: EventId | undefined; readonly isComplete: boolean; readonly isLive: boolean }>;
  /** Whether the ledger holds the run's last word. */
  hasEnd(runId: string): Promise<boolean>;
  /** What the ledger holds as the result of a run that has ended. */
  result(runId: string): Promise<string | undefined>;
}

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

export function createRunTape({ bridge, ledger, ledgerWriter, runs }: RunTapeDeps): RunTape {
  async function* read(run: Run, { cursor, ...options }: SubscribeOptions): AsyncGenerator<StreamBatch> {
    const { runId } = run;
    const { signal } = options;
    if ("from" in cursor && cursor.from === "now") return yield* readNow(run, options);
    let place: Place =
      "after" in cursor
        ? { at: cursor.after, inLedger: false, knowsGap: false }
        : { at: BEGINNING, inLedger: true, knowsGap: false };
    let isFlushed = false;
    let hasEnded = false;
    while (!signal.aborted) {
      const live = await bridge.extent(runId);
      if (live === undefined || !goesOnFrom(live, place.at)) {
        const page = await pageAfter(runId, place);
        if (page !== undefined) {
          if (page.isBehindGap && !place.knowsGap) yield GAP;
          if (page.events.length > 0) yield { kind: "events", events: page.events };
          place = { at: page.last, inLedger: true, knowsGap: false };
          hasEnded = page.isEnd;
          isFlushed = false;
          continue;
        }
        if (!isFlushed) {
          await ledgerWriter.flush(runId);
          isFlushed = true;
          continue;
        }
        const state = live === undefined ? await stateOf(run) : "in flight";
        if (state === "gone" || (state === "ended" && hasEnded)) return;
        const isSeam = state === "in flight" && place.inLedger && (live === undefined || beginsClaim(live, place.at)); // 2
        if (!isSeam && !place.knowsGap) yield GAP;
        if (state === "ended") return;
        place = { ...place, knowsGap: place.knowsGap || !isSeam };
      }
      let isEvicted = false;
      for await (const batch of bridge.subscribe(runId, { ...options, cursor: cursorInto(live, place.at) })) {
        if (batch.kind === "events") {
          yield batch;
          place = { at: batch.events.at(-1)?.id ?? place.at, inLedger: false, knowsGap: false };
          isFlushed = false;
          continue;
        }
        const now = await bridge.extent(runId);
        isEvicted = !place.knowsGap && now !== undefined && !goesOnFrom(now, place.at);
        if (isEvicted) break; // the ledger may still have it
        if (!place.knowsGap) yield GAP;
        place = { ...place, knowsGap: true };
      }
      if (!isEvicted) return;
    }
  }

  async function* readNow(run: Run, options: Omit<SubscribeOptions, "cursor">): AsyncGenerator<StreamBatch> {
    if ((await bridge.extent(run.runId)) === undefined && (await stateOf(run)) !== "in flight") yield GAP;
    else yield* bridge.subscribe(run.runId, { ...options, cursor: { from: "now" } });
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

  async function stateOf({ threadId, runId }: Run): Promise<"in flight" | "ended" | "gone"> {
    const row = await runs.get(threadId, runId);
    if (row === undefined) return "gone";
    return isInFlight(row.status) ? "in flight" : "ended";
  }

  return {
    read,

    async end(run) {
      const live = await bridge.extent(run.runId);
      if (live !== undefined) return { last: live.last, isComplete: live.ended, isLive: true };
      await ledgerWriter.flush(run.runId);
      const isComplete = (await stateOf(run)) !== "in flight";
      return { last: await ledger.end(run.runId), isComplete, isLive: false };
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

interface Page {
  readonly events: readonly StreamEvent[];
  readonly last: EventId;
  /** Between the reader's place and this something is missing. */
  readonly isBehindGap: boolean;
  /** The run's last event is in it. */
  readonly isEnd: boolean;
}

/** Whether the log holds what comes after `at`, if there is such an event. */
function goesOnFrom({ first }: LogExtent, at: EventId): boolean {
  return compareEventIds(first, at) <= 0 || isNextEventId(at, first);
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

function cursorInto(live: LogExtent | undefined, at: EventId): Cursor {
  if (live === undefined) return { from: "start" };
  const { first } = live;
  return { after: compareEventIds(first, at) <= 0 ? at : { fence: first.fence, seq: first.seq - 1 } };
}
