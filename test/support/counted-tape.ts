/** What a reader of the graph `count` must have seen, whatever happened to its connections. */
import type { SeenEvent } from "./history-data.js";

export interface Count {
  readonly rounds: number;
  readonly tokensPerRound: number;
}

/**
 * What is wrong with a whole tape; empty for a sound one. Numbers follow each other without a hole. Another claim repeats
 * what had no checkpoint, so its numbers may begin earlier. They begin later where the last claim had its checkpoint and was
 * stopped before it said the last of it: then a state of the new claim tells it, and so does a snapshot.
 */
export function faultsOfTape(events: readonly SeenEvent[], { rounds, tokensPerRound }: Count): readonly string[] {
  const faults: string[] = [];
  const tokens = createRow("token", faults);
  const customs = createRow("custom event", faults);
  let fence = 0;
  let seq = 0;
  let isNewClaim = false;
  const tellsState = (data: unknown): void => {
    const { said } = data as { said: number };
    tokens.known(said);
    customs.known((said / tokensPerRound) * 2);
  };
  for (const { id, event, data } of events) {
    if (id === null) {
      if (event === "values") tellsState(data);
      continue;
    }
    const [newFence = 0, newSeq = 0] = id.split("-").map(Number);
    if (newFence < fence || (newFence === fence && newSeq <= seq)) faults.push(`${id} after ${fence}-${seq}`);
    if (newFence > fence) {
      isNewClaim = fence > 0;
      for (const row of [tokens, customs]) if (isNewClaim) row.known(0);
      const begun = isNewClaim ? beginningOf(events, newFence) : undefined;
      if (begun?.isTold === true) {
        tokens.known(begun.token);
        customs.known(begun.custom);
      }
    }
    [fence, seq] = [newFence, newSeq];
    if (isNewClaim && event === "values") {
      isNewClaim = false;
      tellsState(data);
    }
    if (event === "messages") for (const n of numbersOf(data)) tokens.next(n);
    if (event === "custom") customs.next((data as { custom: number }).custom);
  }
  tokens.end(rounds * tokensPerRound);
  customs.end(rounds * 2);
  const ends = events.filter(({ event }) => event === "end" || event === "error");
  if (ends.length !== 1 || events.at(-1)?.event !== "end")
    faults.push(`${ends.length} ends, last ${events.at(-1)?.event}`);
  return faults;
}

/** Where a claim's numbers begin, and whether a state of it tells what was before: a folded tape holds only its last. */
function beginningOf(events: readonly SeenEvent[], fence: number) {
  const said = events.filter(({ id }) => id?.startsWith(`${fence}-`) === true);
  const message = said.find(({ event }) => event === "messages");
  const custom = said.find(({ event }) => event === "custom");
  return {
    isTold: said.some(({ event }) => event === "values"),
    token: message === undefined ? 0 : (numbersOf(message.data)[0] ?? 0),
    custom: custom === undefined ? 0 : (custom.data as { custom: number }).custom,
  };
}

/** How many numbers, as tokens and as custom events, a tape holds. */
export function countOfTape(events: readonly SeenEvent[]): number {
  return events.reduce(
    (sum, { event, data }) => sum + (event === "custom" ? 1 : event === "messages" ? numbersOf(data).length : 0),
    0,
  );
}

/** A frame holds one token, or many where they were folded. */
function numbersOf(data: unknown): readonly number[] {
  const [message] = data as [{ content: string }];
  return message.content.split(",").slice(0, -1).map(Number);
}

interface Row {
  next(n: number): void;
  /** Everything below `n` need not come, and from there on the next number may be any that was seen before. */
  known(n: number): void;
  end(count: number): void;
}

function createRow(name: string, faults: string[]): Row {
  let expected = 0;
  let reached = 0;
  let mayRepeat = false;
  return {
    next(n) {
      if (mayRepeat ? n > reached : n !== expected)
        faults.push(`${name} ${n} instead of ${mayRepeat ? reached : expected}`);
      mayRepeat = false;
      expected = n + 1;
      reached = Math.max(reached, expected);
    },
    known(n) {
      reached = Math.max(reached, n);
      mayRepeat = true;
    },
    end(count) {
      if (reached !== count) faults.push(`${reached} of ${count} ${name}s`);
    },
  };
}
