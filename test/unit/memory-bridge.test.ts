/** What readers and publishers of the in-memory bridge may rely on. */
import { describe, expect, it, vi } from "vitest";
import { type Cursor, StreamBrokenError, type StreamEvent } from "../../src/bridge/bridge.js";
import { fold, restAfter } from "../../src/bridge/fold.js";
import { createMemoryBridge, createMemorySignals, type MemoryBridgeOptions } from "../../src/bridge/memory.js";
import { event, NEVER, readAll, shown } from "../support/events.js";
import { createFakeClock } from "../support/fake-clock.js";

const ROOMY = { maxBytesPerRun: 1e6, maxBytesPerReader: 1e6, maxRetainedBytes: 1e7, retentionMs: 600_000 };
const START: Cursor = { from: "start" };

function open(options: Partial<MemoryBridgeOptions> = {}) {
  const clock = createFakeClock();
  return { clock, bridge: createMemoryBridge({ clock, ...ROOMY, ...options }) };
}

/** A bridge whose run `r` has published 1-1 … 1-`count`, and has ended unless told otherwise. */
function published(count: number, options: Partial<MemoryBridgeOptions> & { readonly open?: boolean } = {}) {
  const { bridge, clock } = open(options);
  for (let seq = 1; seq <= count; seq++) bridge.publish("r", event(1, seq));
  if (options.open !== true) bridge.end("r");
  return { bridge, clock };
}

/** Room for exactly this many of the events of `event`. */
function roomFor(count: number): number {
  return count * 125;
}

describe("a log", () => {
  it("is replayed in order, and ends", async () => {
    const { bridge } = published(3);
    expect(await readAll(bridge, "r")).toEqual(["1-1", "1-2", "1-3"]);
  });

  it("takes nothing from a zombie: ids only grow, whoever publishes them", async () => {
    const { bridge } = open();
    const taken = [event(1, 1), event(1, 1), event(2, 1), event(1, 2), event(2, 1), event(2, 2)].map((each) =>
      bridge.publish("r", each),
    );
    expect(taken).toEqual([true, false, true, false, false, true]);
    bridge.end("r");
    expect(bridge.publish("r", event(3, 1))).toBe(false);
    expect(await readAll(bridge, "r")).toEqual(["1-1", "2-1", "2-2"]);
  });

  it("is one run's only", async () => {
    const { bridge } = published(1);
    bridge.publish("other", event(1, 9));
    bridge.end("other");
    expect(await readAll(bridge, "r")).toEqual(["1-1"]);
    expect(await readAll(bridge, "other")).toEqual(["1-9"]);
  });

  it("can end without an event", async () => {
    const { bridge } = open();
    bridge.end("r");
    bridge.end("r");
    expect(await readAll(bridge, "r")).toEqual([]);
  });
});

describe("a reader", () => {
  it("goes from replay to live without a seam", async () => {
    const { bridge } = published(2, { open: true });
    const reader = bridge.subscribe("r", { cursor: START, signal: NEVER })[Symbol.asyncIterator]();
    expect(shown((await reader.next()).value)).toEqual(["1-1", "1-2"]);
    const next = reader.next();
    bridge.publish("r", event(1, 3));
    bridge.publish("r", event(1, 4));
    expect(shown((await next).value)).toEqual(["1-3", "1-4"]);
    bridge.end("r");
    expect((await reader.next()).done).toBe(true);
  });

  it("may come before the run", async () => {
    const { bridge } = open();
    const reading = readAll(bridge, "r");
    bridge.publish("r", event(1, 1));
    bridge.end("r");
    expect(await reading).toEqual(["1-1"]);
  });

  it("sees everything, however many there are and however slow the others", async () => {
    const { bridge } = published(1, { open: true });
    const slow = bridge.subscribe("r", { cursor: START, signal: NEVER })[Symbol.asyncIterator]();
    await slow.next();
    const readings = Array.from({ length: 20 }, () => readAll(bridge, "r"));
    for (let seq = 2; seq <= 50; seq++) bridge.publish("r", event(1, seq));
    bridge.end("r");
    const all = Array.from({ length: 50 }, (_, index) => `1-${index + 1}`);
    for (const reading of readings) expect(await reading).toEqual(all);
    expect(shown((await slow.next()).value)).toEqual(all.slice(1));
  });

  it("takes what fits at once, and one event at least", async () => {
    const { bridge } = published(5, { maxBytesPerReader: roomFor(2) - 10 });
    const sizes: number[] = [];
    for await (const batch of bridge.subscribe("r", { cursor: START, signal: NEVER })) sizes.push(shown(batch).length);
    expect(sizes).toEqual([2, 2, 1]);
    const large = open({ maxBytesPerReader: 1 }).bridge;
    large.publish("r", event(1, 1, "x".repeat(1_000)));
    large.end("r");
    expect(await readAll(large, "r")).toHaveLength(1);
  });

  it("stops when it is told to, without an error", async () => {
    const { bridge } = open();
    const abort = new AbortController();
    const reader = bridge.subscribe("r", { cursor: START, signal: abort.signal })[Symbol.asyncIterator]();
    const next = reader.next();
    abort.abort();
    expect((await next).done).toBe(true);
    const late = bridge.subscribe("r", { cursor: START, signal: abort.signal })[Symbol.asyncIterator]();
    expect((await late.next()).done).toBe(true);
  });
});

describe("a cursor", () => {
  it.each<[string, Cursor, readonly string[]]>([
    ["start", { from: "start" }, ["1-1", "1-2", "1-3", "2-1"]],
    ["the first event", { after: { fence: 1, seq: 1 } }, ["1-2", "1-3", "2-1"]],
    ["the last of a claim", { after: { fence: 1, seq: 3 } }, ["2-1"]],
    ["the end", { after: { fence: 2, seq: 1 } }, []],
    ["before the first", { after: { fence: 0, seq: 9 } }, ["gap", "1-1", "1-2", "1-3", "2-1"]],
    ["between two claims", { after: { fence: 1, seq: 99 } }, ["gap", "2-1"]],
    ["beyond the end", { after: { fence: 9, seq: 9 } }, ["gap"]],
    ["now, of a run that has ended", { from: "now" }, ["2-1"]],
  ])("at %s", async (_title, cursor, expected) => {
    const { bridge } = published(3, { open: true });
    bridge.publish("r", event(2, 1));
    bridge.end("r");
    expect(await readAll(bridge, "r", cursor)).toEqual(expected);
  });

  it("now shows only what comes next", async () => {
    const { bridge } = published(3, { open: true });
    const reading = readAll(bridge, "r", { from: "now" });
    bridge.publish("r", event(1, 4));
    bridge.end("r");
    expect(await reading).toEqual(["1-4"]);
  });

  it("of an earlier process is a gap at once, not a wait", async () => {
    const { bridge } = open();
    const reader = bridge.subscribe("r", { cursor: { after: { fence: 1, seq: 7 } }, signal: NEVER });
    const { value } = await reader[Symbol.asyncIterator]().next();
    expect(value).toEqual({ kind: "gap" });
  });
});

describe("a log that is full", () => {
  it("drops its oldest events, and says so before it goes on", async () => {
    const { bridge } = published(10, { maxBytesPerRun: roomFor(4) });
    expect(await readAll(bridge, "r")).toEqual(["gap", "1-7", "1-8", "1-9", "1-10"]);
    expect(await readAll(bridge, "r", { after: { fence: 1, seq: 3 } })).toEqual(["gap", "1-7", "1-8", "1-9", "1-10"]);
    expect(await readAll(bridge, "r", { after: { fence: 1, seq: 8 } })).toEqual(["1-9", "1-10"]);
    expect(await readAll(bridge, "r", { from: "now" })).toEqual(["1-10"]);
  });

  it("tells a reader whom it left behind", async () => {
    const { bridge } = published(2, { open: true, maxBytesPerRun: roomFor(3), maxBytesPerReader: 1 });
    const reader = bridge.subscribe("r", { cursor: START, signal: NEVER })[Symbol.asyncIterator]();
    await reader.next();
    for (let seq = 3; seq <= 9; seq++) bridge.publish("r", event(1, seq));
    bridge.end("r");
    const rest: string[] = [];
    for (let step = await reader.next(); step.done !== true; step = await reader.next())
      rest.push(...shown(step.value));
    expect(rest).toEqual(["gap", "1-7", "1-8", "1-9"]);
  });

  it("keeps its last event, however large", async () => {
    const { bridge } = open({ maxBytesPerRun: 10 });
    bridge.publish("r", event(1, 1));
    bridge.publish("r", event(1, 2, "x".repeat(10_000)));
    bridge.end("r");
    expect(await readAll(bridge, "r")).toEqual(["gap", "x".repeat(10_000)]);
    expect(await readAll(bridge, "r", { after: { fence: 1, seq: 1 } })).toEqual(["x".repeat(10_000)]); // all that follows
  });

  it("finds every cursor however much was dropped", async () => {
    const { bridge } = published(1_000, { maxBytesPerRun: roomFor(37) });
    const first = Number((await readAll(bridge, "r"))[1]?.split("-")[1]);
    expect(first).toBeGreaterThan(900);
    for (let seq = first; seq < 1_000; seq++) {
      const rest = await readAll(bridge, "r", { after: { fence: 1, seq } });
      expect(rest[0]).toBe(`1-${seq + 1}`);
    }
  });
});

describe("a finished log", () => {
  it("tells where it begins, ends, and whether it goes on", () => {
    const { bridge } = published(0, { open: true });
    expect(bridge.extent("r")).toBeUndefined();
    for (let seq = 1; seq <= 3; seq++) bridge.publish("r", event(2, seq));
    const extent = { first: { fence: 2, seq: 1 }, last: { fence: 2, seq: 3 } };
    expect(bridge.extent("r")).toEqual({ ...extent, ended: false });
    bridge.end("r");
    expect(bridge.extent("r")).toEqual({ ...extent, ended: true });
    bridge.drop("r");
    expect(bridge.extent("r")).toBeUndefined();
  });

  it("is kept for a while", async () => {
    const { bridge, clock } = published(2);
    clock.advance(ROOMY.retentionMs - 1);
    expect(bridge.has("r")).toBe(true);
    expect(await readAll(bridge, "r")).toEqual(["1-1", "1-2"]);
    clock.advance(1);
    expect(bridge.has("r")).toBe(false);
    expect(clock.pending()).toBe(0);
  });

  it("makes room for one that finished later, never for itself", () => {
    const { bridge } = open({ maxRetainedBytes: roomFor(2) });
    for (const runId of ["a", "b", "c"]) {
      bridge.publish(runId, event(1, 1));
      bridge.end(runId);
    }
    bridge.publish("large", event(1, 1, "x".repeat(10_000)));
    expect(["a", "b", "c", "large"].map((runId) => bridge.has(runId))).toEqual([false, true, true, true]);
    bridge.end("large");
    expect(["a", "b", "c", "large"].map((runId) => bridge.has(runId))).toEqual([false, false, false, true]);
  });

  it("finishes its readers when it is dropped", async () => {
    const { bridge, clock } = published(2, { open: true });
    const reader = bridge.subscribe("r", { cursor: START, signal: NEVER })[Symbol.asyncIterator]();
    await reader.next();
    const next = reader.next();
    bridge.drop("r");
    expect((await next).done).toBe(true);
    expect(bridge.has("r")).toBe(false);
    expect(clock.pending()).toBe(0);
  });
});

describe("closing", () => {
  it("breaks unfinished streams, after what they have not read yet", async () => {
    const { bridge } = published(2, { open: true });
    const behind = bridge.subscribe("r", { cursor: START, signal: NEVER })[Symbol.asyncIterator]();
    const waiting = readAll(bridge, "pending");
    bridge.close();
    expect(shown((await behind.next()).value)).toEqual(["1-1", "1-2"]);
    await expect(behind.next()).rejects.toBeInstanceOf(StreamBrokenError);
    await expect(waiting).rejects.toBeInstanceOf(StreamBrokenError);
  });

  it("leaves finished ones readable, and no timer", async () => {
    const { bridge, clock } = published(2);
    bridge.close();
    expect(await readAll(bridge, "r")).toEqual(["1-1", "1-2"]);
    expect(clock.pending()).toBe(0);
  });
});

describe("signals", () => {
  it("reach who listens now, and nobody else", () => {
    const signals = createMemorySignals();
    const heard: string[] = [];
    const stop = signals.on("a", () => heard.push("first"));
    signals.on("a", () => heard.push("second"));
    signals.on("b", () => heard.push("b"));
    signals.send("a");
    stop();
    stop();
    signals.send("a");
    signals.send("nobody");
    expect(heard).toEqual(["first", "second", "second"]);
  });

  it("reach every listener although one stops listening meanwhile", () => {
    const signals = createMemorySignals();
    let heard = 0;
    const stop = signals.on("a", () => stop());
    signals.on("a", () => heard++);
    signals.send("a");
    expect(heard).toBe(1);
  });
});

describe("folded replay", () => {
  /** A chunk of an answer, of which there is one for every ten events. */
  function token(seq: number, text = `word${seq} `): StreamEvent {
    const message = { type: "AIMessageChunk", content: text, id: `m${Math.floor(seq / 10)}`, tool_call_chunks: [] };
    const data = JSON.stringify([message, { langgraph_node: "agent" }]);
    return { id: { fence: 1, seq }, event: "messages", namespace: [], data, at: 0 };
  }

  const tokens = (count: number) => Array.from({ length: count }, (_, index) => token(index + 1));

  function logOf(events: readonly StreamEvent[], options: Partial<MemoryBridgeOptions> = {}) {
    const { bridge } = open(options);
    for (const each of events) bridge.publish("r", each);
    return bridge;
  }

  async function join(bridge: ReturnType<typeof logOf>, cursor: Cursor = START) {
    const batches: (readonly StreamEvent[] | "gap")[] = [];
    for await (const batch of bridge.subscribe("r", { cursor, signal: NEVER, replay: "folded" })) {
      if (batch.kind !== "silence") batches.push(batch.kind === "gap" ? "gap" : batch.events);
    }
    return { batches, events: batches.flatMap((batch) => (batch === "gap" ? [] : batch)) };
  }

  it("tells folded what there is, then what comes as it comes, without a seam", async () => {
    const events = tokens(25);
    const bridge = logOf(events.slice(0, 14));
    const reader = bridge.subscribe("r", { cursor: START, signal: NEVER, replay: "folded" })[Symbol.asyncIterator]();
    const first = (await reader.next()).value;
    expect(first).toEqual({ kind: "events", events: fold(events.slice(0, 14)) });
    const next = reader.next();
    for (const each of events.slice(14)) bridge.publish("r", each);
    expect((await next).value).toEqual({ kind: "events", events: events.slice(14) });
  });

  it("misses and repeats nothing that is published while it is told", async () => {
    const events = tokens(40);
    const bridge = logOf(events.slice(0, 20), { maxBytesPerReader: 1 });
    const reader = bridge.subscribe("r", { cursor: START, signal: NEVER, replay: "folded" })[Symbol.asyncIterator]();
    const seen: StreamEvent[] = [];
    for (let index = 20; ; index++) {
      const each = events[index];
      if (each === undefined) bridge.end("r");
      else bridge.publish("r", each);
      const step = await reader.next();
      if (step.done === true) break;
      if (step.value.kind === "events") seen.push(...step.value.events);
    }
    expect(fold(seen)).toEqual(fold(events));
    expect(seen.length).toBeLessThan(events.length);
  });

  it("continues from any cursor", async () => {
    const events = tokens(25);
    const bridge = logOf(events);
    bridge.end("r");
    for (const { id } of events) {
      expect((await join(bridge, { after: id })).batches.flat()).toEqual(restAfter(fold(events), id));
    }
    expect((await join(bridge, { after: { fence: 9, seq: 9 } })).batches).toEqual(["gap"]);
    expect((await join(bridge, { from: "now" })).events).toEqual(events.slice(-1));
  });

  it("goes on in batches that fit", async () => {
    const events = tokens(60);
    const bridge = logOf(events, { maxBytesPerReader: 500 });
    bridge.end("r");
    const { batches } = await join(bridge);
    expect(batches.flat()).toEqual(fold(events));
    expect(batches.length).toBeGreaterThan(2);
  });

  it("is made once for all who join", async () => {
    const bridge = logOf(tokens(500));
    bridge.end("r");
    const [first, second] = await Promise.all([join(bridge), join(bridge)]);
    const parse = vi.spyOn(JSON, "parse");
    const third = await join(bridge);
    expect(parse).not.toHaveBeenCalled();
    parse.mockRestore();
    for (const { events } of [second, third])
      expect(events.every((each, index) => each === first.events[index])).toBe(true);
  });

  it("goes on exactly where a log that is full begins, also when it was folded before", async () => {
    const events = tokens(400);
    const bridge = logOf(events.slice(0, 100), { maxBytesPerRun: 20_000 });
    const abort = new AbortController();
    const reader = bridge.subscribe("r", { cursor: START, signal: abort.signal, replay: "folded" });
    await reader[Symbol.asyncIterator]().next();
    for (const each of events.slice(100)) bridge.publish("r", each);
    bridge.end("r");
    const retained = await join(bridge);
    expect(retained.batches[0]).toBe("gap");
    const first = bridge.extent("r");
    if (first instanceof Promise || first === undefined) throw new Error("the log is gone");
    const kept = events.filter(({ id }) => id.seq >= first.first.seq);
    expect(kept.length).toBeLessThan(200);
    const essence = (all: readonly StreamEvent[]) => all.map(({ id, data }) => [id.seq, data]);
    expect(essence(retained.events)).toEqual(essence(fold(kept)));
  });

  it("counts what it keeps, so that memory has a bound", async () => {
    const events = tokens(200);
    const size = events.reduce((sum, { data }) => sum + data.length + 120, 0);
    const bridge = logOf(events, { maxRetainedBytes: 2 * size + 100 });
    bridge.end("r");
    for (const each of events) bridge.publish("other", each);
    bridge.end("other");
    expect(bridge.has("other")).toBe(true);
    await join(bridge);
    expect([bridge.has("r"), bridge.has("other")]).toEqual([true, false]);
  });

  it("lets others have their turn while a long log is folded", async () => {
    const count = 5_000;
    const bridge = logOf(
      Array.from({ length: count }, (_, index) => token((index + 1) * 10, "x")),
      { maxBytesPerRun: 1e9 },
    );
    bridge.end("r");
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    turn();
    expect((await join(bridge)).events).toHaveLength(count);
    isOver = true;
    expect(turns).toBeGreaterThan(3);
  });

  it("stops when its reader has gone", async () => {
    const bridge = logOf(tokens(50), { maxBytesPerReader: 1 });
    const abort = new AbortController();
    const reader = bridge.subscribe("r", { cursor: START, signal: abort.signal, replay: "folded" });
    const steps = reader[Symbol.asyncIterator]();
    expect((await steps.next()).done).toBe(false);
    abort.abort();
    expect((await steps.next()).done).toBe(true);
  });
});
