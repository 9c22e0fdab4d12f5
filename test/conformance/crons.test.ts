/** Crons through the SDK (C1–C7): what is stored is what was asked for, and what fires is what is stored. */
import { Client, type Cron } from "@langchain/langgraph-sdk";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { SystemClock } from "../../src/core/clock.js";
import { startTestGateway, type TestGateway, type TestGatewayOptions } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { hurriedClock } from "../support/hurried-clock.js";

const HOUR_MS = 60 * 60_000;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Every test begins at ten past midnight, and puts the time forward as it likes; whoever sleeps looks at it often. */
const START_MS = Date.UTC(2030, 0, 1, 0, 10);
let startedAt = 0;
let aheadMs = 0;
const clock: SystemClock = { ...hurriedClock, now: () => START_MS + Date.now() - startedAt + aheadMs };

let gateway: TestGateway;
let client: Client;
let send: Send;

/** Of a test's own; it stops with the test. */
async function start(options: TestGatewayOptions = {}): Promise<void> {
  await open(options);
  onTestFinished(() => gateway.stop()); // whichever serves then
}

async function open(options: TestGatewayOptions): Promise<void> {
  gateway = await startTestGateway({ clock, ...options });
  use(gateway);
}

function use(started: TestGateway): void {
  gateway = started;
  client = started.client;
  send = sender(started.url);
}

beforeEach(() => {
  startedAt = Date.now();
  aheadMs = 0;
});

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

async function firedCount(): Promise<number> {
  const { body } = await send("GET", "/metrics");
  return Number(/heddle_cron_ticks_total\{outcome="fired"\} (\d+)/.exec(String(body))?.[1] ?? 0);
}

describe("a cron that is created", () => {
  beforeEach(() => start());

  it("shows what was asked for, with every default", async () => {
    const created = (await client.crons.create("echo", {
      schedule: "30 9 * * MON-FRI",
      input: { n: 1 },
    })) as unknown as Cron;
    const assistant = await client.assistants.get("echo");
    expect(created).toEqual({
      cron_id: expect.stringMatching(UUID),
      assistant_id: assistant.assistant_id,
      thread_id: null,
      on_run_completed: "delete",
      schedule: "30 9 * * MON-FRI",
      timezone: null,
      end_time: null,
      enabled: true,
      next_run_date: expect.stringMatching(/T09:30:00\.000Z$/),
      payload: {
        assistant_id: assistant.assistant_id,
        input: { n: 1 },
        config: {},
        context: null,
        interrupt_before: null,
        interrupt_after: null,
        stream_mode: ["values"],
        stream_subgraphs: false,
        stream_resumable: false,
        durability: "async",
        multitask_strategy: "enqueue",
        webhook: null,
      },
      metadata: {},
      user_id: null,
      created_at: expect.stringMatching(ISO),
      updated_at: created.created_at,
    });
    expect(await send("GET", `/runs/crons/${created.cron_id}`)).toMatchObject({ status: 200, body: created });
  });

  it("keeps everything that it is given", async () => {
    const created = await client.crons.create("echo", {
      schedule: "0 0 L * *",
      timezone: "America/New_York",
      endTime: "2099-12-31T23:59:59+01:00",
      enabled: false,
      onRunCompleted: "keep",
      input: { n: 1 },
      metadata: { team: "x" },
      config: { tags: ["a"], recursion_limit: 7, configurable: { model: "m", thread_id: "forged", __secret: 1 } },
      context: { tone: "formal", langgraph_auth_user: "forged" },
      interruptBefore: ["a", "b"],
      interruptAfter: "*",
      streamMode: ["updates", "messages-tuple"],
      streamSubgraphs: true,
      streamResumable: true,
      durability: "sync",
      multitaskStrategy: "rollback",
    });
    expect(created).toMatchObject({
      schedule: "0 0 L * *",
      timezone: "America/New_York",
      end_time: "2099-12-31T22:59:59.000Z",
      enabled: false,
      on_run_completed: "keep",
      next_run_date: null,
      metadata: { team: "x" },
      payload: {
        input: { n: 1 },
        config: { tags: ["a"], recursion_limit: 7, configurable: { model: "m" } },
        context: { tone: "formal" },
        interrupt_before: ["a", "b"],
        interrupt_after: "*",
        stream_mode: ["updates", "messages-tuple"],
        stream_subgraphs: true,
        stream_resumable: true,
        durability: "sync",
        multitask_strategy: "rollback",
      },
    });
    expect(created.payload.config).toEqual({ tags: ["a"], recursion_limit: 7, configurable: { model: "m" } });
    expect(created.payload.context).toEqual({ tone: "formal" });
  });

  it("on a thread belongs to that thread", async () => {
    const threadId = await newThread();
    const created = await client.crons.createForThread(threadId, "echo", { schedule: "0 0 1 1 *", input: {} });
    expect(created).toMatchObject({
      thread_id: threadId,
      on_run_completed: null,
      next_run_date: expect.stringMatching(ISO),
    });
  });

  it("may have members that nobody knows, and an end without an offset, which is UTC", async () => {
    const body = { assistant_id: "echo", schedule: "0 0 1 1 *", end_time: "2099-01-01T00:00", whatever: { a: 1 } };
    expect(await send("POST", "/runs/crons", body)).toMatchObject({
      status: 200,
      body: { end_time: "2099-01-01T00:00:00.000Z" },
    });
  });

  it("shows when it is due in its own zone", async () => {
    const zones = { "Asia/Tokyo": "03:00", "Asia/Kathmandu": "06:15", "Etc/GMT+5": "17:00" };
    for (const [timezone, utc] of Object.entries(zones)) {
      const { next_run_date: due } = await client.crons.create("echo", { schedule: "0 12 * * *", timezone });
      expect(due).toContain(`T${utc}:00.000Z`);
    }
  });
});

describe("crons that are searched", () => {
  let thread: string;
  let ids: readonly string[];

  beforeEach(async () => {
    await start();
    thread = await newThread();
    const january = await client.crons.create("echo", { schedule: "0 0 1 1 *", metadata: { team: "x", n: 1 } });
    const noon = await client.crons.createForThread(thread, "chat", {
      schedule: "0 12 * * *",
      metadata: { team: "x" },
    });
    const paused = await client.crons.create("echo", {
      schedule: "* * * * *",
      enabled: false,
      metadata: { team: "y" },
    });
    ids = [january, noon, paused].map(({ cron_id: cronId }) => cronId);
  });

  const found = async (query: Parameters<Client["crons"]["search"]>[0]): Promise<readonly number[]> =>
    (await client.crons.search(query)).map(({ cron_id: cronId }) => ids.indexOf(cronId));

  it("are found by assistant, graph, thread, metadata, and whether they are enabled", async () => {
    const echo = (await client.assistants.get("echo")).assistant_id;
    expect(await found({})).toEqual([2, 1, 0]);
    expect(await found({ assistantId: "echo" })).toEqual([2, 0]);
    expect(await found({ assistantId: echo })).toEqual([2, 0]);
    expect(await found({ threadId: thread })).toEqual([1]);
    expect(await found({ enabled: true })).toEqual([1, 0]);
    expect(await found({ metadata: { team: "x" } })).toEqual([1, 0]);
    expect(await found({ metadata: { team: "x", n: 1 }, assistantId: "echo" })).toEqual([0]);
    expect(await found({ assistantId: "nobody" })).toEqual([]);
    expect(await found({ threadId: "nowhere" })).toEqual([]);
  });

  it("are counted the same way", async () => {
    expect(await client.crons.count()).toBe(3);
    expect(await client.crons.count({ assistantId: "echo" })).toBe(2);
    expect(await client.crons.count({ threadId: thread })).toBe(1);
    expect(await client.crons.count({ metadata: { team: "y" } })).toBe(1);
    expect(await client.crons.count({ assistantId: "nobody" })).toBe(0);
  });

  it("are sorted as asked", async () => {
    expect(await found({ sortBy: "created_at", sortOrder: "asc" })).toEqual([0, 1, 2]);
    const [noon = -1, january = -1, last] = await found({ sortBy: "next_run_date", sortOrder: "asc" });
    expect([noon, january].sort()).toEqual([0, 1]);
    expect(last).toBe(2);
    await client.crons.update(ids[0] ?? "", { metadata: { touched: true } });
    expect(await found({ sortBy: "updated_at" })).toEqual([0, 2, 1]);
  });

  it("come in pages, with how many there are and where it goes on", async () => {
    expect(await found({ limit: 2 })).toEqual([2, 1]);
    expect(await found({ limit: 2, offset: 2 })).toEqual([0]);
    const pages = await Promise.all([0, 2].map((offset) => send("POST", "/runs/crons/search", { limit: 2, offset })));
    expect(pages.map(({ headers }) => [headers.get("x-pagination-total"), headers.get("x-pagination-next")])).toEqual([
      ["3", "2"],
      ["3", null],
    ]);
  });

  it("show what was selected, the time as well", async () => {
    const [row] = await client.crons.search({ limit: 1, select: ["cron_id", "schedule", "now"] });
    expect(row).toEqual({ cron_id: ids[2], schedule: "* * * * *", now: expect.stringMatching(ISO) });
  });
});

describe("a cron that is changed", () => {
  let cronId: string;

  beforeEach(async () => {
    await start();
    const asked = { schedule: "0 0 1 1 *", input: { n: 1 }, metadata: { a: 1, b: 1 }, context: { tone: "formal" } };
    cronId = (await client.crons.create("echo", asked)).cron_id;
  });

  it("is what was named, and for the rest what it was", async () => {
    const before = (await send("GET", `/runs/crons/${cronId}`)).body as Cron;
    const changed = await client.crons.update(cronId, {
      schedule: "0 12 * * *",
      timezone: "Asia/Tokyo",
      input: { n: 2 },
      metadata: { b: 2, c: 2 },
      streamMode: "updates",
      onRunCompleted: "keep",
    });
    expect(changed).toEqual({
      ...before,
      schedule: "0 12 * * *",
      timezone: "Asia/Tokyo",
      next_run_date: expect.stringMatching(/T03:00:00\.000Z$/),
      metadata: { a: 1, b: 2, c: 2 },
      on_run_completed: "keep",
      payload: { ...before.payload, input: { n: 2 }, stream_mode: ["updates"] },
      updated_at: expect.stringMatching(ISO),
    });
    expect((await send("GET", `/runs/crons/${cronId}`)).body).toEqual(changed);
  });

  it("has an end until that is taken back", async () => {
    const over = await client.crons.update(cronId, { endTime: "2000-01-01T00:00:00Z" });
    expect(over).toMatchObject({ end_time: "2000-01-01T00:00:00.000Z", next_run_date: null, enabled: true });
    expect(await client.crons.update(cronId, { metadata: {} })).toMatchObject({ end_time: "2000-01-01T00:00:00.000Z" });
    const endless = await client.crons.update(cronId, { endTime: null });
    expect(endless).toMatchObject({ end_time: null, next_run_date: expect.stringMatching(/-01-01T00:00:00\.000Z$/) });
  });

  it("can be paused, and goes on from then", async () => {
    expect(await client.crons.update(cronId, { enabled: false })).toMatchObject({
      enabled: false,
      next_run_date: null,
    });
    expect(await client.crons.update(cronId, { enabled: true })).toMatchObject({
      enabled: true,
      next_run_date: expect.stringMatching(ISO),
    });
  });

  it("takes null for a setting that is to be as if it had not been given", async () => {
    const path = `/runs/crons/${cronId}`;
    await send("PATCH", path, { timezone: "Asia/Tokyo", stream_mode: "updates", interrupt_before: "*" });
    const { body } = await send("PATCH", path, {
      timezone: null,
      stream_mode: null,
      interrupt_before: null,
      enabled: null,
    });
    expect(body).toMatchObject({
      timezone: null,
      enabled: true,
      payload: { stream_mode: ["values"], interrupt_before: null, input: { n: 1 }, context: { tone: "formal" } },
    });
  });

  it("may name its assistant, by either id", async () => {
    const { assistant_id: assistantId } = await client.assistants.get("echo");
    for (const id of ["echo", assistantId]) {
      expect(await send("PATCH", `/runs/crons/${cronId}`, { assistant_id: id })).toMatchObject({ status: 200 });
    }
  });
});

describe("a cron that is deleted", () => {
  beforeEach(() => start());

  it("is gone", async () => {
    const { cron_id: cronId } = await client.crons.create("echo", { schedule: "* * * * *" });
    await client.crons.delete(cronId);
    for (const method of ["GET", "DELETE"]) {
      expect(await send(method, `/runs/crons/${cronId}`)).toMatchObject({ status: 404, body: { code: "not_found" } });
    }
    await expect(client.crons.update(cronId, { enabled: true })).rejects.toThrow("404");
    expect(await client.crons.count()).toBe(0);
  });

  it("with its thread or its assistant is gone as well", async () => {
    const assistant = await client.assistants.create({ graphId: "echo" });
    const threadId = await newThread();
    const pruned = await newThread();
    const { cron_id: stays } = await client.crons.create("echo", { schedule: "* * * * *" });
    await client.crons.create(assistant.assistant_id, { schedule: "* * * * *" });
    for (const id of [threadId, pruned]) await client.crons.createForThread(id, "echo", { schedule: "* * * * *" });
    await client.assistants.delete(assistant.assistant_id);
    await client.threads.delete(threadId);
    await client.threads.prune([pruned]);
    expect((await client.crons.search()).map(({ cron_id: cronId }) => cronId)).toEqual([stays]);
  });
});

describe("what fires", () => {
  it("on a thread continues it, run by run", async () => {
    await start();
    const threadId = await newThread();
    const asked = { schedule: "0 * * * *", input: {}, metadata: { team: "x" } };
    const { cron_id: cronId } = await client.crons.createForThread(threadId, "counter", asked);
    for (const count of [1, 2]) {
      aheadMs += HOUR_MS;
      await expect.poll(async () => (await client.threads.get(threadId)).values).toMatchObject({ count });
    }
    const runs = await client.runs.list(threadId);
    expect(runs).toHaveLength(2);
    expect(runs[0]).toMatchObject({
      status: "success",
      multitask_strategy: "enqueue",
      metadata: { team: "x", cron_id: cronId },
      kwargs: { config: { configurable: { cron_id: cronId, thread_id: threadId } } },
    });
    expect(await client.crons.search()).toMatchObject([{ next_run_date: "2030-01-01T03:00:00.000Z" }]);
    expect(await firedCount()).toBe(2);
  });

  it("without a thread gets one, which stays or goes as asked", async () => {
    await start();
    const asked = { schedule: "0 * * * *", input: { messages: [] } };
    const { cron_id: kept } = await client.crons.create("echo", { ...asked, onRunCompleted: "keep" });
    await client.crons.create("echo", asked);
    aheadMs += HOUR_MS;
    await expect.poll(firedCount).toBe(2);
    await expect.poll(() => client.threads.search()).toMatchObject([{ metadata: { cron_id: kept }, status: "idle" }]);
    expect(await client.threads.search({ metadata: { cron_id: kept } })).toHaveLength(1);
  });

  it("runs as whoever made the cron, and belongs to them", async () => {
    await start({ config: { auth: { path: "./test/support/auth.ts:auth" } } });
    const ask = (who: string): Client =>
      new Client({
        apiUrl: gateway.url,
        defaultHeaders: { authorization: `Bearer ${who}` },
        callerOptions: { maxRetries: 0 },
      });
    const [ada, mallory] = [ask("ada"), ask("mallory")];
    await ada.crons.create("counter", { schedule: "0 * * * *", input: {}, onRunCompleted: "keep" });
    aheadMs += HOUR_MS;
    await expect.poll(() => ada.threads.search()).toMatchObject([{ status: "idle" }]);
    const [thread] = await ada.threads.search();
    expect(thread).toMatchObject({
      metadata: { owner: "ada" },
      values: { count: 1, seen: { configurable: { langgraph_auth_user: { identity: "ada", team: "loom" } } } },
    });
    expect(await mallory.threads.search()).toEqual([]);
    await expect(mallory.threads.get(thread?.thread_id ?? "")).rejects.toThrow(/404/);
  });

  it("after a death is the latest of what was missed, once", async () => {
    await start({ storage: "sqlite" });
    const threadId = await newThread();
    await client.crons.createForThread(threadId, "counter", { schedule: "0 * * * *", input: {} });
    const dead = gateway;
    const revived = await dead.revive(() => {
      aheadMs += 5 * HOUR_MS;
    });
    await dead.stop();
    use(revived);
    await expect.poll(async () => (await client.threads.get(threadId)).values).toMatchObject({ count: 1 });
    use(await gateway.restart());
    expect(await client.runs.list(threadId)).toHaveLength(1);
    expect(await client.crons.search()).toMatchObject([{ next_run_date: "2030-01-01T06:00:00.000Z" }]);
  });
});

describe("refused", () => {
  const valid = { assistant_id: "echo", schedule: "* * * * *" };

  beforeAll(() => open({ config: { crons: { min_interval_seconds: 300, max_per_gateway: 2 } } }));
  afterAll(() => gateway.stop());
  afterEach(async () => {
    for (const { cron_id: cronId } of await client.crons.search()) await client.crons.delete(cronId);
  });

  it.each<[string, object, number, string]>([
    ["no schedule", { schedule: undefined }, 422, "body.schedule"],
    ["no assistant", { assistant_id: undefined }, 422, "body.assistant_id"],
    ["a schedule that is none", { schedule: "every day" }, 422, "five fields"],
    ["seconds", { schedule: "0 0 0 1 1 *" }, 422, "five fields"],
    ["a nickname", { schedule: "@hourly" }, 422, "five fields"],
    ["a date that does not exist", { schedule: "0 0 30 2 *" }, 422, "no date"],
    ["an hour that does not exist", { schedule: "0 24 * * *" }, 422, "hour: 24"],
    ["a schedule that comes due too often", { schedule: "*/4 * * * *" }, 422, "more often than every 300 s"],
    ["a schedule that is too long", { schedule: `${"0,".repeat(1_000)}0 0 1 1 *` }, 422, "body.schedule"],
    ["a zone that does not exist", { timezone: "Mars/Olympus" }, 422, "timezone"],
    ["an end that is no time", { end_time: "tomorrow" }, 422, "body.end_time"],
    ["an end that is only a date", { end_time: "2030-01-01" }, 422, "body.end_time"],
    ["an end beyond all dates", { end_time: "9999-12-31T23:00:00-14:00" }, 422, "body.end_time"],
    ["an assistant that does not exist", { assistant_id: "nobody" }, 404, "nobody"],
    ["what is to become of no thread", { on_run_completed: "archive" }, 422, "on_run_completed"],
    ["a command", { command: { resume: 1 } }, 422, "command is not supported"],
    ["a checkpoint", { checkpoint_id: "c1" }, 422, "checkpoint_id is not supported"],
    ["a checkpoint in the configuration", { config: { configurable: { checkpoint_id: "c1" } } }, 422, "configurable"],
    ["a delay", { after_seconds: 5 }, 422, "after_seconds is not supported"],
    ["what a stateless run has", { on_completion: "keep" }, 422, "on_completion is not supported"],
    ["a command disguised as input", { input: { lg_name: "Command", resume: 1 } }, 422, "Command"],
    ["a stream mode that does not exist", { stream_mode: "everything" }, 422, "stream_mode"],
    ["metadata that is too much", { metadata: { a: "x".repeat(70_000) } }, 422, "metadata"],
  ])("%s", async (_what, change, status, detail) => {
    const body = { ...valid, schedule: "0 0 1 1 *", ...change };
    const answer = await send("POST", "/runs/crons", body);
    expect([answer.status, (answer.body as { detail: string }).detail]).toEqual([
      status,
      expect.stringContaining(detail),
    ]);
    expect(await client.crons.count()).toBe(0);
  });

  it("a thread that does not exist, and its deletion by a cron", async () => {
    const body = { ...valid, schedule: "0 0 1 1 *" };
    expect(await send("POST", "/threads/nowhere/runs/crons", body)).toMatchObject({ status: 404 });
    const path = `/threads/${await newThread()}/runs/crons`;
    expect(await send("POST", path, { ...body, on_run_completed: "delete" })).toMatchObject({ status: 422 });
    expect(await client.crons.count()).toBe(0);
  });

  it("more crons than there may be", async () => {
    for (let index = 0; index < 2; index++) await client.crons.create("echo", { schedule: "0 0 1 1 *" });
    await expect(client.crons.create("echo", { schedule: "0 0 1 1 *" })).rejects.toThrow("no more are allowed");
    expect(await client.crons.count()).toBe(2);
  });

  it.each<[string, unknown, number, string]>([
    ["that changes nothing", {}, 400, "nothing to change"],
    ["of what a cron does not have", { whatever: 1, constructor: 1 }, 400, "nothing to change"],
    ["of the assistant", { assistant_id: "chat" }, 422, "assistant_id"],
    ["to no schedule", { schedule: null }, 422, "body.schedule"],
    ["to a schedule that is none", { schedule: "* *" }, 422, "five fields"],
    ["to a schedule that comes due too often", { schedule: "* * * * *" }, 422, "more often"],
    ["to a zone that does not exist", { timezone: "Mars/Olympus" }, 422, "timezone"],
    ["to a command", { command: { resume: 1 } }, 422, "command is not supported"],
    ["that is a list", [], 422, "body"],
    ["to metadata that is too much", { metadata: { b: "x".repeat(65_000) } }, 422, "metadata"],
  ])("a change %s", async (_what, change, status, detail) => {
    const metadata = { a: "x".repeat(1_000) };
    const { cron_id: cronId } = await client.crons.create("echo", { schedule: "0 0 1 1 *", metadata });
    const before = await send("GET", `/runs/crons/${cronId}`);
    const answer = await send("PATCH", `/runs/crons/${cronId}`, change);
    expect([answer.status, (answer.body as { detail: string }).detail]).toEqual([
      status,
      expect.stringContaining(detail),
    ]);
    expect((await send("GET", `/runs/crons/${cronId}`)).body).toEqual(before.body);
  });

  it.each<[string, object]>([
    ["a column that does not exist", { sort_by: "payload" }],
    ["an order that does not exist", { sort_order: "random" }],
    ["a member that does not exist", { select: ["identity"] }],
    ["a page that is too large", { limit: 1_001 }],
    ["a page without rows", { limit: 0 }],
    ["a filter that is no object", { metadata: "x" }],
  ])("a search by %s", async (_what, query) => {
    expect(await send("POST", "/runs/crons/search", query)).toMatchObject({ status: 422 });
  });
});

describe("a gateway without crons", () => {
  it.each([{ crons: { enabled: false } }, { server: { disable_runs: true } }])("says so: %j", async (config) => {
    await start({ config });
    expect(await send("POST", "/runs/crons/search", {})).toMatchObject({
      status: 404,
      body: { detail: expect.stringContaining("no route") },
    });
    expect((await send("GET", "/info")).body).toMatchObject({ flags: { crons: false } });
  });
});
