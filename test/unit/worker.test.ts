/** When runs start, how many at once, and what happens to them when the gateway stops. */
import { describe, expect, it, vi } from "vitest";
import { openRunKit, settle } from "../support/run-kit.js";
import { createScriptedHost } from "../support/scripted-host.js";
import { admission } from "../support/sql-stores.js";

describe("a worker", () => {
  it("starts what waits when it starts, and what is admitted later", async () => {
    const { worker, admit, host, status, ended } = await openRunKit();
    await admit({ runId: "r1", threadId: "t1" });
    await settle();
    expect(host.active()).toBe(0);
    worker.start();
    (await host.next()).end();
    await ended("r1");
    await admit({ runId: "r2", threadId: "t2" });
    (await host.next()).end();
    await ended("r2");
    expect([await status("r1"), await status("r2")]).toEqual(["success", "success"]);
  });

  it("holds as many leases as it may, and fills a place that falls free", async () => {
    const { worker, admit, host, ended } = await openRunKit({ concurrency: 2 });
    worker.start();
    for (const runId of ["r1", "r2", "r3"]) await admit({ runId, threadId: runId });
    const [first, second] = [await host.next(), await host.next()];
    await settle();
    expect(host.active()).toBe(2);
    first.end();
    expect((await host.next()).request.runId).toBe("r3");
    second.end();
    await ended("r2");
  });

  it("runs one run of a thread at a time, in order", async () => {
    const { worker, admit, host } = await openRunKit({ concurrency: 5 });
    worker.start();
    for (const runId of ["r1", "r2", "r3"]) await admit({ runId });
    for (const runId of ["r1", "r2", "r3"]) {
      const execution = await host.next();
      await settle();
      expect([execution.request.runId, host.active()]).toEqual([runId, 1]);
      execution.end();
    }
  });

  it("starts a delayed run when it is due, not before", async () => {
    const { worker, admit, host, clock } = await openRunKit();
    worker.start();
    await admit({ runId: "r1", runAfter: clock.now() + 5_000 });
    await settle();
    clock.advance(4_999);
    await settle();
    expect(host.active()).toBe(0);
    clock.advance(1);
    expect((await host.next()).request.runId).toBe("r1");
  });

  it("does not miss a run that falls due while it looks for the next one", async () => {
    const { worker, admit, host, clock, runs } = await openRunKit();
    await admit({ runId: "r1", runAfter: clock.now() + 5_000 });
    const nextDueAt = runs.nextDueAt.bind(runs);
    vi.spyOn(runs, "nextDueAt").mockImplementationOnce(async () => {
      clock.advance(5_000);
      return nextDueAt();
    });
    worker.start();
    expect((await host.next()).request.runId).toBe("r1");
  });

  it.each(["claim", "nextDueAt"] as const)("goes on after %s has failed", async (method) => {
    const { worker, host, clock, runs, status, ended } = await openRunKit();
    vi.spyOn(runs, method).mockRejectedValueOnce(new Error("disk"));
    worker.start();
    await settle();
    await runs.admit(admission({ runId: "r1" })); // and no signal
    clock.advance(1_000);
    (await host.next()).end();
    await ended("r1");
    expect(await status("r1")).toBe("success");
  });
});

describe("a reserved slot", () => {
  it("counts until it is given back", async () => {
    const { worker, host, admit } = await openRunKit({ concurrency: 2 });
    worker.start();
    await settle();
    const [first, second] = [worker.reserve(), worker.reserve()];
    expect(worker.reserve()).toBeNull();
    await admit({ runId: "r1" });
    await settle();
    expect(host.active()).toBe(0);
    first?.free();
    await host.next();
    second?.free();
    await settle();
    const third = worker.reserve();
    expect(third).not.toBeNull();
    third?.free();
  });

  it("starts the run that its admission claimed", async () => {
    const { worker, host, runs, ended, status } = await openRunKit();
    worker.start();
    await settle();
    const slot = worker.reserve();
    const admitted = await runs.admit({ ...admission({ runId: "r1" }), claim: slot?.claim ?? null });
    expect(admitted.run.status).toBe("running");
    slot?.begin(admitted.run);
    (await host.next()).end();
    await ended("r1");
    expect(await status("r1")).toBe("success");
  });

  it("is not for sale while older runs may be waiting", async () => {
    const { worker, admit } = await openRunKit({ concurrency: 1 });
    worker.start();
    const admitting = admit({ runId: "r1" });
    expect(worker.reserve()).toBeNull();
    await admitting;
    await settle();
  });
});

describe("stopping", () => {
  it("claims nothing more, and waits for what finishes in time", async () => {
    const { worker, admit, host, status, clock } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    const stopped = worker.stop(10_000);
    await admit({ runId: "r2", threadId: "t2" });
    clock.advance(9_999);
    await settle();
    expect(execution.signal.aborted).toBe(false);
    execution.end();
    await stopped;
    expect([await status("r1"), await status("r2")]).toEqual(["success", "pending"]);
    expect(clock.pending()).toBe(1); // the expiry of the finished log
  });

  it("gives back what does not, its attempt unspent and its stream open", async () => {
    const { worker, admit, host, runs, clock, bridge } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    execution.say({ data: '"said"' });
    const stopped = worker.stop(10_000);
    await settle();
    clock.advance(10_000);
    await stopped;
    expect(await runs.get("t1", "r1")).toMatchObject({ status: "pending", attempt: 0, fence: 1 });
    const reader = bridge.subscribe("r1", { cursor: { from: "start" }, signal: new AbortController().signal });
    const { value } = await reader[Symbol.asyncIterator]().next();
    expect(value.events.map(({ event }: { event: string }) => event)).toEqual(["metadata", "values"]);
  });

  it("gives a run back although that cannot be written down at once", async () => {
    const { worker, stop, admit, host, runs } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    await host.next();
    vi.spyOn(runs, "release").mockRejectedValueOnce(new Error("a connection broke"));
    await stop(0);
    expect(await runs.get("t1", "r1")).toMatchObject({ status: "pending", attempt: 0 });
  });

  it("gives back a run that could not begin, because the storage is away", async () => {
    const { worker, stop, admit, host, runs, threads } = await openRunKit({ isAway: () => true });
    vi.spyOn(threads, "pendingInterrupts").mockRejectedValue(new Error("the database is away"));
    worker.start();
    await admit({ runId: "r1" });
    await settle();
    await stop(0);
    expect(host.active()).toBe(0);
    expect(await runs.get("t1", "r1")).toMatchObject({ status: "pending", attempt: 0 });
  });

  it("waits for a run whose admission is under way", async () => {
    const { worker, stop, host, runs } = await openRunKit();
    worker.start();
    await settle();
    const slot = worker.reserve();
    const stopping = stop(0);
    await settle();
    const { run } = await runs.admit({ ...admission({ runId: "r1" }), claim: slot?.claim ?? null });
    slot?.begin(run);
    await host.next();
    await stopping;
    expect(await runs.get("t1", "r1")).toMatchObject({ status: "pending", attempt: 0 });
  });
});

describe("an attempt", () => {
  it("publishes metadata first, what the graph says, its result, and end last", async () => {
    const { worker, admit, host, ended } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    execution.say({ data: "1" });
    execution.end({ kind: "finished", projection: { valuesJson: '{"a":1}', interrupts: {}, next: [] } });
    expect((await ended("r1")).map((data) => JSON.parse(data))).toEqual([
      { run_id: "r1", attempt: 1, thread_id: "t1" },
      1,
      { a: 1 },
      { run_id: "r1", status: "success" },
    ]);
  });

  it("answers with the thread's state where its own cannot be read", async () => {
    const { worker, admit, host, ended } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    (await host.next()).end({ kind: "finished", projection: { valuesJson: '{"a":1}', interrupts: {}, next: [] } });
    await ended("r1");
    await admit({ runId: "r2" });
    (await host.next()).end({ kind: "finished", projection: null });
    expect((await ended("r2")).map((data) => JSON.parse(data)).at(-2)).toEqual({ a: 1 });
  });

  it("begins when what it begins with can be read, however long the storage is away", async () => {
    const away = new Error("the database is away");
    const { worker, admit, host, threads, clock, status, ended } = await openRunKit({
      isAway: (error) => error === away,
    });
    const pending = vi.spyOn(threads, "pendingInterrupts").mockRejectedValue(away);
    worker.start();
    await admit({ runId: "r1" });
    for (let second = 0; second < 30; second++) {
      await settle();
      clock.advance(1_000);
    }
    expect([host.active(), await status("r1")]).toEqual([0, "running"]);
    pending.mockRestore();
    clock.advance(1_000);
    (await host.next()).end();
    await ended("r1");
    expect(await status("r1")).toBe("success");
  });

  it("is an error when what it begins with cannot be read, and the storage is there", async () => {
    const { worker, admit, threads, status, ended } = await openRunKit({ isAway: () => false });
    vi.spyOn(threads, "pendingInterrupts").mockRejectedValueOnce(new Error("broken"));
    worker.start();
    await admit({ runId: "r1" });
    await ended("r1");
    expect(await status("r1")).toBe("error");
  });

  it("is an error when the host breaks", async () => {
    const { worker, admit, host, ended, status, threads } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    (await host.next()).break(new TypeError("a fault"));
    const error = { error: "TypeError", message: "a fault" };
    expect((await ended("r1")).map((data) => JSON.parse(data))).toEqual([
      expect.anything(),
      { __error__: error },
      error,
    ]);
    expect(await status("r1")).toBe("error");
    expect(await threads.get("t1")).toMatchObject({ status: "error", error });
  });

  it("renews its lease for as long as it runs", async () => {
    const { worker, admit, host, clock, runs } = await openRunKit({ leaseMs: 15_000 });
    worker.start();
    await admit({ runId: "r1" });
    await host.next();
    const renew = vi.spyOn(runs, "renew");
    for (let time = 0; time < 60_000; time += 5_000) {
      clock.advance(5_000);
      await settle();
    }
    expect(renew).toHaveBeenCalledTimes(12);
  });

  it("renews its lease only while its thread answers, so that it ends when the thread does not", async () => {
    const { worker, admit, host, clock, runs, database } = await openRunKit({ leaseMs: 15_000 });
    const renew = vi.spyOn(runs, "renew");
    worker.start();
    await admit({ runId: "r1" });
    await host.next();
    const leaseUntil = async () =>
      (await database.selectFrom("runs").select("lease_until").executeTakeFirst())?.lease_until;
    const pass = async () => {
      clock.advance(5_000);
      await settle();
    };
    await pass();
    const until = clock.now() + 15_000;
    expect(await leaseUntil()).toBe(until);
    host.answer(false);
    for (let third = 0; third < 3; third++) await pass();
    expect([await leaseUntil(), clock.now(), renew.mock.calls.length]).toEqual([until, until, 1]);
    host.answer(true);
    await pass();
    expect(await leaseUntil()).toBe(clock.now() + 15_000);
  });

  it("says nothing more once its lease is lost", async () => {
    const { worker, admit, host, clock, database, bridge } = await openRunKit({ leaseMs: 15_000 });
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    await database.updateTable("runs").set({ fence: 2, worker_id: "another" }).execute();
    clock.advance(5_000);
    await settle();
    expect(execution.signal.reason).toBe("lost");
    expect(host.active()).toBe(0);
    const reader = bridge.subscribe("r1", { cursor: { after: { fence: 1, seq: 1 } }, signal: AbortSignal.timeout(1) });
    expect((await reader[Symbol.asyncIterator]().next()).done).toBe(true);
  });

  it("ends with timeout after its time", async () => {
    const { worker, admit, host, clock, status, ended } = await openRunKit({ timeoutMs: 60_000 });
    worker.start();
    await admit({ runId: "r1" });
    await host.next();
    clock.advance(60_000);
    await ended("r1");
    expect(await status("r1")).toBe("timeout");
  });

  it("gives up after too many attempts, without driving the graph", async () => {
    const { worker, admit, host, runs, status, ended, database } = await openRunKit({ maxAttempts: 3 });
    await admit({ runId: "r1" });
    await database.updateTable("runs").set({ attempt: 3, fence: 3 }).execute();
    worker.start();
    expect((await ended("r1")).map((data) => JSON.parse(data)).at(-1)).toMatchObject({ error: "MaxAttemptsExceeded" });
    expect(await status("r1")).toBe("error");
    expect(await runs.get("t1", "r1")).toMatchObject({ attempt: 4, fence: 4 });
    expect(host.active()).toBe(0);
  });

  it("ends as cancelled when the cancel came before its end was written", async () => {
    const { worker, admit, host, runs, status, ended } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    const finish = runs.finish.bind(runs);
    vi.spyOn(runs, "finish").mockImplementationOnce(async (lease, outcome) => {
      expect(await runs.requestCancel("t1", "r1", "interrupt")).toBe("requested");
      return finish(lease, outcome);
    });
    execution.end();
    expect((await ended("r1")).map((data) => JSON.parse(data)).at(-1)).toEqual({ run_id: "r1", status: "interrupted" });
    expect(await status("r1")).toBe("interrupted");
  });

  it("is rolled back when that cancel was a rollback", async () => {
    const { worker, admit, host, runs, status, ended, threads } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    const finish = runs.finish.bind(runs);
    vi.spyOn(runs, "finish").mockImplementationOnce(async (lease, outcome) => {
      await runs.requestCancel("t1", "r1", "rollback");
      return finish(lease, outcome);
    });
    execution.end();
    expect((await ended("r1")).map((data) => JSON.parse(data)).at(-1)).toEqual({ run_id: "r1", status: "rollback" });
    expect(await status("r1")).toBeUndefined();
    expect((await threads.get("t1"))?.status).toBe("idle");
  });

  it.each(["finish", "markRollingBack", "removeRolledBack"] as const)(
    "writes its end down later when %s fails",
    async (method) => {
      const { worker, admit, host, runs, clock, signals, ended } = await openRunKit();
      worker.start();
      await admit({ runId: "r1" });
      const execution = await host.next();
      vi.spyOn(runs, method).mockRejectedValueOnce(new Error("disk full"));
      if (method === "finish") execution.end();
      if (method !== "finish") {
        await runs.requestCancel("t1", "r1", "rollback");
        signals.send("cancel:r1");
      }
      await settle();
      expect((await runs.get("t1", "r1"))?.status).toBe("running");
      clock.advance(1_000);
      await ended("r1");
      const after = await runs.get("t1", "r1");
      expect(after?.status).toBe(method === "finish" ? "success" : undefined);
    },
  );

  it("does not hold up a stop because its end cannot be written", async () => {
    const { worker, stop, admit, host, runs } = await openRunKit();
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    vi.spyOn(runs, "finish").mockRejectedValue(new Error("disk full"));
    execution.end();
    await settle();
    await stop(0);
    expect((await runs.get("t1", "r1"))?.status).toBe("running"); // found by the next start
  });

  it("needs a host that comes to an end", async () => {
    const { worker, admit, host, clock } = await openRunKit({ host: createScriptedHost({ stubborn: true }) });
    worker.start();
    await admit({ runId: "r1" });
    const execution = await host.next();
    const stopped = worker.stop(1_000);
    await settle();
    clock.advance(1_000);
    await settle();
    expect(execution.signal.reason).toBe("shutdown");
    execution.end();
    await stopped;
  });
});
