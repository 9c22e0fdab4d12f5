/** A run's events from the memory log, the ledger and the future, as one log. */
import { describe, expect, it, onTestFinished } from "vitest";
import type { Cursor, EventId, StreamBatch, StreamEvent } from "../../src/bridge/bridge.js";
import { createMemoryBridge } from "../../src/bridge/memory.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { Run } from "../../src/core/model.js";
import { createLedgerWriter } from "../../src/runs/ledger-writer.js";
import { createRunPages } from "../../src/runs/paging.js";
import { createRunTape } from "../../src/runs/tape.js";
import { NEVER } from "../support/events.js";
import { settle } from "../support/run-kit.js";
import { admitAndClaim, leaseOf, openSqlStores, outcome, type SqlStores } from "../support/sql-stores.js";

const START: Cursor = { from: "start" };
const behind = (fence: number, seq: number): Cursor => ({ after: { fence, seq } });

/** A process over the stores: a memory log and a ledger writer of its own. */
function startProcess({ clock, ledger, runs }: SqlStores, options: { readonly maxBytesPerRun?: number } = {}) {
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: 1e6,
    maxBytesPerReader: 1e6,
    maxRetainedBytes: 1e7,
    retentionMs: 600_000,
    ...options,
  });
  const ledgerWriter = createLedgerWriter({
    ledger,
    clock,
    log: silentLog,
    metrics: createMetrics(),
    options: { maxBytesPerRun: 1e7, maxBufferedBytes: 1e7 },
  });
  onTestFinished(() => ledgerWriter.stop());
  const tape = createRunTape({ bridge, ledger, ledgerWriter, runs });
  /** Publishes these events of a claim. */
  function say(runId: string, fence: number, from: number, to: number, event = "custom"): void {
    for (let seq = from; seq <= to; seq++) {
      const said: StreamEvent = { id: { fence, seq }, event, namespace: [], data: `"${fence}-${seq}"`, at: seq };
      if (bridge.publish(runId, said)) ledgerWriter.append(runId, said);
    }
  }
  return {
    bridge,
    ledgerWriter,
    tape,
    pages: createRunPages({ tape, clock }),
    say,
    async end(run: Run, fence: number, seq: number): Promise<void> {
      await runs.finish(leaseOf({ ...run, fence }), outcome());
      say(run.runId, fence, seq, seq, "__result__");
      say(run.runId, fence, seq + 1, seq + 1, "end");
      bridge.end(run.runId);
      ledgerWriter.end(run.runId);
    },
    async read(run: Run, cursor: Cursor): Promise<readonly string[]> {
      const seen: string[] = [];
      for await (const batch of tape.read(run, { cursor, signal: NEVER })) seen.push(...shown(batch));
      return seen;
    },
  };
}

function shown(batch: StreamBatch): readonly string[] {
  return batch.kind === "gap" ? ["gap"] : batch.events.map(({ id }) => `${id.fence}-${id.seq}`);
}

const ids = (fence: number, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `${fence}-${from + index}`);

async function open(options: { readonly maxBytesPerRun?: number } = {}) {
  const stores = await openSqlStores();
  const run = await admitAndClaim(stores, "r1");
  return { ...stores, stores, run, ...startProcess(stores, options) };
}

/** As after the death of the process: the run is claimed again. Gives the row as it is now. */
async function claimAgain({ runs }: SqlStores): Promise<Run> {
  await runs.recoverOrphans();
  const run = await runs.claim("w1", 15_000);
  if (run === undefined) throw new Error("nothing to claim");
  return run;
}

describe("in one process", () => {
  it("what memory let go of comes from the ledger, without a seam", async () => {
    const { run, say, end, read, ledgerWriter } = await open({ maxBytesPerRun: 2_000 });
    for (let seq = 1; seq <= 91; seq += 10) {
      say("r1", 1, seq, seq + 9);
      if (seq < 80) await ledgerWriter.flush("r1"); // the last ones wait in the writer, gone from memory
    }
    await end(run, 1, 101);
    const all = ids(1, 1, 102);
    expect(await read(run, START)).toEqual(all);
    for (const seq of [1, 9, 10, 55, 85, 100, 101, 102])
      expect(await read(run, behind(1, seq))).toEqual(all.slice(seq));
  });

  it("a reader that is overtaken goes on in the ledger", async () => {
    const { run, say, end, tape, ledgerWriter } = await open({ maxBytesPerRun: 2_000 });
    say("r1", 1, 1, 3);
    const reader = tape.read(run, { cursor: START, signal: NEVER });
    const seen = [...shown((await reader.next()).value as StreamBatch)];
    for (let seq = 4; seq <= 94; seq += 10) {
      say("r1", 1, seq, seq + 9);
      await ledgerWriter.flush("r1");
    }
    await end(run, 1, 104);
    for await (const batch of reader) seen.push(...shown(batch));
    expect(seen).toEqual(ids(1, 1, 105));
  });

  it("what neither has any more is a gap, told once", async () => {
    const { run, say, end, read, ledger, ledgerWriter } = await open({ maxBytesPerRun: 2_000 });
    for (let seq = 1; seq <= 41; seq += 10) {
      say("r1", 1, seq, seq + 9);
      await ledgerWriter.flush("r1");
    }
    await ledger.trim("r1", 1);
    const readings = [START, behind(1, 5), behind(1, 45)].map((cursor) => read(run, cursor));
    await settle();
    await end(run, 1, 51);
    const rest = ids(1, 41, 52);
    expect(await Promise.all(readings)).toEqual([["gap", ...rest], ["gap", ...rest], ids(1, 46, 52)]);
  });

  it("a cursor of nowhere is a gap; what comes next follows", async () => {
    const { run, say, end, read } = await open();
    say("r1", 1, 1, 3);
    const reading = read(run, behind(9, 9));
    await settle();
    say("r1", 1, 4, 4);
    await end(run, 1, 5);
    expect(await reading).toEqual(["gap", ...ids(1, 4, 6)]);
  });
});

describe("in a later process", () => {
  it("a finished run is told from the ledger, from any cursor, and its result", async () => {
    const { stores, run, say, end, ledgerWriter } = await open();
    say("r1", 1, 1, 5);
    await end(run, 1, 6);
    await ledgerWriter.stop();
    const later = startProcess(stores);
    expect(await later.read(run, START)).toEqual(ids(1, 1, 7));
    for (let seq = 1; seq <= 7; seq++) expect(await later.read(run, behind(1, seq))).toEqual(ids(1, seq + 1, 7));
    expect(await later.tape.result("r1")).toBe('"1-6"');
  });

  it("a run that waits to be claimed again tells what it said, then goes on live", async () => {
    const { stores, run, say, ledgerWriter } = await open();
    say("r1", 1, 1, 30);
    await ledgerWriter.stop();
    const later = startProcess(stores);
    const readings = [START, behind(1, 20), behind(1, 30)].map((cursor) => later.read(run, cursor));
    await settle();
    const claimed = await claimAgain(stores);
    later.say("r1", 2, 1, 4);
    await later.end(claimed, 2, 5);
    const rest = ids(2, 1, 6);
    expect(await Promise.all(readings)).toEqual([[...ids(1, 1, 30), ...rest], [...ids(1, 21, 30), ...rest], rest]);
  });

  it("a reader that saw what a crash has lost gets a gap, then what comes next", async () => {
    const { stores, run, say, ledgerWriter } = await open();
    say("r1", 1, 1, 30);
    await ledgerWriter.flush("r1");
    const later = startProcess(stores); // 31 to 40 were seen and never written
    const early = later.read(run, behind(1, 40));
    await settle();
    const claimed = await claimAgain(stores);
    later.say("r1", 2, 1, 2);
    const late = later.read(run, behind(1, 40));
    await later.end(claimed, 2, 3);
    expect(await early).toEqual(["gap", ...ids(2, 1, 4)]);
    expect(await late).toEqual(["gap", ...ids(2, 1, 4)]);
  });

  it("a run whose end was not written ends with a gap, and nobody hangs", async () => {
    const { stores, run, runs, say, ledgerWriter } = await open();
    say("r1", 1, 1, 3);
    await ledgerWriter.flush("r1");
    await runs.finish(leaseOf(run), outcome());
    const later = startProcess(stores);
    expect(await later.read(run, START)).toEqual([...ids(1, 1, 3), "gap"]);
    expect(await later.read(run, { from: "now" })).toEqual(["gap"]);
    expect(await later.tape.result("r1")).toBeUndefined();
  });

  it("a run of which nothing is kept is a gap; of one whose row is gone there is nothing", async () => {
    const { stores, run, runs } = await open();
    await runs.finish(leaseOf(run), outcome());
    const later = startProcess(stores);
    expect(await later.read(run, START)).toEqual(["gap"]);
    await runs.remove("t1", "r1");
    expect(await later.read(run, START)).toEqual([]);
  });

  it("what was dropped as too much is a gap before what is left", async () => {
    const { stores, run, ledger, say, end, ledgerWriter } = await open();
    say("r1", 1, 1, 3);
    await ledgerWriter.flush("r1");
    await end(run, 1, 4);
    await ledgerWriter.stop();
    await ledger.trim("r1", 1);
    const later = startProcess(stores);
    expect(await later.read(run, START)).toEqual(["gap", ...ids(1, 4, 5)]);
    expect(await later.read(run, behind(1, 3))).toEqual(ids(1, 4, 5));
  });
});

describe("pages", () => {
  const request = { after: null, limit: 100, waitMs: 0, signal: NEVER } as const;
  const idsOf = (events: readonly StreamEvent[]) => events.map(({ id }) => `${id.fence}-${id.seq}`);

  it("read one after the other hold everything once, but the result, in a live run, too", async () => {
    const { run, say, end, pages, stores, ledgerWriter } = await open();
    say("r1", 1, 1, 5);
    const seen: string[] = [];
    let next: EventId | null = null;
    const take = async (process: Pick<ReturnType<typeof startProcess>, "pages">) => {
      const page = await process.pages.read(run, { ...request, after: next, limit: 2 });
      seen.push(...idsOf(page.events));
      next = page.next;
      return page.isDone;
    };
    for (let page = 0; page < 3; page++) expect(await take({ pages })).toBe(false);
    expect(seen).toEqual(ids(1, 1, 5));
    expect(await pages.read(run, { ...request, after: next })).toEqual({ events: [], next, isDone: false });
    await end(run, 1, 6);
    expect(await take({ pages })).toBe(true);
    expect(seen).toEqual([...ids(1, 1, 5), "1-7"]);
    await ledgerWriter.stop();
    const all = await startProcess(stores).pages.read(run, request);
    expect([idsOf(all.events), all.isDone]).toEqual([[...ids(1, 1, 5), "1-7"], true]);
  });

  it("wait for an event, as long as they are told", async () => {
    const { run, say, pages, clock } = await open();
    say("r1", 1, 1, 1);
    const wait = { ...request, after: { fence: 1, seq: 1 }, waitMs: 1_000 };
    const first = pages.read(run, wait);
    await settle();
    say("r1", 1, 2, 2);
    expect(idsOf((await first).events)).toEqual(["1-2"]);
    const second = pages.read(run, { ...wait, after: { fence: 1, seq: 2 } });
    await settle();
    clock.advance(1_000);
    expect(await second).toEqual({ events: [], next: { fence: 1, seq: 2 }, isDone: false });
  });

  it("refuse a cursor that the run has not come to", async () => {
    const { run, say, pages } = await open();
    say("r1", 1, 1, 3);
    await expect(pages.read(run, { ...request, after: { fence: 1, seq: 4 } })).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringContaining("1-4"),
    });
  });

  it("tell where what is kept begins", async () => {
    const { stores, run, ledger, say, end, ledgerWriter } = await open();
    say("r1", 1, 1, 3);
    await ledgerWriter.flush("r1");
    await end(run, 1, 4);
    await ledgerWriter.stop();
    await ledger.trim("r1", 1);
    const { pages } = startProcess(stores);
    for (const from of [null, { fence: 1, seq: 1 }]) {
      const reading = pages.read(run, { ...request, after: from });
      await expect(reading).rejects.toMatchObject({ code: "events_trimmed", details: { oldest_cursor: "1-3" } });
    }
    expect((await pages.read(run, { ...request, after: { fence: 1, seq: 3 } })).isDone).toBe(true);
  });

  it("of a run whose events are all gone say so", async () => {
    const { stores, run, runs } = await open();
    await runs.finish(leaseOf(run), outcome());
    const reading = startProcess(stores).pages.read(run, request);
    await expect(reading).rejects.toMatchObject({ code: "events_trimmed", details: { oldest_cursor: null } });
  });

  it("after a crash go on behind what it lost when the run does, and say so", async () => {
    const { stores, run, say, ledgerWriter } = await open();
    say("r1", 1, 1, 3);
    await ledgerWriter.flush("r1");
    const later = startProcess(stores);
    const lost = { ...request, after: { fence: 1, seq: 9 } };
    expect(await later.pages.read(run, lost)).toEqual({ events: [], next: lost.after, isDone: false });
    const claimed = await claimAgain(stores);
    later.say("r1", 2, 1, 2);
    await expect(later.pages.read(claimed, lost)).rejects.toMatchObject({ details: { oldest_cursor: "2-0" } });
    const page = await later.pages.read(claimed, { ...request, after: { fence: 2, seq: 0 } });
    expect(idsOf(page.events)).toEqual(["2-1", "2-2"]);
  });
});
