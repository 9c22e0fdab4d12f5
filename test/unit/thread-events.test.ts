/** What a reader of a thread is told when its runs are claimed again, or its state is written at a bad moment. */
import { describe, expect, it } from "vitest";
import { createMemorySignals } from "../../src/bridge/memory.js";
import type { Run } from "../../src/core/model.js";
import { EVERYTHING } from "../../src/core/scope.js";
import type { RunReading, StreamItem } from "../../src/runs/reading.js";
import { createThreadEvents, formatPlace, type ThreadEvent } from "../../src/runs/thread-events.js";
import type { RunStore, ThreadStore, ThreadWithValues } from "../../src/storage/storage.js";

const item = (fence: number, seq: number): StreamItem => ({
  id: { fence, seq },
  event: "values",
  namespace: [],
  data: "1",
});

/** A thread with one run, whose row and state can change while it is read. */
function createThread(items: readonly StreamItem[]) {
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
          async *follow() {
            for (const each of items) {
              if (each.id !== null && each.id.fence > run.fence) run = { ...run, fence: each.id.fence };
              yield [each];
            }
          },
        }) as unknown as RunReading,
    },
    tape: { end: async () => ({ last: items.at(-1)?.id ?? undefined, isComplete: true, isLive: false }) },
  });
  const stop = new AbortController();
  return {
    read: () => events("t", { cursor: "start", signal: stop.signal, scope: EVERYTHING }),
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
    for await (const batch of thread.read()) {
      places.push(...batch.map(placeOf));
      if (batch.some(({ kind }) => kind === "state")) break;
    }
    expect(places).toEqual(["5-1", "5-2", "6-1", "6-4", "6-5", "6-6"]);
    thread.stop();
  });

  it("hears of a state that is written while it is told the one that the run left", async () => {
    const thread = createThread([item(1, 1)]);
    const kinds: string[] = [];
    for await (const batch of thread.read()) {
      kinds.push(...batch.map((event) => `${event.kind} ${placeOf(event)}`));
      if (batch.some(({ kind, place }) => kind === "state" && place !== null)) thread.write(2);
      else if (batch.some(({ kind }) => kind === "state")) break;
    }
    expect(kinds).toEqual(["item 5-1", "run done 5-2", "state 5-3", "state null"]);
    thread.stop();
  });
});
