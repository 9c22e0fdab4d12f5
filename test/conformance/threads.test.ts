/** Threads as rows, through the unmodified SDK client (T1, T4–T8): create, read, change, copy, prune, delete. */
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { startSlowRun } from "../support/slow-run.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const human = (content: string) => ({ messages: [{ role: "user", content }] });

describe("client.threads.create", () => {
  it("answers with a new idle thread without state", async () => {
    expect(await client.threads.create()).toEqual({
      thread_id: expect.stringMatching(UUID),
      created_at: expect.stringMatching(ISO),
      updated_at: expect.stringMatching(ISO),
      state_updated_at: null,
      metadata: {},
      config: {},
      status: "idle",
      values: null,
      interrupts: {},
      error: null,
    });
  });

  it("keeps the id, the metadata and the graph that it was given", async () => {
    const created = await client.threads.create({
      threadId: "Team.A:chat-1_x",
      metadata: { owner: "ada", nested: { list: [1, null] } },
      graphId: "echo",
    });
    expect(created).toMatchObject({
      thread_id: "Team.A:chat-1_x",
      metadata: { owner: "ada", nested: { list: [1, null] }, graph_id: "echo" },
    });
    expect(await client.threads.get("Team.A:chat-1_x")).toEqual(created);
  });

  it("refuses an id that is taken, or returns the thread unchanged with do_nothing", async () => {
    const { thread_id: threadId } = await client.threads.create({ metadata: { a: 1 } });
    const before = await client.threads.get(threadId);
    await expect(client.threads.create({ threadId })).rejects.toMatchObject({ status: 409 });
    expect(await send("POST", "/threads", { thread_id: threadId })).toMatchObject({
      status: 409,
      body: { code: "conflict", detail: expect.stringContaining(threadId) },
    });
    const again = await client.threads.create({ threadId, ifExists: "do_nothing", metadata: { a: 2 }, ttl: 9 });
    expect(again).toEqual(before);
    expect(await client.threads.get(threadId)).toEqual(before);
  });

  it.each([
    ["minutes", 5, { strategy: "delete", ttl_minutes: 5 }],
    ["minutes and a strategy", { ttl: 0.5, strategy: "keep_latest" }, { strategy: "keep_latest", ttl_minutes: 0.5 }],
    ["minutes as an object", { ttl: 1e9 }, { strategy: "delete", ttl_minutes: 1e9 }],
  ])("takes a ttl in %s", async (_, ttl, shown) => {
    const { body } = await send("POST", "/threads", { ttl });
    const { thread_id: threadId, created_at: createdAt } = body as { thread_id: string; created_at: string };
    expect(body).not.toHaveProperty("ttl");
    const { ttl: stored } = (await client.threads.get(threadId, { include: ["ttl"] })) as {
      ttl?: { expires_at: string };
    };
    expect(stored).toEqual({ ...shown, expires_at: expect.stringMatching(/Z$/) });
    expect(Date.parse(stored?.expires_at ?? "") - Date.parse(createdAt)).toBe(shown.ttl_minutes * 60_000);
  });

  it("creates a thread from an absent body, and from one that a page posts as text", async () => {
    expect(await send("POST", "/threads")).toMatchObject({ status: 200, body: { status: "idle" } });
    const beacon = await send("POST", "/threads", '{"metadata":{"from":"beacon"}}', {
      "content-type": "text/plain;charset=UTF-8",
    });
    expect(beacon).toMatchObject({ status: 200, body: { metadata: { from: "beacon" } } });
  });
});

describe("client.threads.get", () => {
  it("answers 404 for a thread that is not there", async () => {
    await expect(client.threads.get("missing")).rejects.toMatchObject({ status: 404 });
    expect(await send("GET", "/threads/missing")).toMatchObject({
      status: 404,
      body: { detail: 'thread "missing" not found', code: "not_found" },
    });
  });

  it.each([
    ["separated by commas", "include=ttl,active_run,pending_interrupts"],
    ["repeated", "include=ttl&include=active_run&include=pending_interrupts"],
    ["as a JSON list", `include=${encodeURIComponent('["ttl","active_run","pending_interrupts"]')}`],
  ])("includes what is asked for, %s", async (_, query) => {
    const { thread_id: threadId } = await client.threads.create();
    for (const base of ["", "/api"]) {
      const { body } = await send("GET", `${base}/threads/${threadId}?${query}`);
      expect(body).toMatchObject({ thread_id: threadId, ttl: null, active_run: null, pending_interrupts: [] });
      expect(body).not.toHaveProperty("state");
    }
  });

  it("opens a busy thread in one call: state and active run", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const runId = await startSlowRun(client, threadId);
    const { body } = await send("GET", `/threads/${threadId}?include=state,active_run`);
    expect(body).toMatchObject({
      status: "busy",
      active_run: { run_id: runId, status: "running" },
      state: { values: { steps: ["first"] }, next: ["wait"] },
    });
    await client.runs.cancel(threadId, runId, true);
  });

  it("opens a paused thread in one call: what it waits for", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "approval", { input: { question: "Sure?" } });
    const { body } = await send("GET", `/threads/${threadId}?include=pending_interrupts,active_run,state`);
    const pending = [{ id: expect.any(String), value: { question: "Sure?" } }];
    expect(body).toMatchObject({
      status: "interrupted",
      pending_interrupts: pending,
      active_run: null,
      state: { next: ["ask"], interrupts: pending },
    });
  });
});

describe("client.threads.update", () => {
  it("merges metadata and replaces the ttl", async () => {
    const { thread_id: threadId } = await client.threads.create({ metadata: { a: 1, deep: { x: 1, y: 2 } }, ttl: 5 });
    const updated = await client.threads.update(threadId, { metadata: { b: 2, deep: { x: 3 } } });
    expect(updated).toMatchObject({ thread_id: threadId, metadata: { a: 1, b: 2, deep: { x: 3 } } });
    expect(updated.metadata).toEqual({ a: 1, b: 2, deep: { x: 3 } });
    await client.threads.update(threadId, { metadata: {}, ttl: 7 });
    expect(await client.threads.get(threadId, { include: ["ttl"] })).toMatchObject({
      metadata: { a: 1, b: 2, deep: { x: 3 } },
      ttl: { strategy: "delete", ttl_minutes: 7 },
    });
    await send("PATCH", `/threads/${threadId}`, { metadata: { c: 3 } });
    expect(await client.threads.get(threadId, { include: ["ttl"] })).toMatchObject({ ttl: { ttl_minutes: 7 } });
  });

  it("answers without a body when asked to", async () => {
    const { thread_id: threadId } = await client.threads.create();
    expect(await client.threads.update(threadId, { metadata: { a: 1 }, returnMinimal: true })).toBeUndefined();
    for (const prefer of ["return=minimal", "Return=Minimal", "wait=5, return=minimal"]) {
      expect(await send("PATCH", `/threads/${threadId}`, { metadata: { b: 2 } }, { prefer })).toMatchObject({
        status: 204,
        body: undefined,
      });
    }
    const whole = await send("PATCH", `/threads/${threadId}`, { metadata: {} }, { prefer: "return=representation" });
    expect(whole).toMatchObject({ status: 200, body: { metadata: { a: 1, b: 2 } } });
  });

  it("refuses metadata that would grow beyond what a thread may have, and lets it shrink", async () => {
    const text = "x".repeat(40_000);
    const { thread_id: threadId } = await client.threads.create({ metadata: { a: text } });
    const path = `/threads/${threadId}`;
    const detail = expect.stringContaining("of at most 65536");
    expect(await send("PATCH", path, { metadata: { b: text } })).toMatchObject({ status: 422, body: { detail } });
    expect((await client.threads.get(threadId)).metadata).toEqual({ a: text });
    expect(await client.threads.update(threadId, { metadata: { a: "", b: text } })).toMatchObject({
      metadata: { a: "", b: text },
    });
  });

  it("answers 404 for a thread that is not there", async () => {
    await expect(client.threads.update("missing", { metadata: {} })).rejects.toMatchObject({ status: 404 });
  });
});

describe("client.threads.copy", () => {
  it("copies values, history and metadata to a thread of its own", async () => {
    const { thread_id: sourceId } = await client.threads.create({ metadata: { owner: "ada" } });
    await client.runs.wait(sourceId, "echo", { input: human("one") });
    const source = await client.threads.get(sourceId);
    const copy = await client.threads.copy(sourceId);
    expect(copy).toMatchObject({ metadata: source.metadata, values: source.values, status: "idle", interrupts: {} });
    expect(copy.thread_id).not.toBe(sourceId);
    const ids = async (threadId: string) =>
      (await client.threads.getHistory(threadId)).map(({ checkpoint }) => checkpoint.checkpoint_id);
    expect(await ids(copy.thread_id)).toEqual(await ids(sourceId));
    await client.runs.wait(copy.thread_id, "echo", { input: human("two") });
    expect(await client.threads.get(sourceId)).toEqual(source);
  });

  it("copies a pause: the copy can be resumed, and its source after it", async () => {
    const { thread_id: sourceId } = await client.threads.create();
    await client.runs.wait(sourceId, "twoApprovals", { input: { question: "?" } });
    const first = (await client.threads.getState(sourceId)) as unknown as {
      interrupts: { id: string; value: string }[];
    };
    const asked = first.interrupts.find(({ value }) => value === "a1");
    await client.runs.wait(sourceId, "twoApprovals", { command: { resume: { [asked?.id ?? ""]: "yes" } } });
    const source = await client.threads.get(sourceId);
    const copy = await client.threads.copy(sourceId);
    expect(copy).toMatchObject({ status: "interrupted", interrupts: source.interrupts, values: source.values });
    for (const threadId of [copy.thread_id, sourceId]) {
      const pending = Object.values(copy.interrupts).flat() as { id: string; value: string }[];
      expect(pending.map(({ value }) => value).sort()).toEqual(["a2", "b1"]);
      const resume = Object.fromEntries(pending.map(({ id, value }) => [id, value.toUpperCase()]));
      const done = (await client.runs.wait(threadId, "twoApprovals", { command: { resume } })) as { answers: string[] };
      expect(done.answers.toSorted()).toEqual(["a:A2", "a:yes", "b:B1", "joined"]);
    }
  });

  it("copies a thread without state, and refuses a missing or busy one", async () => {
    const { thread_id: emptyId } = await client.threads.create({ metadata: { a: 1 } });
    expect(await client.threads.copy(emptyId)).toMatchObject({ metadata: { a: 1 }, values: null, status: "idle" });
    await expect(client.threads.copy("missing")).rejects.toMatchObject({ status: 409 });
    const runId = await startSlowRun(client, emptyId);
    expect(await send("POST", `/threads/${emptyId}/copy`)).toMatchObject({
      status: 409,
      body: { code: "thread_busy", active_run: { run_id: runId, status: "running" } },
    });
    await client.runs.cancel(emptyId, runId, true);
  });

  it("lets a run that was created meanwhile start", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "echo", { input: human("one") });
    for (let round = 0; round < 5; round++) {
      const copying = client.threads.copy(threadId);
      const running = client.runs.wait(threadId, "echo", { input: human("two") });
      await Promise.allSettled([copying, running]);
      await running;
    }
  });
});

describe("client.threads.prune", () => {
  it("deletes what is there and idle, and counts it", async () => {
    const [one, two, busy] = await Promise.all([
      client.threads.create(),
      client.threads.create(),
      client.threads.create(),
    ]);
    const runId = await startSlowRun(client, busy.thread_id);
    const ids = [one.thread_id, two.thread_id, one.thread_id, busy.thread_id, "missing"];
    expect(await client.threads.prune(ids)).toEqual({ pruned_count: 2 });
    await expect(client.threads.get(one.thread_id)).rejects.toMatchObject({ status: 404 });
    expect(await client.threads.get(busy.thread_id)).toMatchObject({ status: "busy" });
    await client.runs.cancel(busy.thread_id, runId, true);
    expect(await client.threads.prune([])).toEqual({ pruned_count: 0 });
  });

  it("keeps the latest state with keep_latest, a pending approval included", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "approval", { input: { question: "1?" } });
    await client.runs.wait(threadId, "approval", { command: { resume: "yes" } });
    await client.runs.wait(threadId, "approval", { input: { question: "2?" } });
    const before = await client.threads.get(threadId);
    expect(await client.threads.prune([threadId], { strategy: "keep_latest" })).toEqual({ pruned_count: 1 });
    expect(await client.threads.get(threadId)).toEqual(before);
    expect(await client.threads.getHistory(threadId)).toHaveLength(1);
    const done = await client.runs.wait(threadId, "approval", { command: { resume: "no" } });
    expect(done).toMatchObject({ question: "2?", answers: ["yes", "no"] });
  });
});

describe("client.threads.delete", () => {
  it("removes the thread, its runs and its state", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "echo", { input: human("secret") });
    const [run] = await client.runs.list(threadId);
    await client.threads.delete(threadId);
    await expect(client.threads.get(threadId)).rejects.toMatchObject({ status: 404 });
    await expect(client.threads.delete(threadId)).rejects.toMatchObject({ status: 404 });
    for (const path of ["state", "history", "runs", `runs/${run?.run_id}`, `runs/${run?.run_id}/stream`]) {
      expect(await send("GET", `/threads/${threadId}/${path}`)).toMatchObject({ status: 404 });
    }
    await client.threads.create({ threadId });
    expect(await client.threads.getHistory(threadId)).toEqual([]);
  });

  it("stops a run in flight and those that wait behind it", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const runId = await startSlowRun(client, threadId);
    const waiting = await client.runs.create(threadId, "echo", { input: human("later") });
    const ended = client.runs.join(threadId, runId).then(
      () => "ended",
      () => "ended",
    );
    expect(await send("DELETE", `/threads/${threadId}`)).toMatchObject({ status: 204, body: undefined });
    expect(await ended).toBe("ended");
    for (const id of [runId, waiting.run_id]) {
      await expect(client.runs.get(threadId, id)).rejects.toMatchObject({ status: 404 });
    }
  });
});
