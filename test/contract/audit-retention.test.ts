/** How long the transitions of runs are kept on a thread that lives for ever. */
import { expect, it } from "vitest";
import { AUDIT_LIFE_MS, AUDIT_SWEEP_ROWS, expireAudit } from "../../src/storage/run-audit.js";
import { admission, admitAndClaim, leaseOf, openSqlStores, outcome, type SqlStores } from "../support/sql-stores.js";

const runsIn = (stores: SqlStores): Promise<unknown[]> =>
  stores.column("SELECT DISTINCT run_id FROM run_audit ORDER BY run_id");

const expire = ({ commits, clock }: SqlStores): Promise<number> =>
  commits.run((transaction) => expireAudit(transaction, clock.now() - AUDIT_LIFE_MS));

it("transitions go when they are old, but not those of a run in flight", async () => {
  const stores = await openSqlStores();
  await stores.runs.finish(leaseOf(await admitAndClaim(stores, "ended")), outcome());
  await stores.runs.finish(leaseOf(await admitAndClaim(stores, "deleted")), outcome());
  await stores.runs.remove("t1", "deleted");
  await stores.runs.admit(
    admission({ runId: "delayed", threadId: "t2", runAfter: stores.clock.now() + 2 * AUDIT_LIFE_MS }),
  );
  stores.clock.advance(AUDIT_LIFE_MS - 1);
  expect(await expire(stores)).toBe(0);
  stores.clock.advance(1);
  await stores.runs.finish(leaseOf(await admitAndClaim(stores, "young")), outcome());

  expect(await expire(stores)).toBe(7);

  expect(await runsIn(stores)).toEqual(["delayed", "young"]);
  expect(await stores.runs.get("t1", "ended")).toMatchObject({ status: "success" }); // the run itself stays
});

it("one sweep takes a bounded number, and the next ones the rest", async () => {
  const stores = await openSqlStores();
  await admitAndClaim(stores, "young");
  await stores.rows(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${AUDIT_SWEEP_ROWS + 200})
    INSERT INTO run_audit (run_id, thread_id, at, old_status, new_status, fence, attempt) SELECT 'r' || i, 't1', 1, NULL, 'pending', 0, 0 FROM n`);
  await stores.rows("UPDATE run_audit SET seq = seq + 100000 WHERE run_id = 'young'");
  expect([await expire(stores), await expire(stores), await expire(stores)]).toEqual([AUDIT_SWEEP_ROWS, 200, 0]);
  expect(await runsIn(stores)).toEqual(["young"]);
});
