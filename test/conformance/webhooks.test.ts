/** Webhooks as clients of the SDK ask for them and receivers get them: every way to create a run, every way it may end. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Client } from "@langchain/langgraph-sdk";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { openSqliteReader } from "../../src/storage/sqlite.js";
import { createUser, startAuthGateway } from "../support/auth-world.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway, type TestGatewayOptions } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { createFastClock } from "../support/hurried-clock.js";
import { type ReceivedWebhook, startReceiver, type WebhookReceiver } from "../support/webhook-receiver.js";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
/** As on a laptop: the receiver is on this machine. */
const LOCAL = { require_https: false, allow_private: true };

let receiver: WebhookReceiver;
let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  receiver = await startReceiver();
  gateway = await startTestGateway({ config: { webhooks: { secret: SECRET, url: LOCAL } } });
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(async () => {
  await gateway.stop();
  await receiver.stop();
});

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

/** A gateway and a receiver of the test's own. */
async function open(options: { react?: Parameters<typeof startReceiver>[0]; gateway?: TestGatewayOptions } = {}) {
  const own = await startReceiver(options.react);
  onTestFinished(() => own.stop());
  const config = { webhooks: { secret: SECRET, url: LOCAL }, ...options.gateway?.config };
  const started = await startTestGateway({ ...options.gateway, config });
  return { own, started };
}

const human = (content: string) => ({ messages: [{ type: "human", content }] });
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

type Body = Record<string, unknown> & { readonly run_id: string; readonly status: string };

/** What a receiver that checks signatures gets. */
function bodyOf({ body, headers }: ReceivedWebhook): Body {
  return new Webhook(SECRET).verify(body, headers as Record<string, string>) as Body;
}

async function webhookOf(runId: string, from = receiver): Promise<Body> {
  return bodyOf(await from.next(({ headers }) => headers["webhook-id"] === `msg_${runId}`));
}

describe("a run with a webhook", () => {
  it("tells of its end with everything that the run's page shows, and the final state", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "echo", {
      input: human("hi"),
      metadata: { kind: "test" },
      webhook: receiver.url,
    });
    const body = await webhookOf(run.run_id);
    const shown = await client.runs.get(threadId, run.run_id);
    expect(body).toEqual({
      ...shown,
      run_started_at: expect.stringMatching(ISO),
      run_ended_at: shown.updated_at,
      webhook_sent_at: expect.stringMatching(ISO),
      values: (await client.threads.getState(threadId)).values,
    });
    expect(body).toMatchObject({ status: "success", metadata: { kind: "test" }, thread_id: threadId });
    expect(Date.parse(String(body.run_started_at))).toBeLessThanOrEqual(Date.parse(String(body.run_ended_at)));
  });

  it("is a POST of JSON that Standard Webhooks describes", async () => {
    const run = await client.runs.create(null, "echo", { input: human("hi"), webhook: `${receiver.url}?token=t` });
    await webhookOf(run.run_id);
    const found = receiver.received.find(({ headers }) => headers["webhook-id"] === `msg_${run.run_id}`);
    expect(found).toMatchObject({
      path: "/hook?token=t",
      headers: {
        "content-type": "application/json",
        "user-agent": expect.stringMatching(/^heddle\/\d/),
        "webhook-timestamp": expect.stringMatching(/^\d{10}$/),
        "webhook-signature": expect.stringMatching(/^v1,\S+$/),
      },
    });
  });

  it.each(["wait", "stream", "create", "batch"] as const)("without a thread tells of it, too (%s)", async (way) => {
    const payload = { input: human(`by ${way}`), webhook: receiver.url };
    if (way === "wait") await client.runs.wait(null, "echo", payload);
    if (way === "create") await client.runs.create(null, "echo", payload);
    if (way === "batch") await client.runs.createBatch([{ assistantId: "echo", ...payload }]);
    if (way === "stream") for await (const _ of client.runs.stream(null, "echo", payload));
    const received = await receiver.next(({ body }) => body.includes(`echo: by ${way}`));
    const { thread_id: threadId, ...body } = bodyOf(received);
    expect(body).toMatchObject({ status: "success", kwargs: { temporary: true } });
    await expect.poll(async () => (await send("GET", `/threads/${threadId}`)).status).toBe(404);
  });

  it("on a thread tells of it as well when it is waited for or streamed", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "echo", { input: human("one"), webhook: receiver.url });
    for await (const _ of client.runs.stream(threadId, "echo", { input: human("two"), webhook: receiver.url }));
    const [second, first] = await client.runs.list(threadId);
    expect((await webhookOf(first?.run_id ?? "")).values).toMatchObject({ messages: { length: 2 } });
    expect((await webhookOf(second?.run_id ?? "")).values).toMatchObject({ messages: { length: 4 } });
  });

  it("that was started by event streaming tells of it", async () => {
    const threadId = randomUUID();
    const params = { assistant_id: "echo", input: human("hi"), webhook: receiver.url };
    const answer = await send("POST", `/threads/${threadId}/commands`, { id: 1, method: "run.start", params });
    const { run_id: runId } = (answer.body as { result: { run_id: string } }).result;
    expect(await webhookOf(runId)).toMatchObject({ status: "success", thread_id: threadId });
  });

  it("that a cron creates tells of it", async () => {
    const { own, started } = await open({ gateway: { clock: createFastClock() } });
    onTestFinished(() => started.stop());
    const { crons } = started.client;
    const refused = crons.create("echo", { schedule: "* * * * *", webhook: "https://169.254.169.254/" });
    await expect(refused).rejects.toThrow(/422.*webhook/);
    const cron = await crons.create("echo", { schedule: "* * * * *", input: human("hi"), webhook: own.url });
    expect(cron).toMatchObject({ payload: { webhook: `http://127.0.0.1:${own.port}/…` } });
    await expect(crons.update(cron.cron_id, { webhook: "https://169.254.169.254/" })).rejects.toThrow(/422.*webhook/);
    const received = await own.next();
    expect(JSON.parse(received.body)).toMatchObject({ status: "success", metadata: { cron_id: cron.cron_id } });
  });

  it("that fails tells how, with the state that was reached", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "failing", { input: {}, webhook: receiver.url });
    const body = await webhookOf(run.run_id);
    expect(body).toMatchObject({ status: "error", error: { error: expect.any(String), message: expect.any(String) } });
    expect(body.error).toEqual((await client.threads.get(threadId)).error);
  });

  it("that pauses for a person tells what it asks", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "approval", { input: {}, webhook: receiver.url });
    await client.runs.join(threadId, run.run_id);
    const { interrupts } = await client.threads.get(threadId);
    expect(await webhookOf(run.run_id)).toMatchObject({
      status: "success",
      values: { __interrupt__: Object.values(interrupts).flat() },
    });
  });

  it.each(["interrupt", "rollback"] as const)(
    "that is stopped tells that (%s), and so does one that waited",
    async (action) => {
      const threadId = await newThread();
      const gate = randomUUID();
      const webhook = receiver.url;
      const config = { configurable: { gate } };
      const running = await client.runs.create(threadId, "gated", { input: { input: 1 }, config, webhook });
      await arrivedAt(gate);
      const pending = await client.runs.create(threadId, "gated", {
        input: { input: 2 },
        multitaskStrategy: "enqueue",
        webhook,
      });
      await client.runs.cancel(threadId, pending.run_id, false, action);
      await client.runs.cancel(threadId, running.run_id, false, action);
      const status = action === "rollback" ? "rollback" : "interrupted";
      expect(await webhookOf(pending.run_id)).toMatchObject({
        status,
        run_started_at: null,
        values: expect.any(Object),
      });
      expect(await webhookOf(running.run_id)).toMatchObject({ status, run_started_at: expect.stringMatching(ISO) });
      openGate(gate);
    },
  );

  it("that a later one interrupts tells that", async () => {
    const threadId = await newThread();
    const gate = randomUUID();
    const config = { configurable: { gate } };
    const first = await client.runs.create(threadId, "gated", { input: {}, config, webhook: receiver.url });
    await arrivedAt(gate);
    const second = await client.runs.create(threadId, "echo", {
      input: human("now"),
      multitaskStrategy: "interrupt",
      webhook: receiver.url,
    });
    expect(await webhookOf(first.run_id)).toMatchObject({ status: "interrupted" });
    expect(await webhookOf(second.run_id)).toMatchObject({ status: "success" });
    openGate(gate);
  });

  it("shows where it goes, not the secrets of whoever receives it", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "echo", {
      input: human("hi"),
      webhook: `${receiver.url}/s3cret?token=s3cret`,
    });
    await webhookOf(run.run_id);
    const shown = [run, await client.runs.get(threadId, run.run_id), await client.runs.list(threadId)];
    expect(run).toMatchObject({ kwargs: { webhook: `http://127.0.0.1:${receiver.port}/…` } });
    expect(JSON.stringify([shown, receiver.received.at(-1)?.body])).not.toContain("s3cret");
    expect(JSON.stringify(shown)).not.toContain(SECRET);
  });
});

describe("a receiver that fails", () => {
  it.each(["error", "hang", "reset", "redirect"] as const)("gets it again with the same id (%s)", async (reaction) => {
    let requests = 0;
    const react = () => (requests++ === 0 ? reaction : "ok");
    const { own, started } = await open({ react: { react }, gateway: { clock: createFastClock() } });
    onTestFinished(() => started.stop());
    const run = await started.client.runs.create(null, "echo", { input: human("hi"), webhook: own.url });
    await own.next((webhook) => webhook.reaction === "ok");
    expect(own.received.map(({ headers }) => headers["webhook-id"])).toEqual(Array(2).fill(`msg_${run.run_id}`));
    const [first, second] = own.received.map(bodyOf);
    expect(second).toEqual({ ...first, webhook_sent_at: second?.webhook_sent_at });
  });

  it("delays no run, and is read no further than 64 KB", async () => {
    const { own, started } = await open({ react: { react: () => "hang" } });
    onTestFinished(() => started.stop());
    const runs = Array.from({ length: 12 }, (_, index) =>
      started.client.runs.wait(null, "echo", { input: human(String(index)), webhook: own.url }),
    );
    expect((await Promise.all(runs)).length).toBe(12); // while the receiver takes ten seconds for each
    const pouring = await open({ react: { react: () => "flood" } });
    onTestFinished(() => pouring.started.stop());
    await pouring.started.client.runs.wait(null, "echo", { input: human("hi"), webhook: pouring.own.url });
    await expect.poll(() => outcomes(pouring.started)).toContain('{outcome="delivered"} 1');
  });

  it("is forgotten with the thread that is deleted", async () => {
    const { own, started } = await open({ react: { react: () => "error" }, gateway: { storage: "sqlite" } });
    onTestFinished(() => started.stop());
    const database = openSqliteReader(join(started.dataDir, "heddle.db"));
    onTestFinished(() => void database.close());
    const waiting = database.prepare<[], number>("SELECT count(*) FROM outbox").pluck();
    const { thread_id: threadId } = await started.client.threads.create();
    await started.client.runs.wait(threadId, "echo", { input: human("hi"), webhook: own.url });
    await own.next();
    expect(waiting.get()).toBe(1);
    await started.client.threads.delete(threadId);
    expect(waiting.get()).toBe(0);
  });
});

describe("a webhook that was not delivered", () => {
  it.each(["stops", "dies"] as const)("is sent after the gateway %s and starts again", async (how) => {
    let isUp = false;
    const react = () => (isUp ? "ok" : "hang");
    const { own, started } = await open({ react: { react }, gateway: { storage: "sqlite", clock: createFastClock() } });
    const stateless = await started.client.runs.create(null, "echo", { input: human("hi"), webhook: own.url });
    const { thread_id: threadId } = await started.client.threads.create();
    const kept = await started.client.runs.create(threadId, "echo", { input: human("hi"), webhook: own.url });
    await started.client.runs.join(threadId, kept.run_id);
    await own.next();
    const next = how === "stops" ? await started.restart() : await started.revive();
    isUp = true;
    for (const { run_id: runId } of [stateless, kept]) {
      const arrived = await own.next(
        ({ headers, reaction }) => reaction === "ok" && headers["webhook-id"] === `msg_${runId}`,
      );
      expect(JSON.parse(arrived.body)).toMatchObject({ run_id: runId, status: "success" });
    }
    await next.stop();
    if (how === "dies") await started.stop();
  });
});

describe("a webhook that may not be called", () => {
  let strict: TestGateway;
  beforeAll(async () => {
    strict = await startTestGateway();
  });
  afterAll(() => strict.stop());

  it.each([
    "http://127.0.0.1:9/",
    "https://localhost/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:10.0.0.1]/",
    "http://example.com/",
    "file:///etc/passwd",
    "/runs",
    "no url",
    "",
    7,
  ])("refuses its run, naming the option, and makes none: %j", async (webhook) => {
    const strictly = sender(strict.url);
    const { thread_id: threadId } = await strict.client.threads.create();
    const threads = await strict.client.threads.count();
    const body = { assistant_id: "echo", input: human("hi"), webhook };
    for (const path of [`/threads/${threadId}/runs`, `/threads/${threadId}/runs/stream`, "/runs/wait", "/runs"]) {
      const answer = await strictly("POST", path, body);
      expect(answer).toMatchObject({ status: 422, body: { detail: expect.stringContaining("webhook") } });
    }
    expect((await strictly("POST", "/runs/batch", [{ ...body, webhook: null }, body])).status).toBe(422);
    expect(await strict.client.runs.list(threadId)).toEqual([]);
    expect(await strict.client.threads.count()).toBe(threads);
  });

  it("is refused with all others where webhooks are switched off", async () => {
    const off = await startTestGateway({ config: { server: { disable_webhooks: true } } });
    onTestFinished(() => off.stop());
    const answer = await sender(off.url)("POST", "/runs", { assistant_id: "echo", webhook: "https://example.com/" });
    expect(answer).toMatchObject({
      status: 422,
      body: { code: "unsupported", detail: expect.stringContaining("server.disable_webhooks") },
    });
    expect((await sender(off.url)("GET", "/info")).body).toMatchObject({ flags: { webhooks: false } });
  });
});

describe("a path of the gateway's own", () => {
  it("is called where that is allowed: a run may be what follows a run", async () => {
    const url = { ...LOCAL, disable_loopback: false };
    const { started } = await open({ gateway: { config: { webhooks: { url } } } });
    onTestFinished(() => started.stop());
    const { thread_id: threadId } = await started.client.threads.create();
    const run = await started.client.runs.create(null, "echo", {
      input: human("hi"),
      metadata: { chain: "first" },
      webhook: `/threads/${threadId}/runs`,
    });
    await expect.poll(() => outcomes(started)).toContain('{outcome="delivered"} 1');
    expect(await started.client.runs.list(threadId)).toMatchObject([
      { assistant_id: run.assistant_id, metadata: { chain: "first" } },
    ]);
  });
});

describe.each(["an Auth object", "API keys"] as const)("where callers are known by %s", (kind) => {
  it("a path of the gateway's own is called as whoever created the run", async () => {
    const url = { ...LOCAL, disable_loopback: false };
    const known = await startAuthGateway(kind, { webhooks: { url } });
    onTestFinished(() => known.stop());
    const [ada, mallory] = await Promise.all([createUser(known, "ada"), createUser(known, "mallory")]);
    const path = `/threads/${ada.thread_id}/runs`;
    for (const user of [mallory, ada]) {
      await user.client.runs.create(null, "echo", {
        input: human("hi"),
        metadata: { chain: user.secret },
        webhook: path,
      });
    }
    await expect.poll(() => outcomes(known, ada.headers)).toContain('{outcome="delivered"} 1');
    await expect.poll(() => outcomes(known, ada.headers)).toContain('{outcome="retried"} 1'); // a 404 for mallory
    const runs = await ada.client.runs.list(ada.thread_id);
    expect(runs.map(({ metadata }) => (metadata as { chain?: string }).chain)).toEqual([ada.secret, undefined]);
  });

  it("no receiver is told who asked for the run", async () => {
    const own = await startReceiver();
    onTestFinished(() => own.stop());
    const known = await startAuthGateway(kind, { webhooks: { url: LOCAL } });
    onTestFinished(() => known.stop());
    const ada = await createUser(known, "ada");
    await ada.client.runs.create(null, "echo", { input: human("hi"), webhook: own.url });
    const { body } = await own.next();
    expect(body).not.toContain("langgraph_auth");
    expect(JSON.parse(body).kwargs).not.toHaveProperty("user");
  });
});

async function outcomes({ url }: TestGateway, headers: Record<string, string> = {}): Promise<string> {
  const text = await (await fetch(`${url}/metrics`, { headers })).text();
  return text.match(/^heddle_webhook_tries_total.*$/gm)?.join("\n") ?? "";
}
