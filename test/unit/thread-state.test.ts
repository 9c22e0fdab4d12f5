/** What becomes of state updates that a failure or the death of a process cut short. */
import { expect, it, onTestFinished, vi } from "vitest";
import { ANYONE } from "../../src/core/caller.js";
import { silentLog } from "../../src/core/log.js";
import type { StateUpdate } from "../../src/graphs/host.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { createThreadStateService } from "../../src/threads/state.js";
import { createDrivenHost } from "../support/driven-host.js";
import { settle } from "../support/run-kit.js";
import { admitAndClaim, leaseOf, openSqlStores, outcome, projection, reservation } from "../support/sql-stores.js";

const UPDATE = {
  checkpoint: null,
  supersteps: [[{ values: { log: ["update"] }, asNode: "work" } satisfies StateUpdate]],
};
const ERROR = { error: "E", message: "m" };

async function openKit() {
  const stores = await openSqlStores();
  const { threads, clock, runs } = stores;
  const checkpoints = openCheckpoints(":memory:");
  onTestFinished(() => checkpoints.close());
  const host = createDrivenHost(checkpoints, { executions: [], approvals: [] });
  const state = createThreadStateService({
    threads,
    checkpoints,
    host,
    configOf: async () => ({}),
    // The process dies before it gives the thread back.
    whileReserved: async (threadId, work) => {
      await threads.reserve(threadId, reservation("dead"));
      return work("dead");
    },
    clock,
    log: silentLog,
  });
  /** Ends the thread's run so; it is of the host's graph. */
  const endRun = async (end: Parameters<typeof outcome>[0]): Promise<void> => {
    const run = await admitAndClaim(stores, `r${clock.now()}`);
    clock.advance(1);
    await runs.finish(leaseOf(run), outcome(end));
  };
  /** Dies between the checkpoint and the row. */
  const dieInUpdate = async (): Promise<void> => {
    vi.spyOn(threads, "saveProjection").mockRejectedValueOnce(new Error("dead"));
    await expect(state.as(ANYONE).update("t1", UPDATE)).rejects.toThrow("dead");
  };
  return { ...stores, host, state, endRun, dieInUpdate };
}

it("a thread shows the update whose checkpoint is there, and is free again", async () => {
  const { threads, state, endRun, dieInUpdate } = await openKit();
  await endRun({ projection: projection({ interrupts: { task: [{ id: "i1", value: "?" }] }, next: ["ask"] }) });
  await dieInUpdate();
  expect(await threads.get("t1")).toMatchObject({ status: "interrupted" });
  await state.finishUpdates();
  expect(await threads.get("t1")).toMatchObject({ status: "idle", interrupts: {}, valuesJson: '{"log":["update"]}' });
  expect(await threads.listReserved()).toEqual([]);
});

it("a thread shows an update that was written although the graph failed afterwards", async () => {
  const { threads, state, host, endRun } = await openKit();
  await endRun({});
  const { updateState } = host;
  vi.spyOn(host, "updateState").mockImplementationOnce(async (...args) => {
    await updateState(...args);
    throw new Error("too late");
  });
  await expect(state.as(ANYONE).update("t1", UPDATE)).rejects.toThrow("too late");
  expect(await threads.get("t1")).toMatchObject({ status: "idle", valuesJson: '{"log":["update"]}' });
});

it("the error of a run before the update is over, that of one after it is not", async () => {
  const { threads, state, endRun, dieInUpdate } = await openKit();
  await endRun({ status: "error", error: ERROR });
  await dieInUpdate();
  await state.finishUpdates();
  expect(await threads.get("t1")).toMatchObject({ status: "idle", error: null });
  await endRun({ status: "error", error: ERROR, projection: null });
  await threads.reserve("t1", reservation("died before it wrote"));
  await state.finishUpdates();
  expect(await threads.get("t1")).toMatchObject({ status: "error", error: ERROR });
  expect(await threads.listReserved()).toEqual([]);
});

it("a graph that cannot show the state, or never does, holds up neither the start nor its thread", async () => {
  const { threads, state, clock, host, endRun, dieInUpdate } = await openKit();
  await endRun({});
  await dieInUpdate();
  const before = await threads.get("t1");
  const getState = vi.spyOn(host, "getState").mockRejectedValueOnce(new Error("the graph could not be made"));
  await state.finishUpdates();
  await threads.reserve("t1", reservation("dead"));
  getState.mockReturnValueOnce(new Promise(() => {}));
  const started = state.finishUpdates();
  await settle();
  clock.advance(10_000);
  await started;
  expect(await threads.get("t1")).toEqual(before);
  expect(await threads.listReserved()).toEqual([]);
});
