/**
 * A run's events page by page, for clients that ask again and again instead of holding a stream.
 *
 * 1. Pages read one after the other hold the run's tape: nothing twice, nothing left out. Where something is missing, the
 *    client is told so and where it can go on; no page begins behind a gap.
 * 2. A page holds what is there already; only an empty one waits, for as long as it was told.
 * 3. A cursor that the run has not come to is refused: it is another run's.
 */
import { compareEventIds, type EventId, formatEventId, type StreamEvent } from "../bridge/bridge.js";
import { firstOf } from "../bridge/folding.js";
import type { Clock } from "../core/clock.js";
import { badRequest, eventsTrimmed } from "../core/errors.js";
import type { Run } from "../core/model.js";
import { isShown } from "./reading.js";
import type { RunTape } from "./tape.js";

export interface PageRequest {
  /** null: from the beginning. */
  readonly after: EventId | null;
  readonly limit: number;
  readonly waitMs: number;
  /** Aborts when nobody waits any more. */
  readonly signal: AbortSignal;
}

export interface EventPage {
  readonly events: readonly StreamEvent[];
  /** Behind what the next page begins; null while the beginning is as far as it goes. */
  readonly next: EventId | null;
  /** The run has ended, and this was all of it. */
  readonly isDone: boolean;
}

export interface RunPages {
  read(run: Run, request: PageRequest): Promise<EventPage>;
}

/** A page that is as large as this is full, however few its events are. */
const PAGE_CHARS = 4 * 1_024 * 1_024;

export function createRunPages({ tape, clock }: { readonly tape: RunTape; readonly clock: Clock }): RunPages {
  /** Invariant 3. */
  async function requireKept(run: Run, after: EventId | null): Promise<void> {
    const { last, isComplete, isLive } = await tape.end(run);
    if (last === undefined && isComplete) throw eventsTrimmed(`the events of run ${run.runId} are kept no more`, null);
    if (after === null || (last !== undefined && compareEventIds(after, last) <= 0)) return;
    const shown = formatEventId(after);
    if (!isLive && after.fence <= run.fence) {
      // A crash kept it from being written; the run goes on with a later claim, or its row alone knows how it ended.
      if (!isComplete) return;
      if (!(await tape.hasEnd(run.runId))) throw eventsTrimmed(`what follows ${shown} was not kept`, null);
    }
    throw badRequest(`after: run ${run.runId} has no event ${shown}; a cursor belongs to the run that it came from`);
  }

  return {
    async read(run, { after, limit, waitMs, signal }) {
      await requireKept(run, after);
      const stop = new AbortController();
      const batches = tape.read(run, {
        cursor: after === null ? { from: "start" } : { after },
        signal: AbortSignal.any([signal, stop.signal]),
        replay: "folded",
      });
      let forgetDeadline: (() => void) | undefined;
      const events: StreamEvent[] = [];
      let next = after;
      let chars = 0;
      const isFull = (): boolean => events.length >= limit || chars >= PAGE_CHARS;
      const page = (isDone = false): EventPage => ({ events, next, isDone });
      try {
        for (;;) {
          const { last, isComplete } = await tape.end(run);
          const isRead = last === undefined || (next !== null && compareEventIds(next, last) >= 0);
          if (isRead && isComplete) return page(true);
          if (isFull() || (isRead && (events.length > 0 || waitMs === 0))) return page(); // 2
          if (isRead) forgetDeadline ??= clock.after(waitMs, () => stop.abort());
          const step = await batches.next();
          if (step.done === true) return page(!stop.signal.aborted && !signal.aborted);
          if (step.value.kind === "gap") {
            if (events.length > 0) return page(); // 1: the next page tells it
            const rest = await batches.next();
            if (rest.done === true && stop.signal.aborted) return page();
            const first = rest.value?.kind === "events" ? rest.value.events[0] : undefined;
            throw eventsTrimmed(
              after === null
                ? "the oldest events are kept no more"
                : `what follows ${formatEventId(after)} is kept no more`,
              first === undefined ? null : cursorBefore(first),
            );
          }
          for (const event of step.value.events) {
            if (isFull()) break;
            next = event.id;
            if (!isShown(event)) continue;
            events.push(event);
            chars += event.data.length;
          }
        }
      } finally {
        forgetDeadline?.();
        stop.abort();
        await batches.return(undefined);
      }
    },
  };
}

function cursorBefore(event: StreamEvent): string {
  const { fence, seq } = firstOf(event);
  return formatEventId({ fence, seq: seq - 1 });
}
