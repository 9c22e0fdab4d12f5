/** What readers and publishers may rely on, whatever carries the events from one to the other. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type Cursor,
  formatEventId,
  type Silence,
  type StreamBatch,
  StreamBrokenError,
  type StreamEvent,
} from "../../src/bridge/bridge.js";
import { fold, restAfter } from "../../src/bridge/fold.js";
import { BRIDGES, type BridgePair } from "../support/bridges.js";
import { event, NEVER, readAll, shown } from "../support/events.js";

const START: Cursor = { from: "start" };

describe.each(BRIDGES)("a bridge: $name", ({ missing, open }) => {
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  /** A bridge whose run `r` has published 1-1 … 1-`count`, and has ended unless told otherwise. */
  async function published(count: number, options: { readonly open?: boolean; readonly maxBytesPerRun?: number } = {}) {
    const { open: staysOpen = false, ...limits } = options;
    const pair = await open(limits);
    for (let seq = 1; seq <= count; seq++) await pair.writer.publish("r", event(1, seq));
    if (!staysOpen) await pair.writer.end("r");
    await pair.settled();
    return pair;
  }

  function subscribe({ reader }: BridgePair, cursor: Cursor, signal = NEVER) {
    return reader.subscribe("r", { cursor, signal })[Symbol.asyncIterator]();
  }

  /** Room for exactly this many of the events of `event`. */
  const roomFor = (count: number): number => count * 125;

  it("replays in order, and ends", async () => {
    const { reader } = await published(3);
    expect(await readAll(reader, "r")).toEqual(["1-1", "1-2", "1-3"]);
  });

  it("carries every string as it is", async () => {
    const { writer, reader } = await open();
    const said: StreamEvent[] = [];
    for (const text of ["", " ", "\n", "\0", "é", "🧵", "\u2028", '"\\', "x".repeat(100_000)]) {
      const id = { fence: 1, seq: said.length + 1 };
      said.push({ id, event: "custom", namespace: [`a|${text}`, "b:1"], data: JSON.stringify(text), at: said.length });
    }
    for (const each of said) await writer.publish("r", each);
    await writer.end("r");
    const seen: StreamEvent[] = [];
    for await (const batch of reader.subscribe("r", { cursor: START, signal: NEVER })) {
      if (batch.kind === "events") seen.push(...batch.events);
    }
    expect(seen).toEqual(said);
  });

  it("takes nothing from a zombie: ids only grow, whoever publishes them", async () => {
    const { writer, reader } = await open();
    const taken: boolean[] = [];
    for (const each of [event(1, 1), event(1, 1), event(2, 1), event(1, 2), event(2, 1), event(2, 2)])
      taken.push(await writer.publish("r", each));
    expect(taken).toEqual([true, false, true, false, false, true]);
    await writer.end("r");
    expect(await writer.publish("r", event(3, 1))).toBe(false);
    expect(await readAll(reader, "r")).toEqual(["1-1", "2-1", "2-2"]);
  });

  it("keeps runs apart", async () => {
    const { writer, reader } = await published(1);
    await writer.publish("other", event(1, 1, "9"));
    await writer.end("other");
    expect(await readAll(reader, "r")).toEqual(["1-1"]);
    expect(await readAll(reader, "other")).toEqual(["9"]);
  });

  it("can end without an event", async () => {
    const { writer, reader } = await open();
    await writer.end("r");
    await writer.end("r");
    expect(await readAll(reader, "r")).toEqual([]);
  });

  it("goes from replay to live without a seam", async () => {
    const pair = await published(2, { open: true });
    const { writer } = pair;
    const reader = subscribe(pair, START);
    expect(shown((await reader.next()).value)).toEqual(["1-1", "1-2"]);
    const rest = restOf(reader);
    void writer.publish("r", event(1, 3));
    void writer.publish("r", event(1, 4));
    await writer.end("r");
    expect(await rest).toEqual(["1-3", "1-4"]);
  });

  it("lets a reader come before the run", async () => {
    const { writer, reader } = await open();
    const reading = readAll(reader, "r");
    await writer.publish("r", event(1, 1));
    await writer.end("r");
    expect(await reading).toEqual(["1-1"]);
  });

  it("shows everybody everything, however many there are and however slow the others", async () => {
    const pair = await published(1, { open: true });
    const slow = subscribe(pair, START);
    await slow.next();
    const readings = Array.from({ length: 20 }, () => readAll(pair.reader, "r"));
    for (let seq = 2; seq <= 50; seq++) await pair.writer.publish("r", event(1, seq));
    await pair.writer.end("r");
    const all = Array.from({ length: 50 }, (_, index) => `1-${index + 1}`);
    for (const reading of readings) expect(await reading).toEqual(all);
    expect(await restOf(slow)).toEqual(all.slice(1));
  });

  it("stops a reader who is told to, without an error", async () => {
    const pair = await open();
    const abort = new AbortController();
    const next = subscribe(pair, START, abort.signal).next();
    abort.abort();
    expect((await next).done).toBe(true);
    expect((await subscribe(pair, START, abort.signal).next()).done).toBe(true);
  });

  it.each<[string, Cursor, readonly string[]]>([
    ["the start", START, ["1-1", "1-2", "1-3", "2-1"]],
    ["the first event", { after: { fence: 1, seq: 1 } }, ["1-2", "1-3", "2-1"]],
    ["the last of a claim", { after: { fence: 1, seq: 3 } }, ["2-1"]],
    ["the end", { after: { fence: 2, seq: 1 } }, []],
    ["before the first", { after: { fence: 0, seq: 9 } }, ["gap", "1-1", "1-2", "1-3", "2-1"]],
    ["between two claims", { after: { fence: 1, seq: 99 } }, ["gap", "2-1"]],
    ["beyond the end", { after: { fence: 9, seq: 9 } }, ["gap"]],
    ["now, of a run that has ended", { from: "now" }, ["2-1"]],
  ])("reads from %s", async (_title, cursor, expected) => {
    const { writer, reader } = await published(3, { open: true });
    await writer.publish("r", event(2, 1));
    await writer.end("r");
    expect(await readAll(reader, "r", cursor)).toEqual(expected);
  });

  it("shows from now on only what comes next", async () => {
    const pair = await published(3, { open: true });
    const reader = subscribe(pair, { from: "now" });
    const next = reader.next();
    await pair.reader.extent("r"); // the reader stands at the end
    await until(async () => (await pair.reader.extent("r"))?.last.seq === 3);
    await pair.settled();
    await new Promise((resolve) => setImmediate(resolve));
    await pair.writer.publish("r", event(1, 4));
    await pair.writer.end("r");
    expect(shown((await next).value)).toEqual(["1-4"]);
    expect((await reader.next()).done).toBe(true);
  });

  it("shows from now on nothing that its process published before, be it on its way", async () => {
    const { writer } = await open();
    for (let seq = 1; seq <= 3; seq++) void writer.publish("r", event(1, seq));
    const reader = writer.subscribe("r", { cursor: { from: "now" }, signal: NEVER })[Symbol.asyncIterator]();
    const next = reader.next();
    await writer.extent("r");
    await new Promise((resolve) => setImmediate(resolve));
    await writer.publish("r", event(1, 4));
    await writer.end("r");
    expect(shown((await next).value)).toEqual(["1-4"]);
  });

  it("tells a gap at once where a cursor points to nothing, and does not wait", async () => {
    const pair = await open();
    const reader = subscribe(pair, { after: { fence: 1, seq: 7 } });
    expect((await reader.next()).value).toEqual({ kind: "gap" });
  });

  it("drops the oldest events of a log that is full, and says so before it goes on", async () => {
    const { reader } = await published(10, { maxBytesPerRun: roomFor(4) });
    const kept = ["gap", "1-7", "1-8", "1-9", "1-10"];
    expect(await readAll(reader, "r")).toEqual(kept);
    expect(await readAll(reader, "r", { after: { fence: 1, seq: 3 } })).toEqual(kept);
    expect(await readAll(reader, "r", { after: { fence: 1, seq: 8 } })).toEqual(["1-9", "1-10"]);
    expect(await readAll(reader, "r", { from: "now" })).toEqual(["1-10"]);
  });

  it("keeps the last event, however large", async () => {
    const { writer, reader } = await open({ maxBytesPerRun: 10 });
    await writer.publish("r", event(1, 1));
    await writer.publish("r", event(1, 2, "x".repeat(10_000)));
    await writer.end("r");
    expect(await readAll(reader, "r")).toEqual(["gap", "x".repeat(10_000)]);
    expect(await readAll(reader, "r", { after: { fence: 1, seq: 1 } })).toEqual(["x".repeat(10_000)]);
  });

  it("knows what its process has published before the question", async () => {
    const { writer } = await open();
    for (let seq = 1; seq <= 3; seq++) void writer.publish("r", event(1, seq));
    expect(await writer.extent("r")).toMatchObject({ first: { fence: 1, seq: 1 }, last: { fence: 1, seq: 3 } });
  });

  it("tells where a log begins, ends, and whether it goes on", async () => {
    const { writer, reader, settled } = await open();
    expect(await reader.extent("r")).toBeUndefined();
    expect(await reader.has("r")).toBe(false);
    for (let seq = 1; seq <= 3; seq++) await writer.publish("r", event(2, seq));
    const extent = { first: { fence: 2, seq: 1 }, last: { fence: 2, seq: 3 } };
    await until(async () => (await reader.extent("r"))?.last.seq === 3);
    expect(await reader.extent("r")).toEqual({ ...extent, ended: false });
    await writer.end("r");
    expect(await reader.extent("r")).toEqual({ ...extent, ended: true });
    expect(await reader.has("r")).toBe(true);
    await writer.drop("r");
    await settled();
    await until(async () => !(await reader.has("r")));
    expect(await reader.extent("r")).toBeUndefined();
  });

  it("finishes the readers of a log that is dropped", async () => {
    const pair = await published(2, { open: true });
    const reader = subscribe(pair, START);
    await reader.next();
    const next = reader.next();
    await pair.writer.drop("r");
    expect((await next).done).toBe(true);
  });

  it("breaks unfinished streams when it closes, after what they have not read yet", async () => {
    const pair = await published(2, { open: true });
    const behind = subscribe(pair, START);
    expect(shown((await behind.next()).value)).toEqual(["1-1", "1-2"]);
    const waiting = behind.next();
    await pair.reader.close();
    await expect(waiting).rejects.toBeInstanceOf(StreamBrokenError);
  });

  it("leaves finished streams readable when it closes", async () => {
    const pair = await published(2);
    expect(await readAll(pair.reader, "r")).toEqual(["1-1", "1-2"]);
    await pair.reader.close();
    expect(await readAll(pair.reader, "r")).toEqual(["1-1", "1-2"]);
  });

  it("goes on with another owner, whoever read before", async () => {
    const { writer, reader, settled } = await published(3, { open: true });
    const reading = readAll(reader, "r");
    await settled();
    await reader.publish("r", event(2, 1));
    await reader.publish("r", event(2, 2));
    await reader.end("r");
    const all = ["1-1", "1-2", "1-3", "2-1", "2-2"];
    expect(await reading).toEqual(all);
    expect(await readAll(writer, "r")).toEqual(all);
    expect(await readAll(reader, "r", { after: { fence: 1, seq: 2 } })).toEqual(all.slice(2));
  });

  /** A chunk of an answer, of which there is one for every ten events. */
  function token(seq: number): StreamEvent {
    const message = {
      type: "AIMessageChunk",
      content: `w${seq} `,
      id: `m${Math.floor(seq / 10)}`,
      tool_call_chunks: [],
    };
    const data = JSON.stringify([message, { langgraph_node: "agent" }]);
    return { id: { fence: 1, seq }, event: "messages", namespace: [], data, at: 0 };
  }

  const tokens = (count: number) => Array.from({ length: count }, (_, index) => token(index + 1));

  it("tells folded what there is, from any cursor, then what comes as it comes", async () => {
    const { writer, reader, settled } = await open();
    const events = tokens(25);
    for (const each of events.slice(0, 14)) await writer.publish("r", each);
    await settled();
    await until(async () => (await reader.extent("r"))?.last.seq === 14);
    const live = reader.subscribe("r", { cursor: START, signal: NEVER, replay: "folded" })[Symbol.asyncIterator]();
    expect((await live.next()).value).toEqual({ kind: "events", events: fold(events.slice(0, 14)) });
    const rest = restOf(live);
    for (const each of events.slice(14)) void writer.publish("r", each);
    await writer.end("r");
    expect(await rest).toEqual(events.slice(14).map(({ data }) => data));
    for (const { id } of events) {
      const rest: StreamEvent[] = [];
      for await (const batch of reader.subscribe("r", { cursor: { after: id }, signal: NEVER, replay: "folded" })) {
        if (batch.kind === "events") rest.push(...batch.events);
      }
      expect(rest).toEqual(restAfter(fold(events), id));
    }
  });

  it("tells every reader, joining anywhere and coming back anywhere, what was published", async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ kind: fc.constant("publish" as const), count: fc.integer({ min: 1, max: 9 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("claim" as const) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("cut" as const), reader: fc.nat(2) }) },
    );
    let runs = 0;
    const pair = await open();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const runId = `p${++runs}`;
        const said: string[] = [];
        let [fence, seq] = [1, 0];
        const readers = Array.from({ length: 3 }, () => createComingBack(pair, runId));
        for (const each of steps) {
          if (each.kind === "claim") [fence, seq] = [fence + 1, 0];
          else if (each.kind === "cut") readers[each.reader]?.cut();
          else {
            for (let count = 0; count < each.count; count++) {
              const next = event(fence, ++seq);
              if (await pair.writer.publish(runId, next)) said.push(formatEventId(next.id));
            }
            await new Promise(setImmediate);
          }
        }
        await pair.writer.end(runId);
        for (const reader of readers) expect(await reader.ended).toEqual(said);
      }),
      { numRuns: 25 },
    );
  });
});

async function restOf(steps: AsyncIterator<StreamBatch | Silence>): Promise<readonly string[]> {
  const rest: string[] = [];
  for (let step = await steps.next(); step.done !== true; step = await steps.next()) rest.push(...shown(step.value));
  return rest;
}

/** Follows a run over as many subscriptions as it is cut. */
function createComingBack({ reader }: BridgePair, runId: string) {
  let abort = new AbortController();
  const seen: string[] = [];
  async function read(): Promise<readonly string[]> {
    let cursor: Cursor = START;
    for (;;) {
      abort = new AbortController();
      const { signal } = abort;
      for await (const batch of reader.subscribe(runId, { cursor, signal })) {
        seen.push(...shown(batch));
        const last = batch.kind === "events" ? batch.events.at(-1) : undefined;
        if (last !== undefined) cursor = { after: last.id };
      }
      if (!signal.aborted) return seen;
    }
  }
  return { ended: read(), cut: () => abort.abort() };
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  await expect.poll(isSo, { interval: 5 }).toBe(true);
}
