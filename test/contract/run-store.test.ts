/** What `SqlRunStore` promises to the run manager and the workers. */

import { describe, expect, it } from "vitest";
import type { RunStatus } from "../../src/core/model.js";
import { isUniqueViolation } from "../../src/storage/database.js";
import type { AdmitResult } from "../../src/storage/ports/runs.js";
import { latestTransition } from "../../src/storage/runs.js";
import {
  admission,
  admitAndClaim,
  claim,
  LEASE_MS,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  PAYLOAD,
  projection,
  reservation,
  type SqlStores,
} from "../support/sql-stores.js";
import { onSqlite } from "../support/test-database.js";

describe("claiming", () => {
  it("takes runs by due time, then creation, each thread one at a time", async () => {
    const stores = await openSqlStores();
    const { runs, clock } = stores;
    const now = clock.now();
    await runs.admit(admission({ runId: "a-late", threadId: "a", runAfter: now - 1 }));
    await runs.admit(admission({ runId: "a-early", threadId: "a", runAfter: now - 5 }));
    await runs.admit(admission({ runId: "b1", threadId: "b", runAfter: now - 3 }));
    await runs.admit(admission({ runId: "b2", threadId: "b", runAfter: now - 3 }));
    await runs.admit(admission({ runId: "c-future", threadId: "c", runAfter: now + 1 }));
    const first = await claim(stores);
    const second = await claim(stores);
    expect([first.runId, second.runId]).toEqual(["a-early", "b1"]);
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined();
    await runs.finish(leaseOf(second), outcome());
    expect((await claim(stores)).runId).toBe("b2");
    await runs.finish(leaseOf(first), outcome());
    expect((await claim(stores)).runId).toBe("a-late");
    clock.advance(1);
    expect((await claim(stores)).runId).toBe("c-future");
  });

  it("lets a delayed run hold back those that are due after it, not before it", async () => {
    const stores = await openSqlStores();
    const { runs, clock } = stores;
    await runs.admit(admission({ runId: "delayed", runAfter: clock.now() + 1_000 }));
    await runs.admit(admission({ runId: "now", runAfter: clock.now() }));
    expect((await claim(stores)).runId).toBe("now");
    clock.advance(1_000);
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined();
  });

  it("waits for the running run, even with one that was due before it", async () => {
    const stores = await openSqlStores();
    await stores.runs.admit(admission({ runId: "r1", runAfter: stores.clock.now() }));
    await claim(stores);
    await stores.runs.admit(admission({ runId: "r2", runAfter: stores.clock.now() - 1 }));
    expect(await stores.runs.claim("w1", LEASE_MS)).toBeUndefined();
    expect(await stores.runs.nextDueAt()).toBeUndefined();
  });

  it("starts an attempt with a new fence", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    expect(run).toMatchObject({ status: "running", attempt: 1, fence: 1 });
    expect(await stores.runs.get("t1", "r1")).toEqual(run);
  });

  it("leaves the runs of a thread that is reserved or being deleted", async () => {
    const { runs, threads } = await openSqlStores();
    await threads.create(newThread());
    await threads.reserve("t1", reservation("update"));
    await runs.admit(admission({ runId: "r1" }));
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined();
    expect(await runs.nextDueAt()).toBeUndefined();
    await threads.release("t1", "update");
    await threads.markDeleting("t1");
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined();
    expect(await runs.nextDueAt()).toBeUndefined();
  });

  it("gives concurrent claimers different runs", async () => {
    const { runs } = await openSqlStores();
    for (let index = 0; index < 10; index++) await runs.admit(admission({ runId: `r${index}`, threadId: `t${index}` }));
    const won = await Promise.all(Array.from({ length: 20 }, (_, index) => runs.claim(`w${index}`, LEASE_MS)));
    expect(won.filter((run) => run !== undefined)).toHaveLength(10);
    expect(new Set(won.flatMap((run) => run?.runId ?? [])).size).toBe(10);
  });

  it("has the database refuse a second running run of a thread, whoever writes it", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    await stores.runs.admit(admission({ runId: "r2" }));
    const force = stores.rows("UPDATE runs SET status = 'running' WHERE run_id = 'r2'");
    await expect(force).rejects.toSatisfy(isUniqueViolation);
  });

  onSqlite("tries again when another process took a run of the same thread in between", async () => {
    const stores = await openSqlStores();
    const { runs, connection } = stores;
    await runs.admit(admission({ runId: "r1" }));
    let collisions = 2;
    connection.function("collide", () => (collisions-- > 0 ? 1 : 0));
    connection.exec(`CREATE TEMP TRIGGER other_process BEFORE UPDATE ON main.runs WHEN collide() = 1
      BEGIN UPDATE runs SET run_id = 'r1'; INSERT INTO runs SELECT NULL, run_id, thread_id, assistant_id, graph_id,
        created_at, updated_at, status, metadata, multitask_strategy, payload, attempt, fence, run_after, worker_id,
        lease_until, cancel_action, cancel_requested_at, rolling_back, owner, error, thread_metadata_before,
        thread_updated_at_before, first_claim, temporary, webhook, started_at, abandoned_at FROM runs; END`);
    expect((await claim(stores)).runId).toBe("r1");
    expect(collisions).toBeLessThan(0);
  });

  it("knows when the next run becomes due, and nothing of runs that wait for others", async () => {
    const stores = await openSqlStores();
    const { runs, clock } = stores;
    const now = clock.now();
    expect(await runs.nextDueAt()).toBeUndefined();
    await runs.admit(admission({ runId: "a1", threadId: "a", runAfter: now }));
    await runs.admit(admission({ runId: "a2", threadId: "a", runAfter: now }));
    await runs.admit(admission({ runId: "b1", threadId: "b", runAfter: now + 500 }));
    expect(await runs.nextDueAt()).toBe(now);
    await claim(stores);
    expect(await runs.nextDueAt()).toBe(now + 500);
  });
});

describe("a lease", () => {
  it("is held by its worker until another claim takes the run over", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    const stale = leaseOf(await admitAndClaim(stores, "r1"));
    expect(await runs.renew(stale, LEASE_MS)).toEqual({ held: true, cancel: null });
    await runs.recoverOrphans();
    const owner = leaseOf(await claim(stores, "w2"), "w2");
    expect(owner.fence).toBe(2);
    expect(await runs.renew(stale, LEASE_MS)).toEqual({ held: false, cancel: null });
    expect(await runs.renew(owner, LEASE_MS)).toEqual({ held: true, cancel: null });
  });

  it("hears of a cancel when it is renewed", async () => {
    const stores = await openSqlStores();
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    await stores.runs.requestCancel("t1", "r1", "rollback");
    expect(await stores.runs.renew(lease, LEASE_MS)).toEqual({ held: true, cancel: "rollback" });
  });

  it("gives nothing to a worker that lost it: every transition fails and nothing changes", async () => {
    const stores = await openSqlStores();
    const { runs, threads, rows, dumpThread } = stores;
    const stale = leaseOf(await admitAndClaim(stores, "r1"));
    await runs.recoverOrphans();
    await claim(stores, "w2");
    const dump = async () => (await dumpThread("t1")) + JSON.stringify(await rows("SELECT * FROM runs"));
    const before = await dump();
    expect(await runs.finish(stale, outcome())).toBe(false);
    expect(await runs.finish({ ...stale, fence: 2 }, outcome())).toBe(false); // the right fence, the wrong worker
    expect(await runs.finish({ ...stale, workerId: "w2" }, outcome())).toBe(false); // the right worker, an old fence
    expect(await runs.finish({ ...stale, fence: 2, workerId: "w2", threadId: "t2" }, outcome())).toBe(false);
    expect(await runs.release(stale)).toBe(false);
    expect(await runs.markRollingBack(stale)).toBe(false);
    expect(await dump()).toBe(before);
    expect((await threads.get("t1"))?.status).toBe("busy");
  });

  it("goes back without spending the attempt, and the next claim has a new fence", async () => {
    const stores = await openSqlStores();
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    expect(await stores.runs.release(lease)).toBe(true);
    expect(await stores.runs.get("t1", "r1")).toMatchObject({ status: "pending", attempt: 0, fence: 1 });
    expect((await stores.threads.get("t1"))?.status).toBe("busy");
    expect(await claim(stores)).toMatchObject({ attempt: 1, fence: 2 });
  });
});

describe("finishing", () => {
  const waiting = { task: [{ id: "i1", value: "sure?" }] };
  const failure = { error: "ValueError", message: "bad" };

  it.each([
    ["success", null, projection(), "idle"],
    ["success", null, projection({ next: ["node"] }), "interrupted"],
    ["success", null, projection({ interrupts: waiting }), "interrupted"],
    ["interrupted", null, projection({ next: ["node"] }), "interrupted"],
    ["interrupted", null, projection(), "idle"],
    ["error", failure, projection({ next: ["node"] }), "error"],
    ["timeout", failure, projection(), "error"],
    ["timeout", null, projection(), "error"],
  ] as const)("as %s (%j) with %j leaves the thread %s", async (status, error, state, expected) => {
    const stores = await openSqlStores();
    const { runs, threads, clock } = stores;
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    clock.advance(5);
    expect(await runs.finish(lease, outcome({ status, error, projection: state }))).toBe(true);
    expect(await runs.get("t1", "r1")).toMatchObject({ status, error, updatedAt: clock.now() });
    const thread = await threads.get("t1");
    expect(thread).toMatchObject({
      status: expected,
      interrupts: state.interrupts,
      valuesJson: state.valuesJson,
      updatedAt: clock.now(),
      stateUpdatedAt: clock.now(),
    });
    expect(thread?.error === null).toBe(expected !== "error");
  });

  it("leaves the thread busy while another run waits, and remembers the error for when none does", async () => {
    const stores = await openSqlStores();
    const { runs, threads } = stores;
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    await runs.admit(admission({ runId: "r2" }));
    await runs.finish(lease, outcome({ status: "error", error: failure }));
    expect(await threads.get("t1")).toMatchObject({ status: "busy", error: null });
    expect(await runs.requestCancel("t1", "r2", "interrupt")).toBe("ended");
    expect(await threads.get("t1")).toMatchObject({ status: "error", error: failure });
  });

  it("clears the error of an earlier run", async () => {
    const stores = await openSqlStores();
    const { runs, threads } = stores;
    await runs.finish(leaseOf(await admitAndClaim(stores, "r1")), outcome({ status: "error", error: failure }));
    await runs.finish(leaseOf(await admitAndClaim(stores, "r2")), outcome());
    expect(await threads.get("t1")).toMatchObject({ status: "idle", error: null });
  });

  it("without a projection leaves the state as it was", async () => {
    const stores = await openSqlStores();
    const { runs, threads, clock } = stores;
    const state = projection({ interrupts: waiting, valuesJson: '{"n":1}' });
    await runs.finish(leaseOf(await admitAndClaim(stores, "r1")), outcome({ projection: state }));
    const stateUpdatedAt = clock.now();
    clock.advance(5);
    const lease = leaseOf(await admitAndClaim(stores, "r2"));
    await runs.finish(lease, outcome({ status: "interrupted", projection: null }));
    expect(await threads.get("t1")).toMatchObject({
      status: "interrupted",
      interrupts: waiting,
      valuesJson: '{"n":1}',
      stateUpdatedAt,
    });
  });

  it("marks a thread that was made for the run for deletion, in the same transaction", async () => {
    const stores = await openSqlStores();
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    await stores.runs.finish(lease, outcome({ deleteThread: true }));
    expect(await stores.threads.get("t1")).toBeUndefined();
    expect(await stores.threads.listDeleting()).toEqual(["t1"]);
  });

  it("happens once: a terminal run never changes", async () => {
    const stores = await openSqlStores();
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    expect(await stores.runs.finish(lease, outcome())).toBe(true);
    expect(await stores.runs.finish(lease, outcome({ status: "error", error: failure }))).toBe(false);
    expect((await stores.runs.get("t1", "r1"))?.status).toBe("success");
  });
});

describe("a cancel", () => {
  /** Brings run `r1` into a state, asks for the cancel, and says what became of it. */
  const states = {
    pending: async () => {},
    running: async (stores: SqlStores) => void (await claim(stores)),
    "running with a cancel": async (stores: SqlStores) => {
      await claim(stores);
      await stores.runs.requestCancel("t1", "r1", "interrupt");
    },
    "pending after a crash": async (stores: SqlStores) => {
      await claim(stores);
      await stores.runs.recoverOrphans();
    },
    interrupted: async (stores: SqlStores) => {
      await stores.runs.finish(leaseOf(await claim(stores)), outcome({ status: "interrupted" }));
    },
    success: async (stores: SqlStores) => void (await stores.runs.finish(leaseOf(await claim(stores)), outcome())),
  };

  it.each([
    ["pending", "interrupt", "ended", { status: "interrupted", cancelAction: "interrupt" }, "idle"],
    ["pending", "rollback", "ended", undefined, "idle"],
    ["running", "interrupt", "requested", { status: "running", cancelAction: "interrupt" }, "busy"],
    ["running", "rollback", "requested", { status: "running", cancelAction: "rollback" }, "busy"],
    ["running with a cancel", "rollback", "requested", { status: "running", cancelAction: "interrupt" }, "busy"],
    ["pending after a crash", "interrupt", "requested", { status: "pending", cancelAction: "interrupt" }, "busy"],
    ["pending after a crash", "rollback", "requested", { status: "pending", cancelAction: "rollback" }, "busy"],
    ["interrupted", "interrupt", "already", { status: "interrupted" }, "idle"],
    ["interrupted", "rollback", "already", { status: "interrupted" }, "idle"],
    ["success", "interrupt", "finished", { status: "success", cancelAction: null }, "idle"],
    ["success", "rollback", "finished", { status: "success", cancelAction: null }, "idle"],
  ] as const)("of a run that is %s with %s: %s", async (state, action, answer, run, thread) => {
    const stores = await openSqlStores();
    await stores.runs.admit(admission({ runId: "r1" }));
    await states[state](stores);
    expect(await stores.runs.requestCancel("t1", "r1", action)).toBe(answer);
    const row = await stores.runs.get("t1", "r1");
    if (run === undefined) expect(row).toBeUndefined();
    else expect(row).toMatchObject(run);
    expect((await stores.threads.get("t1"))?.status).toBe(thread);
  });

  it("answers missing for an unknown run, and for a run of another thread", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(admission({ runId: "r1" }));
    expect(await runs.requestCancel(null, "nope", "interrupt")).toBe("missing");
    expect(await runs.requestCancel("t2", "r1", "interrupt")).toBe("missing");
    expect(await runs.requestCancel(null, "r1", "interrupt")).toBe("ended");
  });

  it("of a pending run keeps any worker from executing it", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(admission({ runId: "r1" }));
    await runs.requestCancel("t1", "r1", "interrupt");
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined();
  });

  it("that came before a crash is seen by the next claim", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    await stores.runs.requestCancel("t1", "r1", "rollback");
    await stores.runs.recoverOrphans();
    expect(await claim(stores)).toMatchObject({ cancelAction: "rollback", fence: 2 });
  });

  it.each([
    ["interrupt", ["running", "interrupted", "pending"]],
    ["rollback", ["running", "gone", "pending"]],
  ] as const)("of everything in flight comes with a run that %ss the others", async (action, expected) => {
    const stores = await openSqlStores();
    const { runs } = stores;
    await admitAndClaim(stores, "r1");
    await runs.admit(admission({ runId: "r2" }));
    const admitted = (await runs.admit(admission({ runId: "r3" }, { cancelInFlight: action }))) as AdmitResult & {
      readonly kind: "admitted";
    };
    expect(admitted.cancelled.map(({ runId, status }) => [runId, status])).toEqual([
      ["r1", "running"],
      ["r2", "pending"],
    ]);
    const found = await Promise.all(["r1", "r2", "r3"].map((runId) => runs.get("t1", runId)));
    expect(found.map((run) => run?.status ?? "gone")).toEqual(expected);
    expect(found[0]?.cancelAction).toBe(action);
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined(); // r3 waits until r1 has really stopped
  });
});

describe("recovery at start", () => {
  it("puts running runs back, their attempt spent, ahead of what waited behind them", async () => {
    const stores = await openSqlStores();
    const { runs, threads } = stores;
    await admitAndClaim(stores, "r1");
    await runs.admit(admission({ runId: "r2" }));
    const orphans = await runs.recoverOrphans();
    expect(orphans).toHaveLength(1);
    expect(orphans[0]).toMatchObject({ runId: "r1", status: "pending", attempt: 1, fence: 1 });
    expect((await threads.get("t1"))?.status).toBe("busy");
    expect(await claim(stores)).toMatchObject({ runId: "r1", attempt: 2, fence: 2 });
  });

  it("knows when a run that is in flight was last admitted or claimed, whatever the clock says", async () => {
    const stores = await openSqlStores();
    const { runs, clock, database } = stores;
    expect(await latestTransition(database)).toBe(0);
    await runs.admit(admission({ runId: "r1", threadId: "a", runAfter: clock.now() }));
    clock.advance(5);
    const first = await claim(stores);
    const claimedAt = clock.now();
    clock.set(-1_000);
    await admitAndClaim(stores, "r2");
    expect(await latestTransition(database)).toBe(claimedAt);
    await runs.finish(leaseOf(first), outcome());
    expect(await latestTransition(database)).toBe(claimedAt - 1_000);
  });

  it("keeps threads reserved that a dead process was writing to", async () => {
    const { runs, threads } = await openSqlStores();
    await threads.create(newThread());
    await threads.reserve("t1", reservation("dead"));
    await runs.recoverOrphans();
    expect(await threads.listReserved()).toEqual([{ threadId: "t1", owner: "dead" }]);
    await threads.release("t1", "dead");
    expect(await threads.listReserved()).toEqual([]);
  });
});

describe("looking at runs", () => {
  it("lists the runs of a thread newest first, with their total", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    await admitAndClaim(stores, "r1");
    for (const runId of ["r2", "r3", "r4"]) await runs.admit(admission({ runId }));
    await runs.admit(admission({ runId: "other", threadId: "t2" }));
    const ids = async (query: { limit: number; offset: number; status?: RunStatus }) => {
      const page = await runs.list("t1", { ...query, maxBytes: 1e9, withPayload: true });
      return [page.rows.map((run) => run.runId), page.total];
    };
    expect(await ids({ limit: 2, offset: 1 })).toEqual([["r3", "r2"], 4]);
    expect(await ids({ limit: 10, offset: 10 })).toEqual([[], 4]);
    expect(await ids({ limit: 10, offset: 0, status: "running" })).toEqual([["r1"], 1]);
  });

  it("refuses a page that takes more than it may before it reads a payload, but never a single run", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    const payload = { ...PAYLOAD, input: "x".repeat(1_000) };
    for (const runId of ["r1", "r2", "r3"]) await runs.admit(admission({ runId, payload }));
    const page = { limit: 3, offset: 0, maxBytes: 2_900, withPayload: true };
    const statements = await stores.statementsOf(async () => {
      await expect(runs.list("t1", page)).rejects.toMatchObject({ code: "validation", details: { limit: 2 } });
    });
    expect(statements.filter((statement) => /select [^(]*"payload"/.test(statement))).toEqual([]);
    const idsOf = async (changed: Partial<typeof page>) =>
      (await runs.list("t1", { ...page, ...changed })).rows.map((run) => [run.runId, run.payload?.input]);
    expect(await idsOf({ limit: 2 })).toEqual(["r3", "r2"].map((id) => [id, payload.input]));
    expect(await idsOf({ limit: 1, maxBytes: 1 })).toEqual([["r3", payload.input]]);
    expect(await idsOf({ withPayload: false })).toEqual(["r3", "r2", "r1"].map((id) => [id, undefined]));
  });

  it("lists what is in flight newest first, by thread and status", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    await runs.finish(leaseOf(await admitAndClaim(stores, "done")), outcome());
    await admitAndClaim(stores, "r1");
    await runs.admit(admission({ runId: "r2" }));
    await runs.admit(admission({ runId: "r3", threadId: "t2" }));
    const ids = async (filter: Parameters<typeof runs.listInFlight>[0]) =>
      (await runs.listInFlight(filter)).map((run) => run.runId);
    expect(await ids({})).toEqual(["r3", "r2", "r1"]);
    expect(await ids({ threadId: "t1" })).toEqual(["r2", "r1"]);
    expect(await ids({ threadId: "t1", status: "pending" })).toEqual(["r2"]);
  });

  it("reads no payload to list, cancel, recover or take back runs", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    await runs.admit(admission({ runId: "r1" }));
    await runs.admit(admission({ runId: "r2", threadId: "t2" }));
    await runs.admit(admission({ runId: "r3", threadId: "t3" }));
    const lease = leaseOf(await claim(stores));
    const before = await stores.statementsOf(async () => {
      await runs.listInFlight({});
      await runs.getBrief("t1", "r1");
      await runs.listIds("t1");
      await runs.requestCancel("t2", "r2", "interrupt");
      await runs.requestCancel("t3", "r3", "rollback");
      await runs.recoverOrphans();
    });
    const again = await claim(stores); // whoever claims a run executes it
    const after = await stores.statementsOf(async () => {
      await runs.markRollingBack(leaseOf(again));
      await runs.listRollingBack();
      await runs.removeRolledBack(lease);
    });
    expect([...before, ...after].filter((statement) => statement.includes('"payload"'))).toEqual([]);
  });

  it("counts the runs that wait", async () => {
    const stores = await openSqlStores();
    await admitAndClaim(stores, "r1");
    await stores.runs.admit(admission({ runId: "r2" }));
    await stores.runs.admit(admission({ runId: "r3" }));
    expect(await stores.runs.countPending()).toBe(2);
  });

  it("finds a run only under its own thread", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(admission({ runId: "r1" }));
    expect(await runs.listIds("t1")).toEqual(["r1"]);
    expect(await runs.listIds("t2")).toEqual([]);
    expect(await runs.getBrief("t2", "r1")).toBeUndefined();
    expect(await runs.getBrief("t1", "r1")).toMatchObject({ runId: "r1", payload: { temporary: false } });
    expect(await runs.get("t2", "r1")).toBeUndefined();
    expect((await runs.get(null, "r1"))?.threadId).toBe("t1");
  });

  it("deletes a finished run, never one in flight or of another thread", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    expect(await runs.remove("t1", "r1")).toBe(false);
    await runs.finish(lease, outcome());
    expect(await runs.remove("t2", "r1")).toBe(false);
    expect(await runs.remove("t1", "r1")).toBe(true);
    expect(await runs.remove("t1", "r1")).toBe(false);
  });
});

onSqlite(
  "the hot path admits, claims, renews, finishes and looks around without reading runs that are over",
  async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    const statements = await stores.statementsOf(async () => {
      const lease = leaseOf(await admitAndClaim(stores, "r1"));
      await runs.admit(admission({ runId: "r2" }, { cancelInFlight: "interrupt" }));
      await runs.renew(lease, LEASE_MS);
      await runs.finish(lease, outcome());
      await runs.nextDueAt();
      await runs.listInFlight({ threadId: "t1" });
      await stores.threads.reserve("t1", reservation("x"));
    });
    const plans = statements.map((statement) => stores.plan(statement)).join("\n");
    expect(plans).toMatch(/USING INDEX runs_claimable \(run_after<\?\)/);
    expect(plans).toMatch(/USING COVERING INDEX runs_in_flight/);
    // The one scan is of the runs that wait.
    expect(plans).not.toMatch(/SCAN (?!r USING INDEX runs_claimable)|runs_by_thread|TEMP B-TREE/);
  },
);
