/** What the manager promises beside what HTTP shows: nothing fails after a commit, no place is lost, readers never hang. */
import { describe, expect, it, vi } from "vitest";
import type { RunReading } from "../../src/runs/reading.js";
import { NEVER } from "../support/events.js";
import { openRunKit, settle } from "../support/run-kit.js";
import { runRequest } from "../support/run-request.js";
import { claim, leaseOf, outcome, projection } from "../support/sql-stores.js";

async function follow(reading: RunReading): Promise<readonly string[]> {
  const seen: string[] = [];
  for await (const batch of reading.follow({ cursor: { from: "start" }, signal: NEVER })) {
    seen.push(...batch.map(({ event, data }) => `${event} ${data}`));
  }
  return seen;
}

describe("create", () => {
  it("starts the run in the admission's own transaction when there is room", async () => {
    const { manager, worker, runs, host } = await openRunKit();
    worker.start();
    await settle();
    const claimAgain = vi.spyOn(runs, "claim");
    const run = await manager.create("t1", runRequest());
    expect(run.status).toBe("pending");
    expect((await runs.get("t1", run.runId))?.status).toBe("running");
    expect((await host.next()).request.runId).toBe(run.runId);
    expect(claimAgain).not.toHaveBeenCalled();
  });

  it("answers for what it committed although the run that it cancelled cannot be told (W8)", async () => {
    const { manager, bridge } = await openRunKit();
    await manager.create("t1", runRequest()); // no worker: it stays pending
    vi.spyOn(bridge, "publish").mockImplementation(() => {
      throw new Error("bridge");
    });
    const second = await manager.create("t1", runRequest({ multitaskStrategy: "interrupt" }));
    expect((await manager.get("t1", second.runId)).status).toBe("pending");
  });

  it("asks whether there is such a checkpoint, and reads no state for that", async () => {
    const { manager, checkpoints } = await openRunKit();
    const checkpoint = { checkpointNs: "", checkpointId: "c1" };
    const has = vi.spyOn(checkpoints, "has").mockReturnValue(true);
    await manager.create("t1", runRequest({ checkpoint }));
    expect(has).toHaveBeenCalledWith("t1", "", "c1");
  });

  it("gives a place back that it does not take", async () => {
    const { manager, worker, host } = await openRunKit({ concurrency: 1 });
    worker.start();
    await settle();
    await expect(manager.create("nowhere", runRequest())).rejects.toMatchObject({ code: "not_found" });
    await settle();
    await manager.create("t1", runRequest({ afterSeconds: 60, ifNotExists: "create" }));
    await settle();
    await manager.create("t2", runRequest({ ifNotExists: "create" }));
    expect((await host.next()).request.threadId).toBe("t2");
  });
});

describe("remove", () => {
  it("answers the second of two at once as if it had come later", async () => {
    const kit = await openRunKit();
    const { manager, runs } = kit;
    const { runId } = await manager.create("t1", runRequest());
    await expect(manager.remove("t1", runId)).rejects.toMatchObject({ code: "conflict" });
    await runs.finish(leaseOf(await claim(kit)), outcome());
    const removals = await Promise.allSettled([manager.remove("t1", runId), manager.remove("t1", runId)]);
    expect(removals).toMatchObject([{ status: "fulfilled" }, { status: "rejected", reason: { code: "not_found" } }]);
  });
});

describe("a reading", () => {
  it("tells the thread's row where the graph's state cannot be read", async () => {
    const kit = await openRunKit();
    const { manager, runs, bridge } = kit;
    const { runId } = await manager.create("t1", runRequest());
    const state = projection({ valuesJson: '{"kept":true}' });
    const run = await claim(kit);
    await runs.finish(leaseOf(run), outcome({ projection: state }));
    expect(bridge.has(runId)).toBe(false);
    const reading = await manager.read("t1", runId);
    expect(await follow(reading)).toEqual([
      `metadata {"run_id":"${runId}","attempt":1,"thread_id":"t1"}`,
      'values {"kept":true}',
      `end {"run_id":"${runId}","status":"success"}`,
    ]);
    expect(await reading.result(NEVER)).toBe('{"kept":true}');
  });

  it("of a run that is nowhere is refused", async () => {
    const { manager } = await openRunKit();
    await expect(manager.read("t1", "r9")).rejects.toMatchObject({ code: "not_found" });
    await expect(manager.read(null, "r9")).rejects.toMatchObject({ code: "not_found" });
  });

  it("gives up when its reader does", async () => {
    const { manager } = await openRunKit();
    const { runId } = await manager.create("t1", runRequest());
    const abort = new AbortController();
    const result = (await manager.read("t1", runId)).result(abort.signal);
    abort.abort();
    expect(await result).toBeUndefined();
  });
});

describe("stopThread", () => {
  it("ends what never began, and what waits to go on, without a worker", async () => {
    const kit = await openRunKit();
    const { manager, runs, threads } = kit;
    const first = await manager.create("t1", runRequest());
    const run = await claim(kit);
    await runs.release(leaseOf(run));
    const second = await manager.create("t1", runRequest());
    const readings = await Promise.all([first, second].map(({ runId }) => manager.read("t1", runId)));
    const followed = Promise.all(readings.map(follow));
    await threads.markDeleting("t1");
    await manager.stopThread("t1");
    for (const events of await followed) expect(events.at(-1)).toContain('"status":"interrupted"');
  });
});
