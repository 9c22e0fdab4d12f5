/** When what runs say is written down, and what happens when it cannot be. */
import { describe, expect, it, vi } from "vitest";
import type { StreamEvent } from "../../src/bridge/bridge.js";
import { type Log, silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import { eventsOf } from "../../src/runs/ledger-segments.js";
import { createLedgerWriter, type LedgerWriterOptions } from "../../src/runs/ledger-writer.js";
import { event } from "../support/events.js";
import { settle } from "../support/run-kit.js";
import { admission, openSqlStores } from "../support/sql-stores.js";

async function open(options: Partial<LedgerWriterOptions> = {}) {
  const stores = await openSqlStores();
  const errors: string[] = [];
  const log: Log = {
    ...silentLog,
    debug() {},
    info() {},
    warn() {},
    error: (_fields: unknown, text?: string) => errors.push(text ?? ""),
  };
  const metrics = createMetrics();
  const writer = createLedgerWriter({
    ledger: stores.ledger,
    clock: stores.clock,
    log,
    metrics,
    options: { maxBytesPerRun: 1e9, maxBufferedBytes: 1e9, ...options },
  });
  for (const runId of ["r1", "r2"]) await stores.runs.admit(admission({ runId, threadId: runId }));
  /** What the rows hold: the data of each segment's events. */
  const kept = (runId = "r1") =>
    (
      stores.connection
        .prepare("SELECT events FROM run_events WHERE run_id = ? ORDER BY segment")
        .pluck()
        .all(runId) as string[]
    ).map((events) => eventsOf({ events }).map(({ data }) => data));
  const pass = async (ms = 250) => {
    stores.clock.advance(ms);
    await settle();
  };
  return { ...stores, writer, errors, metrics, kept, pass };
}

/** Events that no fold takes away. */
function custom(seq: number, data = `"${seq}"`, fence = 1): StreamEvent {
  return { ...event(fence, seq, data), event: "custom" };
}

describe("the ledger's writer", () => {
  it("leaves an event out that is larger than what is kept of a run, and nothing of others goes for it", async () => {
    const { writer, kept, pass, metrics } = await open({ maxBytesPerRun: 5_000, maxBufferedBytes: 6_000 });
    writer.append("r1", custom(1));
    writer.append("r2", custom(1));
    writer.append("r2", custom(2, JSON.stringify("x".repeat(10_000))));
    writer.append("r2", custom(3));
    await pass();
    expect(kept("r1")).toEqual([['"1"']]);
    expect(kept("r2")).toEqual([['"1"'], ['"3"']]);
    expect((await metrics.ledgerLostEvents.get()).values[0]?.value).toBe(1);
  });

  it("writes what all runs said in a quarter of a second at once", async () => {
    const { writer, kept, pass, ledger } = await open();
    const append = vi.spyOn(ledger, "append");
    writer.append("r1", custom(1));
    writer.append("r2", custom(1));
    writer.append("r1", custom(2));
    await pass(249);
    expect(append).not.toHaveBeenCalled();
    await pass(1);
    expect(append).toHaveBeenCalledTimes(1);
    expect([kept("r1"), kept("r2")]).toEqual([[['"1"', '"2"']], [['"1"']]]);
    await pass(10_000);
    expect(append).toHaveBeenCalledTimes(1);
  });

  it("keeps nobody waiting: events are taken while a write is under way", async () => {
    const { writer, kept, pass, ledger } = await open();
    let finish = (): void => {};
    const written = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const append = ledger.append.bind(ledger);
    vi.spyOn(ledger, "append").mockImplementationOnce(async (segments) => {
      await written;
      return append(segments);
    });
    writer.append("r1", custom(1));
    await pass();
    writer.append("r1", custom(2));
    expect(kept()).toEqual([]);
    finish();
    await pass();
    expect(kept()).toEqual([['"1"'], ['"2"']]);
  });

  it("does not wait for its time when there is much", async () => {
    const { writer, kept, pass } = await open();
    for (let seq = 1; seq <= 3; seq++) writer.append("r1", custom(seq, JSON.stringify("x".repeat(500_000))));
    await pass(0);
    expect(kept().flat()).toHaveLength(3);
  });

  it("folds what it writes", async () => {
    const { writer, kept, pass } = await open();
    for (let seq = 1; seq <= 5; seq++) writer.append("r1", event(1, seq, JSON.stringify({ n: seq })));
    await pass();
    expect(kept().flat().length).toBeLessThan(5);
    expect(kept().flat().at(-1)).toBe('{"n":5}');
  });

  it("writes each claim apart, and tells where events are missing", async () => {
    const { writer, pass, connection } = await open();
    for (const each of [custom(1), custom(2), custom(5), custom(1, "1", 2)]) writer.append("r1", each);
    await pass();
    const rows = connection.prepare("SELECT fence, first_seq, last_seq FROM run_events ORDER BY segment").raw().all();
    expect(rows).toEqual([
      [1, 1, 2],
      [1, 5, 5],
      [2, 1, 1],
    ]);
  });

  it("says nothing of a run whose row is gone", async () => {
    const { writer, errors, pass, connection } = await open();
    writer.append("gone", custom(1));
    writer.end("gone");
    await pass();
    expect([errors, connection.prepare("SELECT count(*) FROM run_events").pluck().get()]).toEqual([[], 0]);
  });
});

describe("when the disk is full", () => {
  it("tries again with what came meanwhile, and says so once", async () => {
    const { writer, kept, pass, ledger, errors } = await open();
    const append = vi.spyOn(ledger, "append").mockRejectedValue(new Error("database or disk is full"));
    writer.append("r1", custom(1));
    await pass();
    writer.append("r1", custom(2));
    await pass(1_000);
    await pass(1_000);
    expect(append.mock.calls.length).toBe(3);
    expect(errors).toHaveLength(1);
    append.mockRestore();
    await pass(1_000);
    expect(kept()).toEqual([['"1"', '"2"']]);
  });

  it("holds a bounded amount: the run that has waited longest loses what it had", async () => {
    const { writer, kept, pass, ledger, errors, metrics, connection } = await open({ maxBufferedBytes: 30_000 });
    const append = vi.spyOn(ledger, "append").mockRejectedValue(new Error("database or disk is full"));
    const large = JSON.stringify("x".repeat(10_000));
    writer.append("r1", custom(1, large));
    writer.append("r1", custom(2, large));
    writer.append("r2", custom(1, large));
    await pass();
    writer.append("r1", custom(3));
    append.mockRestore();
    await pass(1_000);
    expect([kept("r1"), kept("r2")]).toEqual([[['"3"']], [[large]]]);
    expect(connection.prepare("SELECT first_seq FROM run_events WHERE run_id = 'r1'").pluck().get()).toBe(3);
    expect(errors.filter((text) => text.includes("lost"))).toHaveLength(1);
    expect(await metrics.render(0)).toContain("heddle_ledger_lost_events_total 2\n");
  });

  it("stops all the same, and says what is lost", async () => {
    const { writer, ledger, errors } = await open();
    vi.spyOn(ledger, "append").mockRejectedValue(new Error("database or disk is full"));
    writer.append("r1", custom(1));
    await writer.stop();
    expect(errors.at(-1)).toContain("lost");
  });
});

describe("a stop", () => {
  it("writes what is left, takes nothing more and leaves no timer", async () => {
    const { writer, kept, clock } = await open();
    writer.append("r1", custom(1));
    await writer.stop();
    writer.append("r1", custom(2));
    writer.end("r1");
    expect(kept()).toEqual([['"1"']]);
    expect(clock.pending()).toBe(0);
  });
});

describe("flush", () => {
  it("resolves when what was taken of the run is written, also while a write is under way", async () => {
    const { writer, kept } = await open();
    writer.append("r1", custom(1));
    const first = writer.flush("r1");
    writer.append("r1", custom(2));
    await Promise.all([first, writer.flush("r1")]);
    expect(kept().flat()).toEqual(['"1"', '"2"']);
    await writer.flush("r2");
  });

  it("resolves when it is written, also where that begins when a write of others is done", async () => {
    const { writer, kept, ledger } = await open();
    const append = ledger.append.bind(ledger);
    vi.spyOn(ledger, "append").mockImplementation(async (segments) => {
      await settle();
      await append(segments);
    });
    writer.append("r2", custom(1));
    const others = writer.flush("r2");
    writer.append("r1", custom(1));
    await writer.flush("r1");
    expect(kept("r1")).toEqual([['"1"']]);
    await others;
  });

  it("does not wait for what other runs go on saying", async () => {
    const { writer, kept, ledger } = await open();
    const append = ledger.append.bind(ledger);
    let commits = 0;
    vi.spyOn(ledger, "append").mockImplementation(async (segments) => {
      await append(segments);
      if (++commits < 20) writer.append("r2", custom(commits)); // there is always more to write
    });
    writer.append("r1", custom(1));
    writer.append("r2", custom(0));
    await writer.flush("r1");
    expect(kept("r1")).toEqual([['"1"']]);
    expect(commits).toBeLessThan(5);
    await writer.stop();
  });

  it("does not hang on a disk that is full", async () => {
    const { writer, ledger } = await open();
    vi.spyOn(ledger, "append").mockRejectedValue(new Error("database or disk is full"));
    writer.append("r1", custom(1));
    await writer.flush("r1");
  });
});

describe("a run that has ended", () => {
  it("is folded once more: its pieces become one, superseded states go", async () => {
    const { writer, kept, pass } = await open();
    for (let seq = 1; seq <= 4; seq++) {
      writer.append("r1", event(1, seq, JSON.stringify({ n: seq })));
      await pass();
    }
    expect(kept()).toHaveLength(4);
    writer.append("r1", custom(5));
    writer.end("r1");
    await pass();
    await vi.waitFor(() => expect(kept()).toHaveLength(1));
    expect(kept()[0]?.slice(-2)).toEqual(['{"n":4}', '"5"']);
    expect(kept()[0]?.length).toBeLessThan(5);
  });

  it("keeps its claims apart, and the places that they cover", async () => {
    const { writer, pass, connection } = await open();
    for (const [fence, seq] of [
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ] as const) {
      writer.append("r1", custom(seq, `"${fence}-${seq}"`, fence));
      await pass();
    }
    writer.end("r1");
    await pass();
    const rows = () =>
      connection.prepare("SELECT fence, first_seq, last_seq FROM run_events ORDER BY fence").raw().all();
    await vi.waitFor(() =>
      expect(rows()).toEqual([
        [1, 1, 2],
        [2, 1, 2],
      ]),
    );
  });

  it("keeps its newest events when all are too much", async () => {
    const { writer, kept, pass, ledger } = await open({ maxBytesPerRun: 3_000_000 });
    for (let seq = 1; seq <= 5; seq++) {
      writer.append("r1", custom(seq, JSON.stringify(String(seq).repeat(1_000_000))));
      await pass();
    }
    writer.end("r1");
    await pass();
    await vi.waitFor(() => expect(kept().flat().length).toBeLessThan(4));
    expect(kept().flat().at(-1)?.[1]).toBe("5");
    expect((await ledger.find("r1", { fence: 0, seq: 0 }))?.number).toBeGreaterThan(1);
  });
});

it("a run that grows too large is folded while it goes on", async () => {
  const { writer, kept, pass } = await open({ maxBytesPerRun: 1_000_000 });
  for (let seq = 1; seq <= 5; seq++) {
    writer.append("r1", event(1, seq, JSON.stringify({ n: seq, text: "x".repeat(300_000) })));
    await pass();
  }
  await vi.waitFor(() => expect(kept().flat().length).toBeLessThan(5));
  expect(kept().flat().at(-1)).toContain('"n":5');
});
