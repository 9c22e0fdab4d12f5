/**
 * Carries an execution's events to another thread, many at once.
 *
 * 1. What was produced in one turn of the event loop travels together; a graph that never ends its turn is interrupted by
 *    size or time, so that its readers see it working.
 * 2. It sends no more than a window ahead of its reader: a graph that floods waits instead of filling the memory.
 * 3. A long event travels in parts, because its reader stands still while it takes a message.
 */
import type { GraphEvent } from "./host.js";

/** An event, or a part of one whose data goes on in the next. */
export interface EventPart extends GraphEvent {
  readonly isUnfinished?: true;
}

export interface EventOutbox {
  /** A promise when the window is full: to be awaited before the next event or part. */
  add(part: EventPart): Promise<void> | undefined;
  flush(): void;
  /** The reader took this much. */
  took(size: number): void;
}

const BATCH_SIZE = 64 * 1_024;
const BATCH_MS = 5;
const PART_CHARS = 512 * 1_024;
const WINDOW_SIZE = 1_024 ** 2;
/** An event costs its strings and about this much around them. */
const EVENT_SIZE = 120;

export function createEventOutbox(send: (events: readonly EventPart[], size: number) => void): EventOutbox {
  let batch: EventPart[] = [];
  let size = 0;
  let startedAt = 0;
  let untaken = 0;
  let scheduled = false;
  let resume = (): void => {};

  function flush(): void {
    if (batch.length === 0) return;
    send(batch, size);
    untaken += size;
    batch = [];
    size = 0;
  }

  return {
    flush,
    add(event) {
      if (batch.length === 0) startedAt = performance.now();
      batch.push(event);
      size += event.data.length + EVENT_SIZE;
      if (size >= BATCH_SIZE || performance.now() - startedAt >= BATCH_MS)
        flush(); // 1
      else if (!scheduled) {
        scheduled = true;
        setImmediate(() => {
          scheduled = false;
          flush();
        });
      }
      if (untaken < WINDOW_SIZE) return undefined;
      return new Promise((resolve) => {
        resume = resolve; // 2
      });
    },
    took(taken) {
      untaken -= taken;
      if (untaken < WINDOW_SIZE) resume();
    },
  };
}

/** 3 */
export function* partsOf(event: GraphEvent): Generator<EventPart> {
  const { data } = event;
  let start = 0;
  for (; data.length - start > PART_CHARS; start += PART_CHARS) {
    yield { ...event, data: data.slice(start, start + PART_CHARS), isUnfinished: true };
  }
  yield start === 0 ? event : { ...event, data: data.slice(start) };
}

/** The other way round: takes part after part and gives the event that is whole. */
export function createJoiner(): (part: EventPart) => GraphEvent | undefined {
  let beginning = "";
  return (part) => {
    if (part.isUnfinished === true) {
      beginning += part.data;
      return undefined;
    }
    if (beginning === "") return part;
    const whole = { ...part, data: beginning + part.data };
    beginning = "";
    return whole;
  };
}
