/**
 * What the runs of a thread stream, one run after the other, in the words of REST, for as long as somebody reads it.
 *
 * 1. Runs come in the order in which they began. Behind the last word of each come two marks: that it is done, and that the
 *    thread has the state that it left.
 * 2. A place is a claim of the thread and a number in it; marks have the two numbers behind the run's last event. So a
 *    reader can go on from any place, and is told what follows it, once.
 * 3. A state that is written outside of runs has no place: who is not there when it is written does not hear of it.
 * 4. "Now" is when the reader comes, before it is answered, however long it takes until it begins to read.
 */
import { GatewayError } from "../core/errors.js";
import type { Scope } from "../core/scope.js";
import type { RunStore } from "../storage/ports/runs.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import type { RunReader, StreamItem } from "./reading.js";
import { newestStarted, type StartedRun, type StartedRunsDeps, startedRuns } from "./started-runs.js";
import type { RunTape } from "./tape.js";

export interface ThreadPlace {
  readonly claim: number;
  readonly seq: number;
}

export type ThreadCursor = "now" | "start" | ThreadPlace;

export type ThreadEvent =
  /** The place is null for what stands for events that are gone. */
  | { readonly kind: "item"; readonly place: ThreadPlace | null; readonly item: StreamItem }
  | { readonly kind: "run done"; readonly place: ThreadPlace; readonly runId: string }
  | { readonly kind: "state"; readonly place: ThreadPlace | null };

export interface ThreadEventsDeps extends StartedRunsDeps {
  readonly runs: Pick<RunStore, "newestStarted" | "nextStarted" | "within">;
  readonly threads: Pick<ThreadStore, "within">;
  readonly reader: Pick<RunReader, "ofRun">;
  readonly tape: Pick<RunTape, "end">;
}

/** Throws `StreamBrokenError` when the gateway stops; ends when the signal aborts, or the thread is gone. */
export type ReadThreadEvents = (signal: AbortSignal) => AsyncGenerator<readonly ThreadEvent[]>;

export type OpenThreadEvents = (
  threadId: string,
  options: { readonly cursor: ThreadCursor; readonly scope: Scope },
) => Promise<ReadThreadEvents>;

export function createThreadEvents(deps: ThreadEventsDeps): OpenThreadEvents {
  return (threadId, { scope, cursor }) => {
    const runs = deps.runs.within(scope);
    return openThreadEvents({ ...deps, runs, threads: deps.threads.within(scope) }, threadId, cursor);
  };
}

interface ScopedDeps extends StartedRunsDeps, Pick<ThreadEventsDeps, "reader" | "tape"> {
  readonly threads: Pick<ThreadStore, "get">;
}

async function openThreadEvents(
  { threads, reader, tape, ...deps }: ScopedDeps,
  threadId: string,
  cursor: ThreadCursor,
): Promise<ReadThreadEvents> {
  /** Where a reader begins: behind which claim, and, of the first run after it, behind which event. */
  async function beginning(): Promise<Beginning> {
    if (cursor === "start") return { after: 0, within: undefined };
    const run = await newestStarted(deps, threadId, cursor === "now" ? undefined : cursor.claim);
    if (run === undefined) return { after: 0, within: undefined };
    if (cursor !== "now") {
      const isOfRun = cursor.claim < run.firstClaim + run.fence;
      return isOfRun ? { after: run.firstClaim - 1, within: cursor } : { after: run.firstClaim, within: undefined };
    }
    const { isComplete, last } = await tape.end(run);
    if (isComplete) return { after: run.firstClaim, within: undefined };
    const within = last === undefined ? undefined : { claim: run.firstClaim + last.fence - 1, seq: last.seq };
    return { after: run.firstClaim - 1, within };
  }

  /** Returns the marks behind it. */
  async function* ofRun(
    run: StartedRun,
    within: Beginning["within"],
    signal: AbortSignal,
  ): AsyncGenerator<readonly ThreadEvent[], readonly ThreadEvent[]> {
    const { firstClaim } = run;
    let { fence } = run;
    // What stands for events that are gone has no id, or one of no claim.
    const placeOf = ({ id }: StreamItem): ThreadPlace | null =>
      id === null || id.fence > fence ? null : { claim: firstClaim + id.fence - 1, seq: id.seq };
    let last = within;
    const isBehind = last !== undefined && (await isBehindEnd(run, last));
    if (!isBehind) {
      for await (const items of reader.ofRun(run).follow({ cursor: cursorInto(run, within), signal })) {
        const isOfLaterClaim = items.some(({ id }) => id !== null && id.fence > fence);
        if (isOfLaterClaim) fence = (await newestStarted(deps, threadId, firstClaim))?.fence ?? fence;
        yield items.map((item) => ({ kind: "item", place: placeOf(item), item }));
        last = items.map(placeOf).findLast((place) => place !== null) ?? last;
      }
    }
    if (signal.aborted) return [];
    const { last: end } = await tape.end(run);
    last ??= { claim: firstClaim + fence - 1, seq: end?.seq ?? 0 };
    const done = { claim: last.claim, seq: (isBehind ? (end?.seq ?? 0) : last.seq) + 1 };
    const marks: ThreadEvent[] = [
      { kind: "run done", place: done, runId: run.runId },
      { kind: "state", place: { ...done, seq: done.seq + 1 } },
    ];
    return marks.filter(({ place }) => within === undefined || !isBehind || (place !== null && place.seq > within.seq)); // 2
  }

  async function isBehindEnd(run: StartedRun, { claim, seq }: ThreadPlace): Promise<boolean> {
    const { last, isComplete } = await tape.end(run);
    return isComplete && last !== undefined && claim === run.firstClaim + last.fence - 1 && seq >= last.seq;
  }

  const { after, ...beginsWith } = await beginning();
  const begunAt = (await threads.get(threadId))?.stateUpdatedAt ?? null;
  return read;

  async function* read(signal: AbortSignal): AsyncGenerator<readonly ThreadEvent[]> {
    let { within } = beginsWith;
    let writtenAt = begunAt;
    for await (const run of startedRuns(deps, threadId, { after, signal })) {
      const marks = run === null ? undefined : yield* ofRun(run, within, signal);
      const thread = await threads.get(threadId);
      if (thread === undefined) return;
      if (marks === undefined) {
        if (thread.stateUpdatedAt !== writtenAt) yield [{ kind: "state", place: null }]; // 3
      } else {
        if (marks.length > 0) yield marks; // a state that is written meanwhile is told behind them
        within = undefined;
      }
      writtenAt = thread.stateUpdatedAt;
    }
  }
}

interface Beginning {
  readonly after: number;
  readonly within: ThreadPlace | undefined;
}

function cursorInto({ firstClaim }: StartedRun, within: Beginning["within"]) {
  if (within === undefined) return { from: "start" } as const;
  return { after: { fence: within.claim - firstClaim + 1, seq: within.seq } };
}

/** The place in text, as an event's id. */
export function formatPlace({ claim, seq }: ThreadPlace): string {
  return `${claim}-${seq}`;
}

/** `-`: from the beginning of what is kept; nothing: from now on; else an event's id. */
export function parsePlace(text: string | null): ThreadCursor {
  const cursor = text?.trim() ?? "";
  if (cursor === "") return "now";
  if (cursor === "-" || cursor === "-1") return "start";
  const parts = /^(\d{1,15})-(\d{1,15})$/.exec(cursor);
  if (parts !== null) return { claim: Number(parts[1]), seq: Number(parts[2]) };
  throw new GatewayError(
    "bad_request",
    `Last-Event-ID: expected <number>-<number> or -, not ${JSON.stringify(cursor.slice(0, 64))}`,
  );
}
