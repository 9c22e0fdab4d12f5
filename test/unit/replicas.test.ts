/** What holds among replicas that share a database: runs of those that die or freeze go on elsewhere, once. */
import { describe, expect, it, vi } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { sequence } from "../support/checkpoint-graphs.js";
import { runOf } from "../support/checkpoint-rows.js";
import { NEVER, readAll } from "../support/events.js";
import { HEARTBEAT_MS, openCluster } from "../support/replicas.js";
import { settle } from "../support/run-kit.js";
import { runRequest } from "../support/run-request.js";
import { admission, LEASE_MS, leaseOf, newThread, PAYLOAD, projection, type SqlStores } from "../support/sql-stores.js";

const OVER_MS = LEASE_MS + 1_000;

describe("a worker that freezes", () => {
  it("loses its run to another replica, and says and writes nothing more of it", async () => {
    const { replica, pass, bridge, runs, transitions } = await openCluster();
    const [a, b] = [await replica(), await replica({ role: "worker" })];
    const { runId } = await a.manager.create("t1", runRequest());
    const old = await a.host.next();
    old.say({ data: '"before"' });
    await settle();
    a.freeze();
    await pass(OVER_MS);
    await b.sweep();
    const taken = await b.host.next();
    expect(taken.request).toMatchObject({ runId, attempt: 2 });
    a.thaw();
    old.say({ data: '"stale"' }); // before its renewal has answered
    await settle();
    expect(old.signal.reason).toBe("lost");
    taken.say({ data: '"after"' });
    taken.end({ kind: "finished", projection: projection({ valuesJson: '{"by":"b"}' }) });
    const said = await readAll(bridge, runId);
    expect(said.filter((data) => data.startsWith('"'))).toEqual(['"before"', '"after"']);
    expect(await runs.get("t1", runId)).toMatchObject({ status: "success", attempt: 2, fence: 2 });
    expect(await transitions(runId)).toEqual(["running", "pending", "running", "success"]);
    expect((await a.metrics.leasesLost.get()).values[0]?.value).toBe(1);
  });

  it("says nothing more of it either while nobody has begun it anew", async () => {
    const { replica, pass, bridge } = await openCluster();
    const [a, b] = [await replica(), await replica({ role: "api" })];
    const { runId } = await a.manager.create("t1", runRequest());
    const old = await a.host.next();
    a.freeze();
    a.worker.drain(); // it would take the run itself
    await pass(OVER_MS);
    await b.sweep();
    old.say({ data: '"stale"' }); // its renewal, which would find out, is not due yet
    await settle();
    expect(old.signal.reason).toBe("lost");
    expect(bridge.extent(runId)).toMatchObject({ last: { fence: 1, seq: 1 } });
  });

  it("cannot end the run that it has lost, although its graph came to an end", async () => {
    const { replica, pass, runs, threads } = await openCluster();
    const [a, b] = [await replica({ stubborn: true }), await replica({ role: "worker" })];
    const { runId } = await a.manager.create("t1", runRequest());
    const old = await a.host.next();
    a.freeze();
    await pass(OVER_MS);
    await b.sweep();
    const taken = await b.host.next();
    old.end({ kind: "finished", projection: projection({ valuesJson: '{"by":"a"}' }) });
    a.thaw();
    await settle();
    expect(await runs.get("t1", runId)).toMatchObject({ status: "running", fence: 2 });
    taken.end({ kind: "finished", projection: projection({ valuesJson: '{"by":"b"}' }) });
    await settle();
    expect(await threads.get("t1")).toMatchObject({ status: "idle", valuesJson: '{"by":"b"}' });
  });

  it("goes on when nobody took its run meanwhile", async () => {
    const { replica, pass, bridge, status } = await openCluster();
    const a = await replica();
    const { runId } = await a.manager.create("t1", runRequest());
    const execution = await a.host.next();
    a.freeze();
    await pass(OVER_MS);
    a.thaw();
    execution.say({ data: '"late"' });
    execution.end();
    expect(await readAll(bridge, runId)).toContain('"late"');
    expect(await status(runId)).toBe("success");
  });

  it("waits with what it has to say while it cannot know whether it may", async () => {
    const { replica, pass, bridge, runs } = await openCluster();
    const a = await replica();
    const { runId } = await a.manager.create("t1", runRequest());
    const execution = await a.host.next();
    const renew = vi.spyOn(runs, "renew").mockRejectedValue(new Error("the database is away"));
    await pass(OVER_MS);
    execution.say({ data: '"waits"' });
    await settle();
    expect(bridge.extent(runId)).toMatchObject({ last: { fence: 1, seq: 1 } });
    renew.mockRestore();
    await pass(1_000);
    expect(bridge.extent(runId)).toMatchObject({ last: { fence: 1, seq: 2 } });
    execution.end();
    expect(await readAll(bridge, runId)).toContain('"waits"');
  });

  it("begins anew, when it takes back what it lost, only when the rest of it has stopped", async () => {
    const { replica, pass, runs } = await openCluster();
    const a = await replica({ stubborn: true });
    const { runId } = await a.manager.create("t1", runRequest());
    const old = await a.host.next();
    a.freeze();
    await pass(OVER_MS);
    await a.takeOverRuns();
    a.thaw();
    await settle();
    expect(await runs.get("t1", runId)).toMatchObject({ status: "running", fence: 2 });
    expect(a.host.active()).toBe(1);
    old.end({ kind: "aborted", projection: null });
    expect((await a.host.next()).request.attempt).toBe(2);
    expect(a.worker.leases()).toBe(1);
  });

  it("keeps what it took back while the rest of it stops, however long that takes", async () => {
    const { replica, pass, transitions } = await openCluster();
    const [a, b] = [await replica({ stubborn: true }), await replica({ role: "api" })];
    const { runId } = await a.manager.create("t1", runRequest());
    const old = await a.host.next();
    a.freeze();
    await pass(OVER_MS);
    await a.takeOverRuns();
    a.thaw();
    await settle();
    for (let passed = 0; passed < 2 * LEASE_MS; passed += 3_000) {
      await pass(3_000);
      await b.sweep();
    }
    old.end({ kind: "aborted", projection: null });
    expect((await a.host.next()).request.attempt).toBe(2);
    expect(await transitions(runId)).toEqual(["running", "pending", "running"]);
  });
});

describe("a sweep", () => {
  it("leaves alone what a replica that lives executes", async () => {
    const { replica, pass, runs } = await openCluster();
    const [a, b] = [await replica(), await replica({ role: "worker" })];
    const { runId } = await a.manager.create("t1", runRequest());
    await a.host.next();
    for (let passed = 0; passed < 4 * LEASE_MS; passed += 3_000) {
      await pass(3_000);
      await b.sweep();
    }
    expect(await runs.get("t1", runId)).toMatchObject({ status: "running", attempt: 1, fence: 1 });
    expect(b.host.active()).toBe(0);
  });

  it("by many at once gives a run back once", async () => {
    const { replica, pass, transitions } = await openCluster();
    const dead = await replica();
    const { runId } = await dead.manager.create("t1", runRequest());
    await dead.host.next();
    dead.freeze();
    await pass(OVER_MS);
    const others = await Promise.all([1, 2, 3].map(() => replica({ role: "api" })));
    const taken = await Promise.all(others.map(({ takeOverRuns }) => takeOverRuns()));
    expect(taken.reduce((sum, count) => sum + count)).toBe(1);
    expect(await transitions(runId)).toEqual(["running", "pending"]);
  });

  it("ends a run as error whose replicas died too often", async () => {
    const { replica, pass, bridge, status } = await openCluster();
    const first = await replica();
    const { runId } = await first.manager.create("t1", runRequest());
    await first.host.next();
    first.freeze();
    for (let death = 0; death < 2; death++) {
      const next = await replica({ role: "worker" });
      await pass(OVER_MS);
      await next.sweep();
      await next.host.next();
      next.freeze();
    }
    const last = await replica({ role: "worker" });
    await pass(OVER_MS);
    await last.sweep();
    expect((await readAll(bridge, runId)).at(-1)).toContain("MaxAttemptsExceeded");
    expect(await status(runId)).toBe("error");
  });

  it("finishes the rollback that a dead replica had begun, and tells who follows the run", async () => {
    const { replica, pass, bridge, runs, threads, status } = await openCluster();
    const [a, b] = [await replica(), await replica({ role: "api" })];
    const { runId } = await a.manager.create("t1", runRequest());
    await a.host.next();
    const followed = readAll(bridge, runId);
    const removeRolledBack = vi.spyOn(runs, "removeRolledBack").mockReturnValueOnce(new Promise(() => {})); // it dies here
    await b.manager.cancel("t1", runId, "rollback");
    await settle();
    expect(removeRolledBack).toHaveBeenCalledOnce();
    a.freeze();
    await pass(OVER_MS);
    await b.sweep();
    expect((await followed).at(-1)).toBe(`{"run_id":"${runId}","status":"rollback"}`);
    expect(await status(runId)).toBeUndefined();
    expect(await threads.get("t1")).toMatchObject({ status: "idle" });
  });

  it("that finishes a rollback leaves nothing of a thread that was made for its runs", async () => {
    const cluster = await openCluster();
    const { threads, checkpoints, pass, replica } = cluster;
    await halfRolledBack(cluster, "r1", "made");
    const thread = { configurable: { thread_id: "made" } };
    await sequence(runOf(checkpoints, "paused before it", "made").saver).invoke({ log: [] }, thread);
    const survivor = await replica({ role: "api" });
    await pass(OVER_MS);
    await survivor.takeOverRuns();
    expect(await threads.get("made")).toBeUndefined();
    expect(await checkpoints.saver(hostKit).getTuple(thread)).toBeUndefined();
  });

  it("finishes every rollback that it can, and tries the others again", async () => {
    const cluster = await openCluster();
    const { status, checkpoints, pass, replica } = cluster;
    await halfRolledBack(cluster, "r1", "a");
    await halfRolledBack(cluster, "r2", "b");
    const survivor = await replica({ role: "api" });
    await pass(OVER_MS);
    const deleteRun = vi.spyOn(checkpoints, "deleteRun").mockImplementationOnce(() => {
      throw new Error("no connection");
    });
    expect(await survivor.takeOverRuns()).toBe(1);
    expect(deleteRun).toHaveBeenCalledTimes(2);
    await pass(OVER_MS);
    expect(await survivor.takeOverRuns()).toBe(1);
    expect([await status("r1"), await status("r2")]).toEqual([undefined, undefined]);
  });
});

/** A run on a thread of its own, whose worker died while it took it back. */
async function halfRolledBack({ runs }: Pick<SqlStores, "runs">, runId: string, threadId: string): Promise<void> {
  const payload = { ...PAYLOAD, temporary: true };
  const claim = { workerId: "gone", leaseMs: LEASE_MS };
  const { run } = await runs.admit(admission({ runId, threadId, payload }, { claim }));
  expect(await runs.markRollingBack(leaseOf(run, "gone"))).toBe(true);
}

describe("a run on another replica", () => {
  it("is cancelled through any of them", async () => {
    const { replica, status } = await openCluster();
    const [worker, api] = [await replica({ role: "worker" }), await replica({ role: "api" })];
    const { runId } = await api.manager.create("t1", runRequest());
    const execution = await worker.host.next();
    await api.manager.cancel("t1", runId, "interrupt");
    await api.manager.ended(runId, NEVER);
    expect(execution.signal.reason).toBe("interrupt");
    expect(await status(runId)).toBe("interrupted");
  });

  it("is cancelled with its next heartbeat when no hint reaches it", async () => {
    const { replica, pass, status } = await openCluster();
    const [worker, api] = [await replica({ signals: "own" }), await replica({ role: "api" })];
    const { runId } = await worker.manager.create("t1", runRequest());
    await worker.host.next();
    await api.manager.cancel("t1", runId, "interrupt");
    await pass(HEARTBEAT_MS);
    expect(await status(runId)).toBe("interrupted");
  });

  it("is interrupted, rolled back, waited for or reason to refuse, as the strategy of the next one says", async () => {
    const { replica, status } = await openCluster();
    const [worker, api] = [await replica({ role: "worker" }), await replica({ role: "api" })];
    const create = (multitaskStrategy: "interrupt" | "rollback" | "enqueue" | "reject") =>
      api.manager.create("t1", runRequest({ multitaskStrategy }));
    const first = await create("enqueue");
    await worker.host.next();
    await expect(create("reject")).rejects.toMatchObject({ code: "thread_busy" });
    const second = await create("interrupt");
    expect((await worker.host.next()).request.runId).toBe(second.runId);
    const third = await create("rollback");
    const execution = await worker.host.next();
    expect(execution.request.runId).toBe(third.runId);
    const fourth = await create("enqueue");
    execution.end();
    expect((await worker.host.next()).request.runId).toBe(fourth.runId);
    const statuses = await Promise.all([first, second, third].map(({ runId }) => status(runId)));
    expect(statuses).toEqual(["interrupted", undefined, "success"]);
  });

  it("stops for the deletion of its thread", async () => {
    const { replica, threads } = await openCluster();
    const [worker, api] = [await replica({ role: "worker" }), await replica({ role: "api" })];
    await api.manager.create("t1", runRequest());
    const execution = await worker.host.next();
    await threads.markDeleting("t1");
    await api.manager.stopThread("t1");
    expect(execution.signal.reason).toBe("interrupt");
  });

  it("holds up the deletion of its thread only until its replica's lease is over", async () => {
    const { replica, pass, threads, bridge } = await openCluster();
    const [worker, api] = [await replica({ role: "worker" }), await replica({ role: "api" })];
    const { runId } = await api.manager.create("t1", runRequest());
    await worker.host.next();
    worker.freeze();
    await threads.markDeleting("t1");
    const stopped = api.manager.stopThread("t1");
    await pass(OVER_MS);
    await api.sweep();
    await stopped;
    expect((await readAll(bridge, runId)).at(-1)).toContain('"status":"interrupted"');
  });

  it("is not claimed by a replica that only serves", async () => {
    const { replica, pass, status } = await openCluster();
    const api = await replica({ role: "api" });
    const { runId } = await api.manager.create("t1", runRequest());
    await pass(60_000);
    await api.sweep();
    expect([api.host.active(), await status(runId)]).toEqual([0, "pending"]);
  });
});

describe("a replica that stops", () => {
  it("gives its run back, which another one goes on with at once, its attempt unspent", async () => {
    const { replica, runs, pass } = await openCluster();
    const [a, b] = [await replica(), await replica({ role: "worker" })];
    const { runId } = await a.manager.create("t1", runRequest());
    await a.host.next();
    const stopping = a.worker.stop(10_000);
    await settle();
    await pass(9_000);
    expect(b.host.active()).toBe(0);
    await pass(1_000);
    const taken = await b.host.next();
    await stopping;
    expect(taken.request).toMatchObject({ runId, attempt: 1 });
    expect(await runs.get("t1", runId)).toMatchObject({ status: "running", attempt: 1, fence: 2 });
  });

  it("gives back what it took back, and what waits there for its rest to stop", async () => {
    const { replica, runs, pass } = await openCluster();
    const a = await replica({ stubborn: true });
    const { runId } = await a.manager.create("t1", runRequest());
    const old = await a.host.next();
    a.freeze();
    await pass(OVER_MS);
    await a.takeOverRuns();
    a.thaw();
    await settle();
    const stopping = a.worker.stop(0);
    await settle();
    await pass(OVER_MS);
    old.end({ kind: "aborted", projection: null });
    await stopping;
    expect(await runs.get("t1", runId)).toMatchObject({ status: "pending", attempt: 1, fence: 2 });
  });

  it("gives back what it has claimed and not begun, because it does not know whether it may", async () => {
    const { replica, runs, clock, pass } = await openCluster();
    const { manager } = await replica({ role: "api" });
    const { runId } = await manager.create("t1", runRequest());
    const claim = runs.claim.bind(runs);
    vi.spyOn(runs, "claim").mockImplementationOnce(async (...args) => {
      const run = await claim(...args);
      clock.advance(OVER_MS); // before it hears of it
      return run;
    });
    const renew = vi.spyOn(runs, "renew").mockRejectedValue(new Error("the database is away"));
    const a = await replica({ role: "worker" });
    await settle();
    expect(renew).toHaveBeenCalled();
    const stopping = a.worker.stop(0);
    await settle();
    await pass(1_000);
    await stopping;
    expect(await runs.get("t1", runId)).toMatchObject({ status: "pending", attempt: 0, fence: 1 });
  });
});

describe("a thread that a dead replica was writing to", () => {
  it("is free again when the reservation is over, and shows what was written", async () => {
    const { replica, pass, status } = await openCluster();
    const [a, b] = [await replica({ role: "api" }), await replica()];
    void a.reservations.whileReserved("t1", () => new Promise(() => {}));
    await settle();
    const { runId } = await b.manager.create("t1", runRequest());
    a.freeze();
    await pass(OVER_MS);
    expect(await status(runId)).toBe("pending");
    await b.sweep();
    expect(b.shown).toEqual(["t1"]);
    expect((await b.host.next()).request.runId).toBe(runId);
  });

  it("stays with a replica that lives, however long it takes", async () => {
    const { replica, pass, threads } = await openCluster();
    const [a, b] = [await replica({ role: "api" }), await replica({ role: "api" })];
    let finish = (): void => {};
    const written = a.reservations.whileReserved("t1", async (owner) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return threads.saveProjection("t1", projection(), { owner });
    });
    for (let passed = 0; passed < 4 * LEASE_MS; passed += 3_000) {
      await pass(3_000);
      await b.sweep();
    }
    expect(b.shown).toEqual([]);
    finish();
    expect(await written).toBe(true);
  });

  it("takes nothing more from it when it wakes up", async () => {
    const { replica, pass, threads } = await openCluster();
    const [a, b] = [await replica({ role: "api" }), await replica({ role: "api" })];
    let finish = (): void => {};
    const written = a.reservations.whileReserved("t1", async (owner) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return threads.saveProjection("t1", projection({ valuesJson: '{"late":true}' }), { owner });
    });
    await settle();
    a.freeze();
    await pass(OVER_MS);
    await b.sweep();
    a.thaw();
    finish();
    expect(await written).toBe(false);
    expect(await threads.get("t1")).toMatchObject({ valuesJson: null });
  });
});

describe("a deletion that a dead replica had begun", () => {
  it("is finished by another one, when it has been there for as long as a lease", async () => {
    const { replica, pass, threads } = await openCluster();
    const b = await replica({ role: "api" });
    await threads.markDeleting("t1");
    await b.sweep();
    await pass(LEASE_MS - 1_000);
    await b.sweep();
    expect(await threads.listDeleting()).toEqual(["t1"]);
    await pass(1_000);
    await b.sweep();
    expect(await threads.listDeleting()).toEqual([]);
  });

  it("is not what a copy is that a replica is making, however long it takes; half a copy of a dead one is", async () => {
    const { replica, pass, threads } = await openCluster();
    const [a, b] = [await replica({ role: "api" }), await replica({ role: "api" })];
    void a.reservations.whilePrepared(newThread({ threadId: "copy" }), () => new Promise(() => {}));
    for (let passed = 0; passed < 4 * LEASE_MS; passed += 3_000) {
      await pass(3_000);
      await b.sweep();
    }
    expect(await threads.listDeleting()).toEqual(["copy"]);
    a.freeze();
    await pass(OVER_MS);
    await b.sweep();
    await pass(OVER_MS);
    await b.sweep();
    expect(await threads.listDeleting()).toEqual([]);
  });
});
