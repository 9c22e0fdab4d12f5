/** What `SqlRunLedger` promises to those who write down what runs say, and to those who read it. */
import { describe, expect, it } from "vitest";
import type { LedgerSegment } from "../../src/storage/ports/ledger.js";
import {
  admission,
  admitAndClaim,
  claim,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  type SqlStores,
} from "../support/sql-stores.js";
import { onSqlite } from "../support/test-database.js";

/** A segment of claim 1; its text tells its name. */
function segment(firstSeq: number, lastSeq: number, more: Partial<LedgerSegment> = {}): LedgerSegment {
  return { fence: 1, firstSeq, lastSeq, events: `${firstSeq}..${lastSeq}`, ...more };
}

async function append(stores: SqlStores, runId: string, ...segments: LedgerSegment[]): Promise<void> {
  await stores.ledger.append(segments.map((each) => ({ ...each, runId })));
}

async function rows(stores: SqlStores, runId = "r1") {
  const text = "SELECT segment, events FROM run_events WHERE run_id = ? ORDER BY fence, last_seq";
  return (await stores.rows(text, runId)).map((row) => Object.values(row));
}

async function withRun(): Promise<SqlStores> {
  const stores = await openSqlStores();
  await admitAndClaim(stores, "r1");
  return stores;
}

describe("append", () => {
  it("numbers the segments of each run from 1", async () => {
    const stores = await withRun();
    await stores.runs.admit(admission({ runId: "r2", threadId: "t2" }));
    await stores.ledger.append([
      { ...segment(1, 3), runId: "r1" },
      { ...segment(1, 1), runId: "r2" },
      { ...segment(4, 9), runId: "r1" },
    ]);
    await append(stores, "r1", segment(1, 2, { fence: 2 }));
    expect(await rows(stores)).toEqual([
      [1, "1..3"],
      [2, "4..9"],
      [3, "1..2"],
    ]);
    expect(await rows(stores, "r2")).toEqual([[1, "1..1"]]);
  });

  it("keeps any text as it is", async () => {
    const stores = await withRun();
    const events = `{"a":"\\u0000 \\ud800 ' " %"}\n😀`;
    await append(stores, "r1", segment(1, 1, { events }));
    expect((await stores.ledger.newest("r1"))?.events).toBe(events);
  });

  it("leaves out what a zombie sends after a newer claim has written", async () => {
    const stores = await withRun();
    await append(stores, "r1", segment(1, 3), segment(1, 2, { fence: 2, events: "newer" }));
    await append(stores, "r1", segment(4, 9));
    await append(stores, "r1", segment(2, 5, { fence: 2 })); // begins within what is there
    expect(await rows(stores)).toEqual([
      [1, "1..3"],
      [2, "newer"],
    ]);
  });

  it("writes nothing for a run that is not there, and the others' all the same", async () => {
    const stores = await withRun();
    await stores.ledger.append([
      { ...segment(1, 3), runId: "gone" },
      { ...segment(1, 3), runId: "r1" },
    ]);
    expect(await stores.column("SELECT run_id FROM run_events")).toEqual(["r1"]);
  });
});

describe("reading", () => {
  it("finds the oldest segment that ends at a position or later, over claims", async () => {
    const stores = await withRun();
    await append(stores, "r1", segment(1, 3), segment(4, 9), segment(1, 2, { fence: 3 }));
    const found = async (fence: number, seq: number) => (await stores.ledger.find("r1", { fence, seq }))?.number;
    expect(await found(0, 0)).toBe(1);
    expect(await found(1, 3)).toBe(1);
    expect(await found(1, 4)).toBe(2);
    expect(await found(1, 10)).toBe(3);
    expect(await found(2, 1)).toBe(3);
    expect(await found(3, 2)).toBe(3);
    expect(await found(3, 3)).toBeUndefined();
    expect(await stores.ledger.find("r2", { fence: 0, seq: 0 })).toBeUndefined();
  });

  it("gives the whole segment back, and the newest without being told where", async () => {
    const stores = await withRun();
    await append(stores, "r1", segment(1, 3), segment(4, 9));
    expect(await stores.ledger.newest("r1")).toEqual({ ...segment(4, 9), number: 2 });
    expect(await stores.ledger.end("r1")).toEqual({ fence: 1, seq: 9 });
    expect([await stores.ledger.newest("r2"), await stores.ledger.end("r2")]).toEqual([undefined, undefined]);
  });

  onSqlite("looks nothing up but the segment", async () => {
    const stores = await withRun();
    const statements = await stores.statementsOf(async () => {
      await stores.ledger.find("r1", { fence: 1, seq: 1 });
      await stores.ledger.newest("r1");
      await stores.ledger.end("r1");
    });
    expect(statements).toHaveLength(3);
    for (const statement of statements) {
      expect(stores.plan(statement)).toMatch(/^SEARCH run_events USING (COVERING )?INDEX \S+ \(run_id=\?[^\n]*$/);
    }
  });
});

describe("replace", () => {
  it("puts merged segments in the place of their neighbours", async () => {
    const stores = await withRun();
    await append(stores, "r1", segment(1, 3), segment(4, 9), segment(10, 11), segment(12, 12));
    expect(await stores.ledger.replace("r1", [2, 3], [segment(4, 11, { events: "merged" })])).toBe(true);
    expect(await rows(stores)).toEqual([
      [1, "1..3"],
      [2, "merged"],
      [4, "12..12"],
    ]);
    await append(stores, "r1", segment(13, 13));
    expect(await stores.ledger.replace("r1", [1, 2, 4, 5], [segment(1, 12), segment(13, 13)])).toBe(true);
    expect(await rows(stores)).toEqual([
      [1, "1..12"],
      [2, "13..13"],
    ]);
  });

  it("changes nothing when one of them is gone, or the run is", async () => {
    const stores = await withRun();
    await append(stores, "r1", segment(1, 3), segment(4, 9));
    expect(await stores.ledger.replace("r1", [1, 2, 3], [segment(1, 10)])).toBe(false);
    expect(await rows(stores)).toHaveLength(2);
    await stores.runs.finish(leaseOf(await current(stores)), outcome());
    await stores.runs.remove("t1", "r1");
    expect(await stores.ledger.replace("r1", [1, 2], [segment(1, 9)])).toBe(false);
    expect(await rows(stores)).toEqual([]);
  });

  it("refuses more segments than it replaces", async () => {
    const stores = await withRun();
    await expect(stores.ledger.replace("r1", [1], [segment(1, 1), segment(2, 2)])).rejects.toThrow(RangeError);
  });
});

describe("trim", () => {
  it("drops the oldest until what is left is small enough, never the newest", async () => {
    const stores = await withRun();
    const events = "x".repeat(100);
    const segments = [1, 2, 3, 4].map((seq) => segment(seq, seq, { events }));
    await append(stores, "r1", ...segments);
    await stores.ledger.trim("r1", 400);
    expect(await rows(stores)).toHaveLength(4);
    await stores.ledger.trim("r1", 399);
    expect((await stores.ledger.find("r1", { fence: 0, seq: 0 }))?.number).toBe(2);
    await stores.ledger.trim("r1", 10);
    expect(await rows(stores)).toEqual([[4, events]]);
  });
});

describe("what goes", () => {
  const count = async (stores: SqlStores) => (await stores.column("SELECT count(*) FROM run_events"))[0];

  it("goes with its run, with a rollback and with the thread", async () => {
    for (const way of ["remove", "rollback", "thread"] as const) {
      const stores = await withRun();
      await append(stores, "r1", segment(1, 3));
      const run = await current(stores);
      if (way === "rollback") {
        await stores.runs.markRollingBack(leaseOf(run));
        await stores.runs.removeRolledBack(run);
      } else {
        await stores.runs.finish(leaseOf(run), outcome());
        if (way === "remove") await stores.runs.remove("t1", "r1");
        else await stores.threads.remove("t1");
      }
      expect([way, await count(stores)]).toEqual([way, 0]);
      await append(stores, "r1", segment(4, 5)); // late
      expect([way, await count(stores)]).toEqual([way, 0]);
    }
  });

  it("expires a time after the last write, of ended runs only, some at a time", async () => {
    const stores = await openSqlStores();
    const { clock, ledger } = stores;
    for (const runId of ["old", "touched", "running"]) {
      await stores.threads.create(newThread({ threadId: runId }));
      await stores.runs.admit(admission({ runId, threadId: runId }));
      const run = await claim(stores);
      await append(stores, runId, segment(1, 1), segment(2, 2));
      if (runId !== "running") await stores.runs.finish(leaseOf(run), outcome());
    }
    clock.advance(1_000);
    const time = clock.now() - 500;
    await append(stores, "touched", segment(3, 3));
    expect(await ledger.expire(time, 1)).toBe(1);
    expect(await rows(stores, "old")).toEqual([[2, "2..2"]]);
    expect(await ledger.expire(time, 10)).toBe(1);
    expect(await ledger.expire(time, 10)).toBe(0);
    expect(await Promise.all(["old", "touched", "running"].map(async (id) => (await rows(stores, id)).length))).toEqual(
      [0, 3, 2],
    );
    expect(await ledger.expire(clock.now(), 10)).toBe(3);
  });
});

/** The run `r1` as it stands. */
async function current({ runs }: SqlStores) {
  const run = await runs.get("t1", "r1");
  if (run === undefined) throw new Error("no run r1");
  return run;
}
