/** What a reader of a thread is told when its runs are claimed again, or its state is written at a bad moment. */
import { describe, expect, it } from "vitest";
import { compareEventIds } from "../../src/bridge/bridge.js";
import { createMemorySignals } from "../../src/bridge/memory.js";
import type { Run } from "../../src/core/model.js";
import { EVERYTHING } from "../../src/core/scope.js";
import type { FollowOptions, RunReading, StreamItem } from "../../src/runs/reading.js";
import { createThreadEvents, formatPlace, type ThreadCursor, type ThreadEvent } from "../../src/runs/thread-events.js";
import type { RunStore } from "../../src/storage/ports/runs.js";
import type { ThreadStore, ThreadWithValues } from "../../src/storage/ports/threads.js";

const item = (fence: number, seq: number): StreamItem => ({
  id: { fence, seq },
  event: "values",
  namespace: [],
  data: "1",
});

/** A thread with one run, which says `items` to whoever follows it, and whose row and state can change while it is read. */
function createThread(items: readonly StreamItem[], isComplete = true) {
  // What of rows is read here.
  let run = { runId: "r", threadId: "t", firstClaim: 5, fence: 1 } as Run;
  let thread = { stateUpdatedAt: 1 } as ThreadWithValues;
  const signals = createMemorySignals();
  const threads = { get: async () => thread } as Partial<ThreadStore> as ThreadStore;
  const runs = {
    newestStarted: async () => run,
    nextStarted: async (_threadId, after) => (after < 5 ? run : undefined),
  } as Partial<RunStore> as RunStore;
  const events = createThreadEvents({
    signals,
    threads: { within: () => threads },
    runs: { ...runs, within: () => runs },
    reader: {
      ofRun: () =>
        ({
          async *follow({ cursor }: FollowOptions) {
            for (const each of items) {
              if ("after" in cursor && each.id !== null && compareEventIds(each.id, cursor.after) <= 0) continue;
              if (each.id !== null && each.id.fence > run.fence) run = { ...run, fence: each.id.fence };
              yield [each];
            }
          },
        }) as unknown as RunReading,
    },
    tape: { end: async () => ({ last: items.at(-1)?.id ?? undefined, isComplete, isLive: false }) },
  });
  const stop = new AbortController();
  return {
    async open(cursor: ThreadCursor) {
      const read = await events("t", { cursor, scope: EVERYTHING });
      return () => read(stop.signal);
    },
    write(at: number) {
      thread = { ...thread, stateUpdatedAt: at };
      signals.send("thread:t");
    },
    stop: () => stop.abort(),
  };
}

const placeOf = ({ place }: ThreadEvent) => (place === null ? null : formatPlace(place));

describe("a reader of a thread", () => {
  it("has a place in every claim of a run that was claimed again meanwhile", async () => {
    const thread = createThread([item(1, 1), item(1, 2), item(2, 1), item(2, 4)]);
    const places: (string | null)[] = [];
    for await (const batch of (await thread.open("start"))()) {
      places.push(...batch.map(placeOf));
      if (batch.some(({ kind }) => kind === "state")) break;
    }
    expect(places).toEqual(["5-1", "5-2", "6-1", "6-4", "6-5", "6-6"]);
    thread.stop();
  });

  it("hears of a state that is written while it is told the one that the run left", async () => {
    const thread = createThread([item(1, 1)]);
    const kinds: string[] = [];
    for await (const batch of (await thread.open("start"))()) {
      kinds.push(...batch.map((event) => `${event.kind} ${placeOf(event)}`));
      if (batch.some(({ kind, place }) => kind === "state" && place !== null)) thread.write(2);
      else if (batch.some(({ kind }) => kind === "state")) break;
    }
    expect(kinds).toEqual(["item 5-1", "run done 5-2", "state 5-3", "state null"]);
    thread.stop();
  });

  it("from now on hears all that is said and written once it has come, however late it begins to read", async () => {
    const items = [item(1, 1), item(1, 2)];
    const thread = createThread(items, false);
    const read = await thread.open("now");
    items.push(item(1, 3));
    thread.write(2);
    items.push(item(2, 1));
    const places: (string | null)[] = [];
    for await (const batch of read()) {
      places.push(...batch.map(placeOf));
      if (batch.some(({ kind }) => kind === "state")) break;
    }
    expect(places).toEqual(["5-3", "6-1", "6-2", "6-3"]);
    thread.stop();
  });

  it("from now on hears a run from its beginning that has said nothing yet", async () => {
    const items: StreamItem[] = [];
    const thread = createThread(items, false);
    const read = await thread.open("now");
    items.push(item(1, 1));
    const { value } = await read().next();
    expect(value?.map(placeOf)).toEqual(["5-1"]);
    thread.stop();
  });
});
