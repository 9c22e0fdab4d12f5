/** The audit of runs: every transition that the run store makes leaves one row, in its own transaction. */
import { describe, expect, it } from "vitest";
import { openSqlite } from "../../src/storage/sqlite.js";
import { startTestGateway } from "../support/gateway.js";
import { checkHistory, judgedRules } from "../support/history.js";
import { dumpDatabase, dumpFolder } from "../support/history-dump.js";
import {
  admission,
  admitAndClaim,
  claim,
  LEASE_MS,
  leaseOf,
  openSqlStores,
  outcome,
  type SqlStores,
} from "../support/sql-stores.js";
import { ON_POSTGRES, onSqlite } from "../support/test-database.js";

type Transition = readonly [
  runId: string,
  oldStatus: string | null,
  newStatus: string | null,
  fence: number,
  attempt: number,
];

/** All of the audit, oldest first. */
async function auditOf(stores: SqlStores): Promise<readonly Transition[]> {
  const rows = await stores.rows("SELECT run_id, old_status, new_status, fence, attempt FROM run_audit ORDER BY seq");
  return rows.map((row) => Object.values(row) as unknown as Transition); // the columns above
}

const ADMITTED: Transition = ["r1", null, "pending", 0, 0];
const CLAIMED: Transition = ["r1", "pending", "running", 1, 1];

describe("the audit shows", () => {
  it("an admission and a claim", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    expect(await auditOf(stores)).toEqual([ADMITTED, CLAIMED]);
  });

  it("a claim by the admission itself", async () => {
    const stores = await openSqlStores();
    await stores.runs.admit(admission({ runId: "r1" }, { claim: { workerId: "w1", leaseMs: LEASE_MS } }));
    expect(await auditOf(stores)).toEqual([["r1", null, "running", 1, 1]]);
  });

  if (ON_POSTGRES) {
    it("when the database made the change, however long whoever asked for it had waited", async () => {
      const stores = await openSqlStores();
      await admitAndClaim(stores, "r1");
      await stores.rows("UPDATE runs SET fence = 2, updated_at = ? WHERE run_id = 'r1'", stores.clock.now() - 700);
      expect(await stores.column("SELECT at FROM run_audit WHERE fence = 2")).toEqual([stores.clock.now()]);
    });
  }

  it.each(["success", "error", "timeout", "interrupted"] as const)("an end as %s", async (status) => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    await stores.runs.finish(leaseOf(run), outcome({ status }));
    expect(await auditOf(stores)).toEqual([ADMITTED, CLAIMED, ["r1", "running", status, 1, 1]]);
  });

  it("a release, which gives the attempt back, and the claim that follows it", async () => {
    const stores = await openSqlStores();
    await stores.runs.release(leaseOf(await admitAndClaim(stores, "r1")));
    await claim(stores);
    expect((await auditOf(stores)).slice(2)).toEqual([
      ["r1", "running", "pending", 1, 0],
      ["r1", "pending", "running", 2, 1],
    ]);
  });

  it("a recovery, which spends the attempt", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    await stores.runs.recoverOrphans();
    expect((await auditOf(stores)).slice(2)).toEqual([["r1", "running", "pending", 1, 1]]);
  });

  it("the cancel of a run that never ran", async () => {
    const stores = await openSqlStores();
    await stores.runs.admit(admission({ runId: "r1" }));
    await stores.runs.requestCancel("t1", "r1", "interrupt");
    expect(await auditOf(stores)).toEqual([ADMITTED, ["r1", "pending", "interrupted", 0, 0]]);
  });

  it("the rollback of a run that never ran", async () => {
    const stores = await openSqlStores();
    await stores.runs.admit(admission({ runId: "r1" }));
    await stores.runs.requestCancel("t1", "r1", "rollback");
    expect(await auditOf(stores)).toEqual([ADMITTED, ["r1", "pending", null, 0, 0]]);
  });

  it("a rollback, when its row goes", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    await stores.runs.requestCancel("t1", "r1", "rollback");
    await stores.runs.markRollingBack(leaseOf(run));
    expect(await auditOf(stores)).toEqual([ADMITTED, CLAIMED]); // marked, but not gone
    await stores.runs.removeRolledBack(run);
    expect(await auditOf(stores)).toEqual([ADMITTED, CLAIMED, ["r1", "running", null, 1, 1]]);
  });

  it("what an admission does to the runs that it cancels, before the run itself", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    await stores.runs.admit(admission({ runId: "r2" }));
    await stores.runs.admit(admission({ runId: "r3" }, { cancelInFlight: "interrupt" }));
    expect((await auditOf(stores)).slice(3)).toEqual([
      ["r2", "pending", "interrupted", 0, 0],
      ["r3", null, "pending", 0, 0],
    ]);
  });

  it("the deletion of a run that has ended", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    await stores.runs.finish(leaseOf(run), outcome());
    await stores.runs.remove("t1", "r1");
    expect((await auditOf(stores)).at(-1)).toEqual(["r1", "success", null, 1, 1]);
  });

  it("when, and by whom", async () => {
    const stores = await openSqlStores();
    const at = [stores.clock.now(), stores.clock.now() + 5, stores.clock.now() + 12];
    await stores.runs.admit(admission({ runId: "r1" }));
    stores.clock.advance(5);
    const run = await claim(stores, "w7");
    stores.clock.advance(7);
    await stores.runs.finish(leaseOf(run, "w7"), outcome());
    const rows = await stores.rows("SELECT at, worker_id FROM run_audit ORDER BY seq");
    expect(rows.map((row) => Object.values(row))).toEqual([
      [at[0], null],
      [at[1], "w7"],
      [at[2], "w7"],
    ]);
  });
});

describe("the audit does not show", () => {
  it("what changes neither status nor fence", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    await stores.runs.renew(leaseOf(run), LEASE_MS);
    await stores.runs.requestCancel("t1", "r1", "interrupt");
    expect(await auditOf(stores)).toEqual([ADMITTED, CLAIMED]);
  });

  it("what did not happen", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    const stale = { ...leaseOf(run), fence: 7 };
    await stores.runs.finish(stale, outcome());
    await stores.runs.release(stale);
    await stores.runs.remove("t1", "r1");
    const refused = {
      ...admission({ runId: "r2" }),
      decide: () => ({ kind: "refuse" as const, error: new Error("no") }),
    };
    await expect(stores.runs.admit(refused)).rejects.toThrow("no");
    expect(await auditOf(stores)).toEqual([ADMITTED, CLAIMED]);
  });

  it("anything of a thread that was deleted", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    await stores.runs.admit(admission({ runId: "other", threadId: "t2" }));
    await stores.runs.admit(admission({ runId: "r2" }));
    await stores.threads.markDeleting("t1");
    await stores.threads.remove("t1");
    expect((await auditOf(stores)).map(([runId]) => runId)).toEqual(["other"]);
  });
});

describe("a dump of the databases", () => {
  it("of a gateway that stopped holds what the checker judges by", async () => {
    const gateway = await startTestGateway({ storage: "sqlite" });
    try {
      const { client } = gateway;
      const { thread_id: threadId } = await client.threads.create({ metadata: { topic: "x" } });
      await client.runs.wait(threadId, "counter", { input: {}, metadata: { request: "q1" } });
      await client.runs.wait(null, "counter", { input: {} });
      await client.runs.create(threadId, "echo", { input: { messages: [] }, afterSeconds: 3_600 });
      await client.store.putItem(["a", "b"], "k", { v: 1 });
      const stopped = await gateway.restart(); // closes the files once
      const found = dumpFolder(gateway.dataDir);
      await stopped.stop();

      const { audit, dump } = found;
      expect(dump.threads).toEqual([
        {
          threadId,
          status: "busy",
          metadata: expect.objectContaining({ topic: "x" }),
          values: expect.objectContaining({ count: 1 }),
          deleting: false,
        },
      ]);
      expect(dump.runs.map(({ status, temporary }) => ({ status, temporary }))).toEqual([
        { status: "success", temporary: false },
        { status: "pending", temporary: false },
      ]);
      expect(dump.runs[0]?.metadata).toMatchObject({ request: "q1" });
      expect(dump.items).toEqual([{ namespace: ["a", "b"], key: "k", value: { v: 1 } }]);
      for (const table of ["checkpoints", "runs", "run_audit", "thread_terms", "thread_values"]) {
        expect(Object.keys(dump.rowsByThread[table] ?? {})).toEqual([threadId]);
      }
      expect(dump.checkpoints.length).toBeGreaterThan(0);
      expect(audit.map(({ newStatus }) => newStatus)).toEqual(["running", "success", "pending"]);

      const history = { audit, dump, clock: "system" as const };
      expect(checkHistory(history)).toEqual([]);
      expect(judgedRules(history)).toEqual(["R1", "R3", "R4", "R7", "R8", "R9", "R10", "R11", "R15", "R18"]);
    } finally {
      await gateway.stop();
    }
  });

  onSqlite("counts what names a run and no thread, and not what is done with", async () => {
    const stores = await openSqlStores();
    const insert = stores.connection.prepare(
      "INSERT INTO outbox (run_id, kind, payload, next_at, done_at) VALUES (?, 'webhook', '{}', 0, ?)",
    );
    insert.run("r1", null);
    insert.run("r1", null);
    insert.run("r2", 7);
    const checkpoints = openSqlite(":memory:", "NORMAL");
    checkpoints.exec("CREATE TABLE checkpoints (thread_id, run_id, checkpoint_id)");
    checkpoints.exec("CREATE TABLE writes (thread_id, run_id, checkpoint_id)");
    const { dump } = dumpDatabase({ database: stores.connection, checkpoints }, 5);
    expect(dump.rowsByRun.outbox).toEqual({ r1: 2 });
    expect(dump.takenAt).toBe(5);
  });
});
