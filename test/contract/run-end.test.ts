/** Ends that clients were promised: an accepted cancel happens, a temporary thread leaves nothing behind. */
import { describe, expect, it } from "vitest";
import {
  admission,
  admitAndClaim,
  claim,
  LEASE_MS,
  leaseOf,
  newRun,
  openSqlStores,
  outcome,
  PAYLOAD,
} from "../support/sql-stores.js";

describe("an accepted cancel", () => {
  it.each(["success", "error", "timeout"] as const)("refuses to end the run with %s", async (status) => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    expect(await stores.runs.requestCancel("t1", "r1", "interrupt")).toBe("requested");
    expect(await stores.runs.finish(leaseOf(run), outcome({ status }))).toBe(false);
    expect(await stores.runs.renew(leaseOf(run), LEASE_MS)).toEqual({ held: true, cancel: "interrupt" });
    expect(await stores.runs.finish(leaseOf(run), outcome({ status: "interrupted" }))).toBe(true);
    expect((await stores.runs.get("t1", "r1"))?.status).toBe("interrupted");
  });

  it("comes too late for a run that has ended", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    expect(await stores.runs.finish(leaseOf(run), outcome())).toBe(true);
    expect(await stores.runs.requestCancel("t1", "r1", "interrupt")).toBe("finished");
  });
});

describe("a temporary thread", () => {
  const temporary = newRun({ runId: "r1", payload: { ...PAYLOAD, temporary: true } });

  it.each(["interrupt", "rollback"] as const)(
    "goes with its pending run when that is cancelled (%s)",
    async (action) => {
      const { runs, threads } = await openSqlStores();
      await runs.admit(admission(temporary));
      expect(await runs.requestCancel(null, "r1", action)).toBe("ended");
      expect(await threads.get("t1")).toBeUndefined();
      expect(await threads.listDeleting()).toEqual(["t1"]);
    },
  );

  it("goes with its running run when that is rolled back", async () => {
    const stores = await openSqlStores();
    await stores.runs.admit(admission(temporary));
    const run = await claim(stores);
    await stores.runs.requestCancel(null, "r1", "rollback");
    await stores.runs.markRollingBack(leaseOf(run));
    await stores.runs.removeRolledBack(run);
    expect(await stores.threads.listDeleting()).toEqual(["t1"]);
  });

  it("is told from a thread that a client made", async () => {
    const { runs, threads } = await openSqlStores();
    await runs.admit(admission({ runId: "r1" }));
    await runs.requestCancel(null, "r1", "rollback");
    expect((await threads.get("t1"))?.status).toBe("idle");
  });
});
