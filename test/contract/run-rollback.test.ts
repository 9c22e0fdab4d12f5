/** A rolled-back run leaves its thread as if it had never been admitted. */

import { describe, expect, it } from "vitest";
import type { Run } from "../../src/core/model.js";
import {
  admission,
  admitAndClaim,
  claim,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  projection,
  reservation,
  type SqlStores,
} from "../support/sql-stores.js";

const HOUR_MS = 3_600_000;

describe("a rollback", () => {
  const settledThread = async (stores: SqlStores) => {
    const { runs, threads, clock } = stores;
    await threads.create(newThread({ metadata: { owner: "me", assistant_id: "old", list: [1] } }));
    await runs.finish(
      leaseOf(await admitAndClaim(stores, "r0")),
      outcome({ status: "error", error: { error: "E", message: "m" }, projection: projection({ next: ["n"] }) }),
    );
    await threads.patch("t1", { metadata: { graph_id: "g0", assistant_id: "a0" } });
    clock.advance(1_000);
    return stores.dumpThread("t1");
  };
  const rollBack = async (stores: SqlStores, run: Run) => {
    stores.clock.advance(7);
    expect(await stores.runs.markRollingBack(leaseOf(run))).toBe(true);
    await stores.runs.removeRolledBack(run);
  };

  it("of a running run leaves the thread's rows byte-equal to before", async () => {
    const stores = await openSqlStores();
    const dump = await settledThread(stores);
    const run = await admitAndClaim(stores, "r1");
    expect(await stores.dumpThread("t1")).not.toBe(dump);
    await rollBack(stores, run);
    expect(await stores.dumpThread("t1")).toBe(dump);
    expect(await stores.runs.get("t1", "r1")).toBeUndefined();
  });

  it("of a pending run does so too", async () => {
    const stores = await openSqlStores();
    const dump = await settledThread(stores);
    await stores.runs.admit(admission({ runId: "r1" }));
    await stores.runs.requestCancel("t1", "r1", "rollback");
    expect(await stores.dumpThread("t1")).toBe(dump);
  });

  it("keeps what a later run wrote whose row was deleted", async () => {
    const stores = await openSqlStores();
    const { runs, threads, clock } = stores;
    await runs.admit(admission({ runId: "delayed", runAfter: clock.now() + HOUR_MS }));
    const run = await admitAndClaim(stores, "r1");
    await runs.finish(leaseOf(run), outcome());
    clock.advance(1_000);
    const dump = await stores.dumpThread("t1");
    expect(await runs.remove("t1", "r1")).toBe(true);
    await runs.requestCancel("t1", "delayed", "rollback");
    expect(await stores.dumpThread("t1")).toBe(dump.replace('"busy"', '"idle"'));
    expect((await threads.get("t1"))?.metadata).toMatchObject({ graph_id: "g1" });
  });

  it.each([
    ["the first first", ["r1", "r2", "r3"]],
    ["the last first", ["r3", "r2", "r1"]],
    ["the middle first", ["r2", "r1", "r3"]],
  ])("of several runs leaves nothing of any of them, %s", async (_order, order) => {
    const stores = await openSqlStores();
    const dump = await settledThread(stores);
    for (const [index, runId] of ["r1", "r2", "r3"].entries()) {
      await stores.runs.admit(admission({ runId, assistantId: `a${index % 2}` }));
      stores.clock.advance(10);
    }
    for (const runId of order) await stores.runs.requestCancel("t1", runId, "rollback");
    expect(await stores.dumpThread("t1")).toBe(dump);
  });

  it("by a run that replaces others leaves what that run alone would have left", async () => {
    const [replacing, alone] = [await openSqlStores(), await openSqlStores()];
    for (const stores of [replacing, alone]) await settledThread(stores);
    const run = await admitAndClaim(replacing, "r1");
    await replacing.runs.admit(admission({ runId: "r2", assistantId: "a2" }));
    replacing.clock.advance(10);
    alone.clock.advance(10);
    await replacing.runs.admit(admission({ runId: "r3", assistantId: "a3" }, { cancelInFlight: "rollback" }));
    await alone.runs.admit(admission({ runId: "r3", assistantId: "a3" }));
    await rollBack(replacing, run);
    alone.clock.advance(7);
    expect(await replacing.dumpThread("t1")).toBe(await alone.dumpThread("t1"));
    for (const stores of [replacing, alone]) await stores.runs.finish(leaseOf(await claim(stores)), outcome());
    expect(await replacing.dumpThread("t1")).toBe(await alone.dumpThread("t1"));
  });

  it("keeps what others changed meanwhile", async () => {
    const stores = await openSqlStores();
    await settledThread(stores);
    const run = await admitAndClaim(stores, "r1");
    stores.clock.advance(1);
    await stores.threads.patch("t1", { metadata: { title: "new" } });
    const patchedAt = stores.clock.now();
    await rollBack(stores, run);
    expect(await stores.threads.get("t1")).toMatchObject({
      metadata: { owner: "me", title: "new" },
      updatedAt: patchedAt,
      status: "error",
    });
  });

  it("of a run that another has overtaken keeps what the other says about the thread", async () => {
    const stores = await openSqlStores();
    const { runs, threads, clock } = stores;
    await threads.create(newThread());
    await runs.admit(admission({ runId: "delayed", runAfter: clock.now() + HOUR_MS }));
    clock.advance(10);
    await runs.finish(leaseOf(await admitAndClaim(stores, "r2")), outcome());
    const dump = await stores.dumpThread("t1");
    await runs.requestCancel("t1", "delayed", "rollback");
    expect(await threads.get("t1")).toMatchObject({ metadata: { graph_id: "g1", assistant_id: "a1" }, status: "idle" });
    expect(await stores.dumpThread("t1")).toBe(dump.replace('"status":"busy"', '"status":"idle"'));
  });

  it("that has begun survives a crash: the run neither runs nor ends any other way, and its thread is taken", async () => {
    const stores = await openSqlStores();
    const { runs, threads } = stores;
    const dump = await settledThread(stores);
    const run = await admitAndClaim(stores, "r1");
    await runs.markRollingBack(leaseOf(run));
    expect(await runs.recoverOrphans()).toEqual([]);
    expect(await runs.finish(leaseOf(run), outcome())).toBe(false);
    expect(await runs.release(leaseOf(run))).toBe(false);
    expect(await threads.reserve("t1", reservation("x"))).toBe("busy");
    const [found, ...others] = await runs.listRollingBack();
    expect([found?.runId, others]).toEqual(["r1", []]);
    await runs.removeRolledBack(run);
    await runs.removeRolledBack(run); // the sweep may repeat itself
    expect(await stores.dumpThread("t1")).toBe(dump);
    expect(await runs.listRollingBack()).toEqual([]);
  });

  it("is not begun by taking a run away that was never marked", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    await stores.runs.removeRolledBack(run);
    expect(await stores.runs.get("t1", "r1")).toBeDefined();
  });
});
