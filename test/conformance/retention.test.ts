/** How long threads live, and what they take, with the unmodified SDK. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { sender } from "../support/http.js";

let gateway: TestGateway;
afterEach(() => gateway?.stop());

interface Ttl {
  readonly strategy: string;
  readonly ttl_minutes: number;
  readonly expires_at: string;
}

/** Sweeps many times a second. */
const HURRIED = { sweep_interval_minutes: 0.0005 };
/** Over at once: 6 ms. */
const MOMENT = 0.0001;
/** The SDK passes it on, though its type knows only `delete`. */
const KEEP_LATEST = "keep_latest" as "delete";

async function start(ttl: object = {}): Promise<TestGateway> {
  gateway = await startTestGateway({ config: { checkpointer: { ttl } } });
  return gateway;
}

async function ttlOf(threadId: string): Promise<Ttl | null> {
  const thread = await gateway.client.threads.get(threadId, { include: ["ttl"] });
  return (thread as unknown as { ttl: Ttl | null }).ttl;
}

const minutesLeft = (ttl: Ttl | null): number => (Date.parse(ttl?.expires_at ?? "") - Date.now()) / 60_000;

describe("the ttl of a thread", () => {
  it("is what it was created with, minutes or more, and shown to who asks", async () => {
    const { client } = await start();
    const { thread_id: short } = await client.threads.create({ ttl: 5 });
    const { thread_id: kept } = await client.threads.create({ ttl: { ttl: 1.5, strategy: KEEP_LATEST } });
    const { thread_id: forEver } = await client.threads.create();

    expect(await ttlOf(short)).toEqual({ strategy: "delete", ttl_minutes: 5, expires_at: expect.any(String) });
    expect(await ttlOf(kept)).toMatchObject({ strategy: "keep_latest", ttl_minutes: 1.5 });
    expect(minutesLeft(await ttlOf(short))).toBeCloseTo(5, 0);
    expect(await ttlOf(forEver)).toBeNull();
    expect(await client.threads.get(short)).not.toHaveProperty("ttl");
  });

  it("can be changed", async () => {
    const { client } = await start();
    const { thread_id: threadId } = await client.threads.create({ ttl: 5 });
    await client.threads.update(threadId, { ttl: { ttl: 60, strategy: KEEP_LATEST } });
    expect(await ttlOf(threadId)).toMatchObject({ strategy: "keep_latest", ttl_minutes: 60 });
    await client.threads.update(threadId, { metadata: { topic: "looms" } });
    expect(await ttlOf(threadId)).toMatchObject({ ttl_minutes: 60 });
  });

  it("is the configured one for threads that say nothing, whoever makes them", async () => {
    const { client } = await start({ default_ttl: 30, strategy: "keep_latest" });
    const { thread_id: created } = await client.threads.create();
    const madeByRun = randomUUID();
    await client.runs.wait(madeByRun, "echo", { input: { messages: [] }, ifNotExists: "create" });
    const stateless = await client.runs.create(null, "echo", { input: { messages: [] }, onCompletion: "continue" });
    const { thread_id: copy } = await client.threads.copy(created);
    const { thread_id: own } = await client.threads.create({ ttl: 5 });

    for (const threadId of [created, madeByRun, stateless.thread_id, copy]) {
      expect(await ttlOf(threadId)).toMatchObject({ strategy: "keep_latest", ttl_minutes: 30 });
    }
    expect(await ttlOf(own)).toMatchObject({ strategy: "delete", ttl_minutes: 5 });
  });

  it("begins anew when the thread is used", async () => {
    const { client } = await start();
    const { thread_id: threadId } = await client.threads.create({ ttl: 5 });
    const before = Date.parse((await ttlOf(threadId))?.expires_at ?? "");
    await client.runs.wait(threadId, "counter", { input: {} });
    const afterRun = Date.parse((await ttlOf(threadId))?.expires_at ?? "");
    await client.threads.updateState(threadId, { values: { count: 5 } });
    const afterEdit = Date.parse((await ttlOf(threadId))?.expires_at ?? "");
    expect(before).toBeLessThan(afterRun);
    expect(afterRun).toBeLessThan(afterEdit);
  });

  it("is announced", async () => {
    await start();
    const { body } = await sender(gateway.url)("GET", "/info");
    expect(body).toMatchObject({ flags: { thread_ttl: true } });
  });
});

describe("a thread whose time is over", () => {
  const isGone = (threadId: string) =>
    gateway.client.threads.get(threadId).then(
      () => false,
      (error: { readonly status?: number }) => error.status === 404,
    );

  it("goes with its runs, its state and what its runs said; the others stay", async () => {
    const { client } = await start(HURRIED);
    const send = sender(gateway.url);
    const { thread_id: stays } = await client.threads.create({ ttl: 60 });
    const { thread_id: threadId } = await client.threads.create();
    const { run_id: runId } = await client.runs.create(threadId, "counter", { input: {} });
    await client.runs.join(threadId, runId);
    await client.threads.update(threadId, { ttl: MOMENT });

    await expect.poll(() => isGone(threadId)).toBe(true);

    for (const path of ["/state", "/storage", `/runs/${runId}`, `/runs/${runId}/stream`]) {
      await expect.poll(async () => (await send("GET", `/threads/${threadId}${path}`)).status).toBe(404);
    }
    expect(await client.threads.search({ ids: [threadId, stays] })).toMatchObject([{ thread_id: stays }]);
  });

  it("waits for the end of its runs, and lives on from there", async () => {
    const { client } = await start(HURRIED);
    const gate = randomUUID();
    const { thread_id: threadId } = await client.threads.create();
    const { thread_id: witness } = await client.threads.create();
    const { run_id: runId } = await client.runs.create(threadId, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
    });
    await arrivedAt(gate);
    await client.threads.update(threadId, { ttl: MOMENT });
    await client.threads.update(witness, { ttl: MOMENT });
    await expect.poll(() => isGone(witness)).toBe(true); // so sweeps have passed
    expect(await client.threads.get(threadId)).toMatchObject({ status: "busy" });

    openGate(gate);
    await client.runs.join(threadId, runId).catch(() => {}); // its thread may go before it is asked for
    await expect.poll(() => isGone(threadId)).toBe(true);
  });

  it("keeps its latest state where it says so, and goes on from there", async () => {
    const { client } = await start(HURRIED);
    const { thread_id: threadId } = await client.threads.create();
    for (let turn = 0; turn < 3; turn++) await client.runs.wait(threadId, "counter", { input: {} });
    const before = await client.threads.getState(threadId);
    expect(await client.threads.getHistory(threadId, { limit: 100 })).toHaveLength(9);
    const { total_bytes: full } = await storageOf(threadId);

    await client.threads.update(threadId, { ttl: { ttl: 0.001, strategy: KEEP_LATEST } });
    await expect.poll(async () => (await client.threads.getHistory(threadId, { limit: 100 })).length).toBe(1);

    const after = await client.threads.getState(threadId);
    expect(after.values).toEqual(before.values);
    expect(after.checkpoint).toEqual(before.checkpoint);
    expect((await storageOf(threadId)).total_bytes).toBeLessThan(full);
    expect(await ttlOf(threadId)).toMatchObject({ strategy: "keep_latest" });
    expect(await client.runs.wait(threadId, "counter", { input: {} })).toMatchObject({ count: 4 });
  });
});

interface Storage {
  readonly thread_id: string;
  readonly total_bytes: number;
  readonly checkpoints: { readonly count: number; readonly bytes: number };
  readonly channel_values: {
    readonly count: number;
    readonly bytes: number;
    readonly by_channel: Readonly<Record<string, { readonly versions: number; readonly bytes: number }>>;
  };
  readonly pending_writes: { readonly count: number; readonly bytes: number };
}

async function storageOf(threadId: string): Promise<Storage> {
  const { status, body } = await sender(gateway.url)("GET", `/threads/${threadId}/storage`);
  expect(status).toBe(200);
  return body as Storage;
}

describe("GET /threads/{thread_id}/storage", () => {
  const some = { count: expect.any(Number), bytes: expect.any(Number) };

  it("tells what the state takes, in all and by channel", async () => {
    const { client } = await start();
    const { thread_id: threadId } = await client.threads.create();
    const empty = await storageOf(threadId);
    const content = "looms ".repeat(1_000);
    await client.runs.wait(threadId, "echo", { input: { messages: [{ role: "user", content }] } });
    const once = await storageOf(threadId);
    await client.runs.wait(threadId, "echo", { input: { messages: [{ role: "user", content }] } });
    const twice = await storageOf(threadId);

    expect(empty).toEqual({
      thread_id: threadId,
      total_bytes: 0,
      checkpoints: { count: 0, bytes: 0 },
      channel_values: { count: 0, bytes: 0, by_channel: {} },
      pending_writes: { count: 0, bytes: 0 },
    });
    expect(once).toEqual({
      thread_id: threadId,
      total_bytes: expect.any(Number),
      checkpoints: some,
      channel_values: { ...some, by_channel: expect.any(Object) },
      pending_writes: some,
    });
    for (const { total_bytes, checkpoints, channel_values, pending_writes } of [once, twice]) {
      expect(total_bytes).toBe(checkpoints.bytes + channel_values.bytes + pending_writes.bytes);
      const channels = Object.values(channel_values.by_channel);
      expect(channel_values.count).toBe(channels.reduce((sum, { versions }) => sum + versions, 0));
      expect(channel_values.bytes).toBe(channels.reduce((sum, { bytes }) => sum + bytes, 0));
    }
    expect(once.checkpoints.count).toBe((await client.threads.getHistory(threadId, { limit: 100 })).length / 2);
    expect(once.channel_values.by_channel.messages?.bytes).toBeGreaterThan(content.length);
    expect(twice.channel_values.by_channel.messages?.versions).toBe(
      2 * (once.channel_values.by_channel.messages?.versions ?? 0),
    );
  });

  it("answers 404 where there is no thread", async () => {
    await start();
    const missing = await sender(gateway.url)("GET", `/threads/${randomUUID()}/storage`);
    expect(missing).toMatchObject({ status: 404, body: { code: "not_found" } });
  });

  it("answers 501 for a graph that keeps its state itself", async () => {
    const { client } = await start();
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "ownSaver", { input: { input: 1 } });
    const answer = await sender(gateway.url)("GET", `/threads/${threadId}/storage`);
    expect(answer).toMatchObject({
      status: 501,
      body: { code: "not_implemented", detail: 'graph "ownSaver" keeps its state in a checkpointer of its own' },
    });
  });
});
