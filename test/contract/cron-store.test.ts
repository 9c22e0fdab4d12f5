/** What `SqlCronStore` and `RunStore.fire` promise to the crons of the HTTP API and to whoever fires them (S5). */
import { describe, expect, it } from "vitest";
import type { JsonObject, User } from "../../src/core/model.js";
import type { CronFilter, CronTick, NewCron } from "../../src/storage/ports/crons.js";
import type { PageQuery } from "../../src/storage/ports/page.js";
import {
  admission,
  claim,
  HOSTILE_STRINGS,
  leaseOf,
  newAssistant,
  newCron,
  newThread,
  openSqlStores,
  outcome,
  type SqlStores,
} from "../support/sql-stores.js";
import { onSqlite } from "../support/test-database.js";

type SortColumn = Parameters<SqlStores["crons"]["search"]>[1]["sortBy"];

const MANY = 1_000;
const MINUTE_MS = 60_000;
const PAGE = { limit: 100, offset: 0, maxBytes: 1e9, sortBy: "cron_id", sortOrder: "asc" } as const;

async function openStores(): Promise<SqlStores> {
  const stores = await openSqlStores();
  await stores.assistants.create(newAssistant());
  await stores.threads.create(newThread());
  return stores;
}

async function create(stores: SqlStores, cron: Partial<NewCron> = {}) {
  const created = await stores.crons.create(newCron(cron), MANY);
  if (typeof created === "string") throw new Error(`not created: ${created}`);
  return created;
}

async function idsOf({ crons }: SqlStores, filter: CronFilter, page: Partial<PageQuery<SortColumn>> = {}) {
  const found = await crons.search(filter, { ...PAGE, ...page });
  expect(await crons.count(filter)).toBe(found.total);
  return found.rows.map(({ cronId }) => cronId);
}

function rows(stores: SqlStores, table: string): Promise<unknown[]> {
  return stores.rows(`SELECT * FROM ${table}`);
}

describe("a cron", () => {
  const full = newCron({
    threadId: "t1",
    schedule: "30 9 * * 1-5",
    timezone: "Europe/Berlin",
    endAt: 2_000_000_000_000,
    onRunCompleted: null,
    metadata: { team: "x" },
    userId: "u1",
    identity: { identity: "u1", display_name: "u1", is_authenticated: true, permissions: ["a"] },
    nextRunAt: 1_900_000_000_000,
  });

  it("comes back as it was created", async () => {
    const stores = await openStores();
    const created = await create(stores, full);
    expect(created).toEqual({ ...full, createdAt: stores.clock.now(), updatedAt: stores.clock.now() });
    expect(await stores.crons.get("c1")).toEqual(created);
    expect(await stores.crons.get("c2")).toBeUndefined();
  });

  it("keeps any text and any JSON", async () => {
    const stores = await openStores();
    for (const [index, text] of HOSTILE_STRINGS.entries()) {
      const value = JSON.parse(`{${JSON.stringify(text)}:[${JSON.stringify(text)}]}`) as JsonObject;
      const cron = newCron({ cronId: `c${index}`, metadata: value, identity: { ...full.identity, ...value } as User });
      await create(stores, { ...cron, payload: { ...cron.payload, input: value, context: value } });
      const found = await stores.crons.get(`c${index}`);
      expect(JSON.stringify([found?.metadata, found?.identity, found?.payload.input])).toBe(
        JSON.stringify([value, cron.identity, value]),
      );
      expect(await idsOf(stores, { metadata: value })).toEqual([`c${index}`]);
    }
  });

  it("needs its assistant and its thread, and room", async () => {
    const { crons, threads } = await openStores();
    expect(await crons.create(newCron({ assistantId: "a2" }), MANY)).toBe("no assistant");
    expect(await crons.create(newCron({ threadId: "t2" }), MANY)).toBe("no thread");
    await threads.create(newThread({ threadId: "t3" }));
    await threads.markDeleting("t3");
    expect(await crons.create(newCron({ threadId: "t3" }), MANY)).toBe("no thread");
    expect(await crons.create(newCron(), 1)).toMatchObject({ cronId: "c1" });
    expect(await crons.create(newCron({ cronId: "c2" }), 1)).toBe("full");
    expect(await crons.count({})).toBe(1);
  });

  it("goes with its assistant, and with its thread as soon as that is being deleted", async () => {
    const stores = await openStores();
    const { assistants, crons, threads } = stores;
    await assistants.create(newAssistant({ assistantId: "a2" }));
    await threads.create(newThread({ threadId: "t2" }));
    await create(stores, { cronId: "c1", nextRunAt: 1 });
    await create(stores, { cronId: "c2", assistantId: "a2" });
    await create(stores, { cronId: "c3", threadId: "t1" });
    await create(stores, { cronId: "c4", threadId: "t2" });
    await crons.pass({ cronId: "c1", at: 1, dueAt: 1, nextRunAt: 2 }, { disable: false });
    await threads.markDeleting("t1");
    expect(await idsOf(stores, {})).toEqual(["c1", "c2", "c4"]);
    await assistants.remove("a2");
    expect(await idsOf(stores, {})).toEqual(["c1", "c4"]);
    await assistants.remove("a1");
    expect([await rows(stores, "crons"), await rows(stores, "cron_ticks")]).toEqual([[], []]);
  });

  it("is deleted once", async () => {
    const stores = await openStores();
    await create(stores);
    expect([await stores.crons.remove("c1"), await stores.crons.remove("c1")]).toEqual([true, false]);
  });
});

describe("a patch", () => {
  it("is what its change makes of the cron", async () => {
    const stores = await openStores();
    const created = await create(stores);
    stores.clock.advance(5);
    const change = { enabled: false, metadata: { a: 1 }, nextRunAt: null, timezone: "UTC" };
    const patched = await stores.crons.patch("c1", (cron) => ({ ...cron, ...change }));
    expect(patched).toEqual({ ...created, ...change, updatedAt: stores.clock.now() });
    expect(await stores.crons.get("c1")).toEqual(patched);
    expect(await stores.crons.patch("c2", (cron) => cron)).toBeUndefined();
  });

  it("that is refused leaves the cron as it was", async () => {
    const stores = await openStores();
    const created = await create(stores);
    const refused = stores.crons.patch("c1", () => {
      throw new Error("no");
    });
    await expect(refused).rejects.toThrow("no");
    expect(await stores.crons.get("c1")).toEqual(created);
  });

  it("loses nothing to another one at the same time", async () => {
    const stores = await openStores();
    await create(stores);
    const add = (index: number) =>
      stores.crons.patch("c1", (cron) => ({ ...cron, metadata: { ...cron.metadata, [`k${index}`]: index } }));
    await Promise.all(Array.from({ length: 20 }, (_, index) => add(index)));
    expect(Object.keys((await stores.crons.get("c1"))?.metadata ?? {})).toHaveLength(20);
  });
});

describe("a search", () => {
  async function fill(stores: SqlStores): Promise<void> {
    await stores.assistants.create(newAssistant({ assistantId: "a2" }));
    const add = async (cron: Partial<NewCron>) => {
      await create(stores, cron);
      stores.clock.advance(1);
    };
    await add({
      cronId: "a",
      assistantId: "a2",
      threadId: "t1",
      nextRunAt: 30,
      endAt: 5,
      metadata: { team: "x", n: [1, 2] },
    });
    await add({ cronId: "b", enabled: false, metadata: { team: "y" } });
    await add({ cronId: "c", nextRunAt: 10, endAt: 9, metadata: { team: "x" } });
    await stores.crons.patch("a", (cron) => cron);
  }

  it.each<[string, CronFilter, string[]]>([
    ["nothing", {}, ["a", "b", "c"]],
    ["assistant", { assistantId: "a1" }, ["b", "c"]],
    ["thread", { threadId: "t1" }, ["a"]],
    ["what is enabled", { enabled: true }, ["a", "c"]],
    ["what is not", { enabled: false }, ["b"]],
    ["metadata", { metadata: { team: "x" } }, ["a", "c"]],
    ["nested metadata", { metadata: { n: [2] } }, ["a"]],
    ["empty metadata", { metadata: {} }, ["a", "b", "c"]],
    ["everything at once", { assistantId: "a1", enabled: true, metadata: { team: "x" } }, ["c"]],
  ])("by %s", async (_name, filter, expected) => {
    const stores = await openStores();
    await fill(stores);
    expect(await idsOf(stores, filter)).toEqual(expected);
  });

  it.each<[SortColumn, "asc" | "desc", string[]]>([
    ["cron_id", "desc", ["c", "b", "a"]],
    ["assistant_id", "asc", ["b", "c", "a"]],
    ["thread_id", "asc", ["a", "b", "c"]],
    ["thread_id", "desc", ["a", "c", "b"]],
    ["next_run_date", "asc", ["c", "a", "b"]],
    ["next_run_date", "desc", ["a", "c", "b"]],
    ["end_time", "desc", ["c", "a", "b"]],
    ["created_at", "desc", ["c", "b", "a"]],
    ["updated_at", "desc", ["a", "c", "b"]],
  ])("sorts by %s %s, what has none last", async (sortBy, sortOrder, expected) => {
    const stores = await openStores();
    await fill(stores);
    expect(await idsOf(stores, {}, { sortBy, sortOrder })).toEqual(expected);
  });

  it("pages through all, tells the total, and refuses a page that takes more than it may", async () => {
    const stores = await openStores();
    await fill(stores);
    expect(await idsOf(stores, {}, { limit: 1, offset: 1 })).toEqual(["b"]);
    expect(await stores.crons.search({}, { ...PAGE, offset: 5 })).toEqual({ rows: [], total: 3 });
    const one = Buffer.byteLength(JSON.stringify(newCron().payload)) + 50;
    const refused = { code: "validation", details: { limit: 2 } };
    await expect(stores.crons.search({}, { ...PAGE, maxBytes: 2 * one })).rejects.toMatchObject(refused);
  });
});

describe("what is due", () => {
  it("is found by its index, longest due first, page by page", async () => {
    const stores = await openStores();
    const { crons } = stores;
    expect([await crons.nextDueAt(), await crons.listDue(100, null, 10)]).toEqual([undefined, []]);
    const now = stores.clock.now();
    const dueTimes: Record<string, number | null> = { d: 20, a: 20, c: 10, later: now + 1, never: null };
    for (const [cronId, nextRunAt] of Object.entries(dueTimes)) await create(stores, { cronId, nextRunAt });
    expect(await crons.nextDueAt()).toBe(10);
    const first = await crons.listDue(now, null, 2);
    expect(first).toEqual([
      { cronId: "c", nextRunAt: 10 },
      { cronId: "a", nextRunAt: 20 },
    ]);
    expect(await crons.listDue(now, first[1] ?? null, 2)).toEqual([{ cronId: "d", nextRunAt: 20 }]);
  });

  onSqlite("is found without a walk", async () => {
    const stores = await openStores();
    const { crons } = stores;
    const statements = await stores.statementsOf(async () => {
      await crons.listDue(100, { cronId: "c", nextRunAt: 10 }, 3);
      await crons.nextDueAt();
    });
    for (const statement of statements) expect(stores.plan(statement)).toContain("crons_due");
  });
});

describe("a tick", () => {
  const tick: CronTick = { cronId: "c1", dueAt: 1_000, at: 1_000, nextRunAt: 1_000 + MINUTE_MS };
  const fire = ({ runs }: SqlStores, of: CronTick, runId: string) => runs.fire(of, admission({ runId }));

  it("becomes a run, and its cron moves on, in one transaction", async () => {
    const stores = await openStores();
    const created = await create(stores, { nextRunAt: 1_000 });
    expect(await fire(stores, tick, "r1")).toMatchObject({ kind: "admitted", run: { runId: "r1", status: "pending" } });
    expect(await stores.crons.get("c1")).toEqual({ ...created, nextRunAt: tick.nextRunAt });
    expect(await rows(stores, "cron_ticks")).toEqual([{ cron_id: "c1", tick_at: 1_000, run_id: "r1" }]);
    expect((await stores.runs.get("t1", "r1"))?.status).toBe("pending");
  });

  it("becomes one run, however many fire it at once", async () => {
    const stores = await openStores();
    await create(stores, { nextRunAt: 1_000 });
    const fired = await Promise.all(Array.from({ length: 20 }, (_, index) => fire(stores, tick, `r${index}`)));
    expect(fired.filter((result) => result !== undefined)).toHaveLength(1);
    expect(await stores.runs.listIds("t1")).toHaveLength(1);
  });

  it("is as before when its run is refused, or the process dies before the commit", async () => {
    const stores = await openStores();
    const created = await create(stores, { nextRunAt: 1_000 });
    const refused = stores.runs.fire(tick, {
      ...admission({ runId: "r1" }),
      decide: () => ({ kind: "refuse", error: new Error("full") }),
    });
    await expect(refused).rejects.toThrow("full");
    expect(await stores.crons.get("c1")).toEqual(created);
    expect([await rows(stores, "cron_ticks"), await rows(stores, "runs")]).toEqual([[], []]);
    expect(await fire(stores, tick, "r2")).toMatchObject({ kind: "admitted" });
  });

  it("is not fired again by a cron that was sent back in time", async () => {
    const stores = await openStores();
    await create(stores, { nextRunAt: 1_000 });
    await fire(stores, tick, "r1");
    await stores.crons.patch("c1", (cron) => ({ ...cron, nextRunAt: 1_000 }));
    expect(await fire(stores, tick, "r2")).toBeUndefined();
    expect(await stores.runs.listIds("t1")).toEqual(["r1"]);
    expect((await stores.crons.get("c1"))?.nextRunAt).toBe(tick.nextRunAt);
  });

  it.each<[string, Partial<NewCron>]>([
    ["is not due yet", { nextRunAt: 2_000 }],
    ["was disabled", { enabled: false, nextRunAt: null }],
  ])("of a cron that %s fires nothing", async (_what, cron) => {
    const stores = await openStores();
    const created = await create(stores, cron);
    expect(await fire(stores, tick, "r1")).toBeUndefined();
    expect(await stores.crons.pass(tick, { disable: true })).toBe(false);
    expect(await stores.crons.get("c1")).toEqual(created);
    expect([await rows(stores, "cron_ticks"), await rows(stores, "runs")]).toEqual([[], []]);
  });

  it("of a cron that was deleted fires nothing", async () => {
    const stores = await openStores();
    expect(await fire(stores, tick, "r1")).toBeUndefined();
    expect(await rows(stores, "runs")).toEqual([]);
  });

  it("can be passed over, with its cron or without", async () => {
    const stores = await openStores();
    const created = await create(stores, { nextRunAt: 1_000 });
    expect(await stores.crons.pass(tick, { disable: false })).toBe(true);
    expect(await stores.crons.get("c1")).toEqual({ ...created, nextRunAt: tick.nextRunAt });
    const next = { ...tick, dueAt: 1_000 + MINUTE_MS, at: 1_000 + MINUTE_MS, nextRunAt: null };
    expect(await stores.crons.pass(next, { disable: true })).toBe(true);
    expect(await stores.crons.get("c1")).toEqual({ ...created, enabled: false, nextRunAt: null });
    expect(await rows(stores, "cron_ticks")).toMatchObject([{ run_id: null }, { run_id: null }]);
  });

  it("is remembered for a week, and longer than its run", async () => {
    const stores = await openStores();
    await create(stores, { nextRunAt: 1_000 });
    await fire(stores, tick, "r1");
    await stores.runs.finish(leaseOf(await claim(stores)), outcome());
    await stores.runs.remove("t1", "r1");
    expect(await rows(stores, "cron_ticks")).toHaveLength(1);
    const week = 7 * 24 * 60 * MINUTE_MS;
    const later = (dueAt: number, at: number): CronTick => ({ cronId: "c1", dueAt, at, nextRunAt: at + MINUTE_MS });
    await fire(stores, later(1_000 + MINUTE_MS, 1_000 + week), "r2");
    expect(await rows(stores, "cron_ticks")).toHaveLength(2);
    await fire(stores, later(1_000 + week + MINUTE_MS, 1_000 + week + MINUTE_MS), "r3");
    expect(await rows(stores, "cron_ticks")).toMatchObject([{ run_id: "r2" }, { run_id: "r3" }]);
  });
});
