/** A run that can start at once is claimed in the transaction that admits it, by the same rules as any claim. */
import { beforeEach, describe, expect, it } from "vitest";
import { admission, LEASE_MS, leaseOf, openSqlStores, reservation, type SqlStores } from "../support/sql-stores.js";

const CLAIM = { workerId: "w1", leaseMs: LEASE_MS };

describe("claiming at admission", () => {
  let stores: SqlStores;
  beforeEach(async () => {
    stores = await openSqlStores();
  });

  const admit = async (runId: string, run: { runAfter?: number } = {}) => {
    const admitted = await stores.runs.admit(admission({ runId, ...run }, { claim: CLAIM }));
    return admitted.run;
  };

  it("makes the run running with the first fence and attempt, and gives its lease away", async () => {
    const run = await admit("r1");
    expect(run).toMatchObject({ status: "running", fence: 1, attempt: 1 });
    expect(await stores.runs.get("t1", "r1")).toEqual(run);
    expect(await stores.runs.claim("w2", LEASE_MS)).toBeUndefined();
    expect(await stores.runs.renew(leaseOf(run), LEASE_MS)).toEqual({ held: true, cancel: null });
  });

  it("leaves a run pending behind another one in flight", async () => {
    await admit("r1");
    expect(await admit("r2")).toMatchObject({ status: "pending", fence: 0, attempt: 0 });
  });

  it("leaves a delayed run pending", async () => {
    expect(await admit("r1", { runAfter: Number.MAX_SAFE_INTEGER })).toMatchObject({ status: "pending" });
  });

  it("leaves a run pending while its thread is reserved", async () => {
    await stores.threads.create({ threadId: "t1", metadata: {}, ttl: null });
    await stores.threads.reserve("t1", reservation("update"));
    expect(await admit("r1")).toMatchObject({ status: "pending" });
    await stores.threads.release("t1", "update");
    expect(await stores.runs.claim("w1", LEASE_MS)).toMatchObject({ runId: "r1", fence: 1 });
  });
});
