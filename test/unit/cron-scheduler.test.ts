/** Firing (S5): one run per tick whoever fires it, the latest of what was missed, nothing lost and nothing twice. */
import { describe, expect, it, vi } from "vitest";
import { ANYONE, type RecallCaller } from "../../src/core/caller.js";
import { GatewayError, RefusedError } from "../../src/core/errors.js";
import { createMetrics } from "../../src/core/metrics.js";
import { createCronService } from "../../src/crons/crons.js";
import { createCronScheduler } from "../../src/crons/scheduler.js";
import { createRunManager } from "../../src/runs/manager.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { SqlCronStore } from "../../src/storage/crons.js";
import type { NewCron } from "../../src/storage/ports/crons.js";
import { SqlRunStore } from "../../src/storage/runs.js";
import { openRunKit, settle } from "../support/run-kit.js";
import { newAssistant, newCron } from "../support/sql-stores.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

type Kit = Awaited<ReturnType<typeof openKit>>;

/** A database with one assistant, at midnight. */
async function openKit() {
  const kit = await openRunKit();
  await kit.assistants.create(newAssistant());
  return { ...kit, start: kit.clock.now() };
}

/** What fires crons in one process; several may work on one database. */
function startProcess(kit: Kit, options: { readonly maxPendingPerThread?: number } = {}) {
  const deps = { database: kit.database, commits: createCommitGroup(kit.database), clock: kit.clock };
  const runs = new SqlRunStore(deps);
  const crons = new SqlCronStore(deps);
  const metrics = createMetrics();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  let isOpen = true;
  const managers = createRunManager({
    ...kit,
    runs,
    findAssistant: async () => ({ ...newAssistant(), version: 1, createdAt: 0, updatedAt: 0 }),
    reserveSlot: () => null,
    requireWebhook: () => {},
    requireOpen() {
      if (!isOpen) throw new GatewayError("unavailable", "stopping");
    },
    options: {
      defaultMultitaskStrategy: "reject",
      recordAll: true,
      maxPendingPerThread: 64,
      defaultTtl: null,
      maxInFlightPerCaller: null,
      maxPendingPerCaller: null,
      maxInheritedBytes: 1e9,
      ...options,
    },
  });
  const manager = managers.as(ANYONE);
  const recall = vi.fn<RecallCaller>(async () => ANYONE);
  const { signals, clock } = kit;
  const scheduler = createCronScheduler({
    crons,
    manager: { as: () => manager },
    recall,
    signals,
    clock,
    log,
    metrics,
  });
  scheduler.start();
  const service = createCronService({
    crons,
    findAssistant: async () => ({ ...newAssistant(), version: 1, createdAt: 0, updatedAt: 0 }),
    requireThread: async () => {},
    requireWebhook: () => {},
    signals,
    clock,
    options: { minIntervalMs: MINUTE_MS, maxCrons: 10 },
  }).as(ANYONE);
  return {
    crons,
    runs,
    manager,
    recall,
    log,
    scheduler,
    service,
    close() {
      isOpen = false;
    },
    async counted(): Promise<Record<string, number>> {
      const { values } = await metrics.cronTicks.get();
      const missed = (await metrics.cronsMissed.get()).values[0]?.value ?? 0;
      return Object.fromEntries([...values.map(({ labels, value }) => [labels.outcome, value]), ["missed", missed]]);
    },
  };
}

async function addCron({ crons, start }: Kit, cron: Partial<NewCron> = {}): Promise<void> {
  const created = await crons.create(newCron({ nextRunAt: start + MINUTE_MS, ...cron }), 100);
  expect(created).toMatchObject({ cronId: cron.cronId ?? "c1" });
}

/** Time goes on minute by minute, and everybody does what there is to do. */
async function pass(kit: Kit, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= MINUTE_MS) {
    kit.clock.advance(Math.min(left, MINUTE_MS));
    await quiet(kit);
  }
}

/** Until nobody has anything to do but to wait for the time: a firing takes a few commits, each a few turns. */
async function quiet(kit: Kit): Promise<void> {
  for (let round = 0; round < 20; round++) {
    await settle();
    kit.clock.advance(0); // whoever waits for what is now
  }
}

/** The ticks that became runs, in minutes after midnight, by cron. */
function fired({ connection, start }: Kit, cronId = "c1"): readonly number[] {
  const rows = connection.prepare(
    "SELECT tick_at FROM cron_ticks JOIN runs USING (run_id) WHERE cron_id = ? ORDER BY tick_at",
  );
  return (rows.pluck().all(cronId) as number[]).map((at) => (at - start) / MINUTE_MS);
}

function countRuns({ connection }: Kit): number {
  return connection.prepare("SELECT count(*) FROM runs").pluck().get() as number;
}

describe("a cron", () => {
  it("fires at each of its ticks, neither before nor again", async () => {
    const kit = await openKit();
    startProcess(kit);
    await addCron(kit);
    await pass(kit, MINUTE_MS - 1);
    expect(fired(kit)).toEqual([]);
    await pass(kit, 1);
    expect(fired(kit)).toEqual([1]);
    await pass(kit, 3 * MINUTE_MS);
    expect(fired(kit)).toEqual([1, 2, 3, 4]);
    expect(countRuns(kit)).toBe(4);
  });

  it("gives its runs its name, its metadata, and nothing of whoever fires it", async () => {
    const kit = await openKit();
    const { crons, runs } = startProcess(kit);
    const { payload } = newCron();
    const own = { configurable: { model: "m", cron_id: "forged" }, tags: ["nightly"] };
    await addCron(kit, {
      threadId: "t1",
      onRunCompleted: null,
      metadata: { team: "x", cron_id: "forged" },
      payload: { ...payload, input: { n: 1 }, config: own, interruptBefore: ["a"], durability: "sync" },
    });
    await pass(kit, MINUTE_MS);
    const [runId = ""] = await runs.listIds("t1");
    expect(await runs.get("t1", runId)).toMatchObject({
      assistantId: "a1",
      metadata: { team: "x", cron_id: "c1" },
      multitaskStrategy: "enqueue",
      payload: {
        input: { n: 1 },
        config: { tags: ["nightly"], configurable: { model: "m", cron_id: "c1", thread_id: "t1", run_id: runId } },
        interruptBefore: ["a"],
        durability: "sync",
        temporary: false,
      },
    });
    expect((await crons.get("c1"))?.nextRunAt).toBe(kit.start + 2 * MINUTE_MS);
  });

  it.each([
    ["delete", true],
    ["keep", false],
  ] as const)("without a thread makes one for each run, which it will %s", async (onRunCompleted, temporary) => {
    const kit = await openKit();
    startProcess(kit);
    await addCron(kit, { onRunCompleted });
    await pass(kit, 2 * MINUTE_MS);
    const runs = await kit.runs.listInFlight({});
    expect(runs.map(({ payload }) => payload.temporary)).toEqual([temporary, temporary]);
    expect(new Set(runs.map(({ threadId }) => threadId)).size).toBe(2);
  });

  it("that was missed fires its latest tick once, and says so", async () => {
    const kit = await openKit();
    await addCron(kit);
    kit.clock.advance(10 * HOUR_MS + 90_000);
    const { counted, log } = startProcess(kit);
    await quiet(kit);
    expect(fired(kit)).toEqual([601]);
    expect(await counted()).toEqual({ fired: 1, missed: 1 });
    expect(log.warn).toHaveBeenCalledExactlyOnceWith(
      { cronId: "c1", since: "2030-01-01T00:01:00.000Z", tick: "2030-01-01T10:01:00.000Z" },
      "a cron's earlier ticks were missed",
    );
    await pass(kit, MINUTE_MS);
    expect(fired(kit)).toEqual([601, 602]);
  });

  it("that a jump of the clock made due fires within half a minute, once", async () => {
    const kit = await openKit();
    startProcess(kit);
    await addCron(kit, { schedule: "0 * * * *", nextRunAt: kit.start + HOUR_MS });
    await quiet(kit);
    kit.clock.set(3 * HOUR_MS);
    await pass(kit, 30_000);
    expect(fired(kit)).toEqual([180]);
    kit.clock.set(-3 * HOUR_MS); // and set back again
    await pass(kit, 2 * HOUR_MS);
    expect(fired(kit)).toEqual([180]);
  });

  it("ends with its end", async () => {
    const kit = await openKit();
    const { crons } = startProcess(kit);
    await addCron(kit, { endAt: kit.start + 2 * MINUTE_MS });
    await pass(kit, 5 * MINUTE_MS);
    expect(fired(kit)).toEqual([1, 2]);
    expect(await crons.get("c1")).toMatchObject({ enabled: true, nextRunAt: null });
  });

  it("that was missed is not made up for after its end", async () => {
    const kit = await openKit();
    await addCron(kit, { endAt: kit.start + 2 * MINUTE_MS });
    kit.clock.advance(HOUR_MS);
    const { crons, counted } = startProcess(kit);
    await quiet(kit);
    expect([fired(kit), (await crons.get("c1"))?.nextRunAt, await counted()]).toEqual([[], null, { missed: 1 }]);
  });

  it("fires nothing while it is disabled, nor for that time afterwards", async () => {
    const kit = await openKit();
    const { service } = startProcess(kit);
    await addCron(kit);
    await pass(kit, MINUTE_MS);
    expect(await service.patch("c1", { enabled: false })).toMatchObject({ enabled: false, nextRunAt: null });
    await pass(kit, 5 * MINUTE_MS);
    await service.patch("c1", { enabled: true });
    await quiet(kit);
    expect(fired(kit)).toEqual([1]);
    await pass(kit, MINUTE_MS);
    expect(fired(kit)).toEqual([1, 7]);
  });

  it("that changes is fired by what it is now, without waiting for anything else", async () => {
    const kit = await openKit();
    const { service } = startProcess(kit);
    await addCron(kit, { schedule: "0 0 1 1 *", nextRunAt: kit.start + 365 * 24 * HOUR_MS });
    await quiet(kit);
    await service.patch("c1", { schedule: "*/2 * * * *" });
    await quiet(kit);
    kit.clock.advance(2 * MINUTE_MS);
    await quiet(kit);
    expect(fired(kit)).toEqual([2]);
  });
});

describe("several processes on one database", () => {
  it("make one run of each tick", async () => {
    const kit = await openKit();
    const processes = Array.from({ length: 3 }, () => startProcess(kit));
    for (let index = 0; index < 20; index++) await addCron(kit, { cronId: `c${index}` });
    await pass(kit, 5 * MINUTE_MS);
    for (let index = 0; index < 20; index++) expect(fired(kit, `c${index}`)).toEqual([1, 2, 3, 4, 5]);
    expect(countRuns(kit)).toBe(100);
    const counted = await Promise.all(processes.map(async (each) => (await each.counted()).fired ?? 0));
    expect(counted.reduce((sum, each) => sum + each)).toBe(100);
  });

  it("that start at once make one run of what all of them missed", async () => {
    const kit = await openKit();
    await addCron(kit);
    kit.clock.advance(HOUR_MS);
    for (let index = 0; index < 3; index++) startProcess(kit);
    await quiet(kit);
    expect([fired(kit), countRuns(kit)]).toEqual([[60], 1]);
  });
});

describe("a process that dies", () => {
  it("before the tick is committed leaves it to the next one", async () => {
    const kit = await openKit();
    const dying = startProcess(kit);
    await addCron(kit);
    vi.spyOn(dying.runs, "fire").mockReturnValue(new Promise(() => {})); // nothing of it comes back
    await pass(kit, MINUTE_MS);
    expect(fired(kit)).toEqual([]);
    startProcess(kit);
    await quiet(kit);
    expect([fired(kit), countRuns(kit)]).toEqual([[1], 1]);
  });

  it("after it is committed has made the run, which the next one finds waiting", async () => {
    const kit = await openKit();
    const dying = startProcess(kit);
    await addCron(kit);
    const { fire } = dying.runs;
    vi.spyOn(dying.runs, "fire").mockImplementation(async (...args) => {
      await fire.apply(dying.runs, args);
      return new Promise(() => {});
    });
    await pass(kit, MINUTE_MS);
    startProcess(kit);
    await quiet(kit);
    expect([fired(kit), countRuns(kit)]).toEqual([[1], 1]);
    expect((await kit.runs.claim("w2", 15_000))?.status).toBe("running");
  });
});

describe("a run that is refused", () => {
  it("leaves its tick out, visibly, and the cron goes on", async () => {
    const kit = await openKit();
    const { counted, log } = startProcess(kit, { maxPendingPerThread: 2 });
    await addCron(kit, { threadId: "t1", onRunCompleted: null });
    await pass(kit, 3 * MINUTE_MS);
    expect(fired(kit)).toEqual([1, 2]);
    expect(await counted()).toEqual({ fired: 2, skipped: 1, missed: 0 });
    expect(log.warn).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ cronId: "c1", code: "too_many_requests", tick: "2030-01-01T00:03:00.000Z" }),
      "cron skipped: its run was refused",
    );
    await kit.manager.cancelMany({ threadId: "t1" }, "interrupt");
    await pass(kit, MINUTE_MS);
    expect(fired(kit)).toEqual([1, 2, 4]);
  });

  it.each(["not_found", "forbidden"] as const)("for good (%s) disables the cron", async (code) => {
    const kit = await openKit();
    const { crons, manager, counted, log } = startProcess(kit);
    await addCron(kit);
    vi.spyOn(manager, "fire").mockRejectedValue(new GatewayError(code, "gone"));
    await pass(kit, 2 * MINUTE_MS);
    expect(await crons.get("c1")).toMatchObject({ enabled: false, nextRunAt: null });
    expect(await counted()).toEqual({ skipped: 1, missed: 0 });
    expect(log.warn).toHaveBeenCalledOnce();
  });

  it("because its creator is known no more, or may no more, disables the cron", async () => {
    for (const refusal of [
      new GatewayError("unauthenticated", "no key"),
      new RefusedError(401, "gone", {}),
      new RefusedError(403, "moved to another team", {}),
    ]) {
      const kit = await openKit();
      const { crons, recall, runs } = startProcess(kit);
      const identity = { identity: "ada", display_name: "ada", is_authenticated: true, permissions: [] };
      await addCron(kit, { identity });
      recall.mockRejectedValue(refusal);
      await pass(kit, MINUTE_MS);
      expect(recall).toHaveBeenCalledWith(identity);
      expect(await crons.get("c1")).toMatchObject({ enabled: false, nextRunAt: null });
      expect(await runs.countPending()).toBe(0);
    }
  });

  it("because nobody can read its schedule any more disables the cron", async () => {
    const kit = await openKit();
    const { crons, log } = startProcess(kit);
    await addCron(kit, { schedule: "no schedule" });
    await pass(kit, MINUTE_MS);
    expect(await crons.get("c1")).toMatchObject({ enabled: false, nextRunAt: null });
    expect(log.warn).toHaveBeenCalledOnce();
  });
});

describe("a failure", () => {
  it("of one cron keeps no other from being fired, and is tried again", async () => {
    const kit = await openKit();
    const { crons, log, counted } = startProcess(kit);
    for (let index = 0; index < 40; index++) await addCron(kit, { cronId: `c${index}` });
    const { get } = crons;
    const broken = vi.spyOn(crons, "get").mockImplementation(async (cronId) => {
      if (Number(cronId.slice(1)) < 20) throw new Error("disk I/O error");
      return get.call(crons, cronId);
    });
    await pass(kit, MINUTE_MS);
    expect(fired(kit, "c0")).toEqual([]);
    for (let index = 20; index < 40; index++) expect(fired(kit, `c${index}`)).toEqual([1]);
    expect(await counted()).toMatchObject({ failed: 20, fired: 20 });
    expect(log.error).toHaveBeenCalledTimes(20);
    broken.mockRestore();
    await pass(kit, 5_000);
    expect(fired(kit, "c0")).toEqual([1]);
  });

  it("of the database is waited for", async () => {
    const kit = await openKit();
    const { crons, log } = startProcess(kit);
    await addCron(kit);
    const broken = vi.spyOn(crons, "listDue").mockRejectedValue(new Error("disk I/O error"));
    await pass(kit, MINUTE_MS);
    expect(log.error).toHaveBeenCalled();
    broken.mockRestore();
    await pass(kit, 5_000);
    expect(fired(kit)).toEqual([1]);
  });
});

describe("stopping", () => {
  it("leaves what is due to the next start, and nothing behind", async () => {
    const kit = await openKit();
    const { scheduler } = startProcess(kit);
    await addCron(kit);
    await quiet(kit);
    await scheduler.stop();
    await pass(kit, 2 * MINUTE_MS);
    expect([fired(kit), kit.clock.pending()]).toEqual([[], 0]);
    startProcess(kit);
    await quiet(kit);
    expect(fired(kit)).toEqual([2]);
  });

  it("waits for what is being fired", async () => {
    const kit = await openKit();
    const { scheduler, manager } = startProcess(kit);
    await addCron(kit);
    await quiet(kit);
    let finish = (): void => {};
    vi.spyOn(manager, "fire").mockReturnValue(
      new Promise((resolve) => {
        finish = () => resolve(undefined);
      }),
    );
    kit.clock.advance(MINUTE_MS);
    await quiet(kit);
    let isStopped = false;
    const stopped = scheduler.stop().then(() => {
      isStopped = true;
    });
    await quiet(kit);
    expect(isStopped).toBe(false);
    finish();
    await stopped;
  });

  it("does not count what a gateway that stops refuses as a failure", async () => {
    const kit = await openKit();
    const { close, counted, log, crons } = startProcess(kit);
    await addCron(kit);
    close();
    await pass(kit, MINUTE_MS);
    expect([await counted(), log.error.mock.calls, (await crons.get("c1"))?.nextRunAt]).toEqual([
      { missed: 0 },
      [],
      kit.start + MINUTE_MS,
    ]);
  });
});
