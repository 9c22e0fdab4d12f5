/** WebSockets of the protocol as they stand on the wire: answers and events, subscriptions, refusals, and how they end. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { arrivedAt, openGate } from "../support/gates.js";
import { ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { ALL_CHANNELS, isEnd, outline, type WireEvent } from "../support/protocol-client.js";
import { type Command, commander, disorderOf, openEvents, openSocket } from "../support/protocol-wire.js";

const graphs = {
  transcript: "./test/support/protocol-graphs.ts:transcript",
  gated: "./test/support/run-graphs.ts:gated",
  echo: "./test/support/graphs.ts:echo",
};
const isolation = process.env.HEDDLE_TEST_ISOLATION === "thread" ? "thread" : "inline";
const config = { graphs: { isolation, ...graphs } };

let gateway: TestGateway;
let command: Command;

beforeAll(async () => {
  gateway = await startTestGateway({ config });
  command = commander(gateway.url);
});
afterAll(() => gateway.stop());

const HELLO = { messages: [{ role: "user", content: "hi", id: "h1" }] };
const EVERYTHING = { channels: ALL_CHANNELS };
const START = { assistant_id: "transcript", input: HELLO };
const idsOf = (events: readonly WireEvent[]) => events.map(({ event_id: id }) => id);

/** All that a run on a new thread said. */
async function ran(): Promise<{
  readonly threadId: string;
  readonly runId: string;
  readonly all: readonly WireEvent[];
}> {
  const threadId = randomUUID();
  const stream = await openEvents(gateway.url, threadId);
  const { result } = await command(threadId, "run.start", START);
  const all = await stream.until(isEnd);
  await stream.close();
  return { threadId, runId: String(result?.run_id), all };
}

describe.each(["", "/api"])("under %j", (base) => {
  it("a socket on a thread that does not exist takes commands and tells the run that comes", async () => {
    const threadId = randomUUID();
    const socket = await openSocket(`${gateway.url}${base}`, threadId);
    const subscribed = await socket.ask("subscription.subscribe", EVERYTHING);
    expect(subscribed).toEqual({ type: "success", id: 1, result: { subscription_id: expect.any(String) } });
    const started = await socket.ask("run.start", START);
    expect(started).toMatchObject({ type: "success", id: 2, meta: { thread_id: threadId, applied_through_seq: 0 } });
    const events = await socket.until(isEnd);
    expect(events[0]?.event_id).toBe(`synth:${started.result?.run_id}:running`);
    expect(disorderOf(events)).toBeUndefined();
    await socket.close();
  });

  it("a page of another origin is refused with 403", async () => {
    const headers = { origin: "https://elsewhere.example" };
    await expect(openSocket(`${gateway.url}${base}`, randomUUID(), headers)).rejects.toThrow("403");
  });

  it.each(["/threads", "/threads/t1/stream", "/threads/a/b/stream/events", "/other/stream/events"])(
    "there is no socket at %s: 404",
    async (path) => {
      const socket = new WebSocket(`${gateway.url.replace("http", "ws")}${base}${path}`);
      const [error] = (await once(socket, "error")) as [Error];
      expect(error.message).toContain("404");
    },
  );
});

describe("a subscription", () => {
  it("is answered before what happened is told, which is what streams tell", async () => {
    const { threadId, all } = await ran();
    const socket = await openSocket(gateway.url, threadId);
    void socket.ask("subscription.subscribe", EVERYTHING);
    expect(await socket.until(isEnd)).toEqual(all);
    expect(socket.received[0]).toMatchObject({ type: "success", id: 1 });
    await socket.close();
  });

  it("goes on behind `since`", async () => {
    const { threadId, all } = await ran();
    const middle = all[Math.floor(all.length / 2)];
    const socket = await openSocket(gateway.url, threadId);
    await socket.ask("subscription.subscribe", { ...EVERYTHING, since: middle?.seq });
    expect(await socket.until(isEnd)).toEqual(all.filter(({ seq }) => seq > (middle?.seq ?? 0)));
    await socket.close();
  });

  it("shares each event with the others of its socket, in the thread's order", async () => {
    const threadId = randomUUID();
    const socket = await openSocket(gateway.url, threadId);
    await socket.ask("subscription.subscribe", { channels: ["lifecycle", "values"], namespaces: [[]], depth: 0 });
    await socket.ask("subscription.subscribe", { channels: ["messages", "lifecycle"] });
    await socket.ask("subscription.subscribe", { channels: ["lifecycle", "tasks"] });
    await socket.ask("run.start", START);
    const events = await socket.until(isEnd);
    expect(disorderOf(events)).toBeUndefined();
    const other = await openEvents(gateway.url, threadId);
    const isWanted = ({ method, params }: WireEvent) =>
      ["messages", "lifecycle", "tasks"].includes(method) || (method === "values" && params.namespace.length === 0);
    expect(events).toEqual((await other.until(isEnd)).filter(isWanted));
    await other.close();
    await socket.close();
  });

  it("that comes later is told what it missed, while the others go on", async () => {
    const [threadId, gate] = [randomUUID(), randomUUID()];
    const socket = await openSocket(gateway.url, threadId);
    await socket.ask("subscription.subscribe", { channels: ["lifecycle"] });
    await socket.ask("run.start", { assistant_id: "gated", input: {}, config: { configurable: { gate } } });
    await arrivedAt(gate);
    const early = await socket.until(({ params }) => params.data.event === "running");
    await socket.ask("subscription.subscribe", { channels: ["values", "updates"] });
    const missed = await socket.until(({ method }) => method === "updates");
    openGate(gate);
    const rest = await socket.until(isEnd);
    const stream = await openEvents(gateway.url, threadId, { channels: ["lifecycle", "values", "updates"] });
    const all = await stream.until(isEnd);
    expect(idsOf([...early, ...missed, ...rest]).toSorted()).toEqual(idsOf(all).toSorted());
    expect(disorderOf(missed)).toBeUndefined();
    expect(disorderOf(rest)).toBeUndefined();
    await stream.close();
    await socket.close();
  });

  it("tells nothing any more when it was taken back", async () => {
    const threadId = randomUUID();
    const socket = await openSocket(gateway.url, threadId);
    const { result } = await socket.ask("subscription.subscribe", { channels: ["values"] });
    await socket.ask("subscription.subscribe", { channels: ["lifecycle"] });
    expect(await socket.ask("subscription.unsubscribe", result)).toMatchObject({ type: "success", result: {} });
    expect(await socket.ask("subscription.unsubscribe", result)).toMatchObject({ error: "no_such_subscription" });
    await socket.ask("run.start", { ...START, assistant_id: "echo" });
    expect((await socket.until(isEnd)).map(outline)).toEqual([
      "lifecycle running",
      "lifecycle echo started",
      "lifecycle echo completed",
      "lifecycle completed",
    ]);
    await socket.close();
  });

  it("goes on over the runs of its thread, whoever starts them", async () => {
    const { threadId } = await ran();
    const socket = await openSocket(gateway.url, threadId);
    await socket.ask("subscription.subscribe", { channels: ["lifecycle"], namespaces: [[]] });
    await socket.until(isEnd);
    const run = await gateway.client.runs.create(threadId, "echo", { input: HELLO });
    expect((await socket.until(isEnd)).at(-1)?.event_id).toBe(`synth:${run.run_id}:completed`);
    await socket.close();
  });
});

describe("subscription.reconnect", () => {
  it("restores on a new socket what the old one had, and tells only what is missing", async () => {
    const { threadId, runId, all } = await ran();
    const old = await openSocket(gateway.url, threadId);
    const ids: unknown[] = [];
    for (const channels of [["values", "lifecycle"], ["messages"]]) {
      ids.push((await old.ask("subscription.subscribe", { channels })).result?.subscription_id);
    }
    await old.close();
    const wanted = all.filter(({ method }) => ["values", "lifecycle", "messages"].includes(method));
    const seen = wanted.findIndex(({ method }) => method === "messages") + 3;
    const socket = await openSocket(gateway.url, threadId);
    const params = { run_id: runId, last_event_id: wanted[seen]?.event_id, subscriptions: ids };
    const { result } = await socket.ask("subscription.reconnect", params);
    expect(result).toMatchObject({ restored: true });
    const namespaces = result?.current_namespaces as { namespace: string[]; status: string }[];
    expect(namespaces.map(({ namespace, status }) => [namespace.join("|").replace(/:.*/, ""), status])).toEqual([
      ["", "interrupted"],
      ["llm", "completed"],
      ["sub", "completed"],
    ]);
    await socket.until(isEnd);
    const told = socket.received.filter((each): each is WireEvent => each.type === "event");
    expect(idsOf(told).toSorted()).toEqual(idsOf(wanted.slice(seen + 1)).toSorted());
    await socket.close();
  });

  it("says when it cannot tell what is missing, and what it does not know", async () => {
    const { threadId, runId } = await ran();
    const socket = await openSocket(gateway.url, threadId);
    const ask = (params: object) => socket.ask("subscription.reconnect", { run_id: runId, ...params });
    expect(await ask({ last_event_id: "another server's" })).toMatchObject({ result: { restored: false } });
    expect(await ask({ subscriptions: ["s1"] })).toMatchObject({ error: "no_such_subscription" });
    expect(await ask({ run_id: randomUUID() })).toMatchObject({ error: "no_such_run" });
    expect(await ask({ run_id: 7 })).toMatchObject({ error: "invalid_argument" });
    await socket.close();
  });
});

describe("what a socket is sent", () => {
  it.each<[string, string, number | null]>([
    ["no JSON", "{", null],
    ["a list", "[1]", null],
    ["no method", '{"id":3}', 3],
    ["an id that is none", '{"id":"a","method":"state.get"}', null],
  ])("that is %s is answered with an error, and the socket goes on", async (_, text, id) => {
    const { threadId } = await ran();
    const socket = await openSocket(gateway.url, threadId);
    socket.send(text);
    expect(await socket.answer()).toEqual({
      type: "error",
      id,
      error: "invalid_argument",
      message: expect.any(String),
    });
    expect(await socket.ask("state.get", { namespace: [] })).toMatchObject({ type: "success" });
    await socket.close();
  });

  it.each<[string, string, object]>([
    ["unknown_command", "run.dance", {}],
    ["invalid_argument", "subscription.subscribe", { channels: [] }],
    ["invalid_argument", "subscription.subscribe", { channels: ["debug"] }],
    ["no_such_subscription", "subscription.unsubscribe", { subscription_id: "s1" }],
    ["not_supported", "input.inject", {}],
    ["invalid_argument", "state.get", {}],
  ])("is refused with %s: %s %j", async (error, method, params) => {
    const socket = await openSocket(gateway.url, randomUUID());
    expect(await socket.ask(method, params)).toMatchObject({ type: "error", id: 1, error });
    await socket.close();
  });

  it("must be text", async () => {
    const socket = await openSocket(gateway.url, randomUUID());
    socket.send(Buffer.from("{}"));
    expect(await socket.closed).toMatchObject({ code: 1003 });
  });
});

describe("a socket", () => {
  // What %00 is in, nginx answers itself.
  it.each(["a%20b", ...(ON_CLUSTER ? [] : ["%00"])])("on a malformed thread id is closed for good: %s", async (id) => {
    const socket = await openSocket(gateway.url, id);
    expect(await socket.closed).toMatchObject({ code: 4422 });
  });

  it("of a page of this gateway is served", async () => {
    const socket = await openSocket(gateway.url, randomUUID(), { origin: gateway.url });
    expect(await socket.ask("subscription.subscribe", EVERYTHING)).toMatchObject({ type: "success" });
    await socket.close();
  });

  it("that closes changes nothing for the run, nor for others", async () => {
    const [threadId, gate] = [randomUUID(), randomUUID()];
    const [one, other] = [await openSocket(gateway.url, threadId), await openSocket(gateway.url, threadId)];
    await one.ask("subscription.subscribe", EVERYTHING);
    await other.ask("subscription.subscribe", EVERYTHING);
    await one.ask("run.start", { assistant_id: "gated", input: {}, config: { configurable: { gate } } });
    await arrivedAt(gate);
    one.socket.terminate();
    await one.closed;
    openGate(gate);
    const events = await other.until(isEnd);
    expect(events.at(-1)?.params.data.event).toBe("completed");
    const again = await openSocket(gateway.url, threadId);
    await again.ask("subscription.subscribe", EVERYTHING);
    expect(await again.until(isEnd)).toEqual(events);
    await other.close();
    await again.close();
  });

  it("is closed with 1012 when the gateway stops, and a stream is cut", async () => {
    const stopping = await startTestGateway({ config: { ...config, runs: { shutdown_grace_seconds: 0 } } });
    const [threadId, gate] = [randomUUID(), randomUUID()];
    const socket = await openSocket(stopping.url, threadId);
    const stream = await openEvents(stopping.url, threadId);
    await socket.ask("subscription.subscribe", EVERYTHING);
    await socket.ask("run.start", { assistant_id: "gated", input: {}, config: { configurable: { gate } } });
    await arrivedAt(gate);
    await stream.until(({ method }) => method === "updates");
    const cut = expect(stream.rest()).rejects.toThrow();
    await stopping.stop();
    expect(await socket.closed).toMatchObject({ code: 1012 });
    await cut;
    openGate(gate);
  });
});

describe("a client that keeps to no rules", () => {
  const handshake = (path: string): string =>
    [
      `GET ${path} HTTP/1.1`,
      "host: gateway",
      "connection: Upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      "\r\n",
    ].join("\r\n");
  /** A frame with a reserved bit and a length that lies. */
  const BROKEN_FRAME = Buffer.from([0xf1, 0x7f, 0xff, 0xff]);

  it("is answered as ever when it offers another protocol, or a body with it", async () => {
    const { port } = new URL(gateway.url);
    const client = connect({ port: Number(port), host: "127.0.0.1" });
    const body = '{"thread_id":"offered"}';
    const offer = "connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAMAAABk\r\n";
    client.write(
      `POST /threads HTTP/1.1\r\nhost: gateway\r\n${offer}upgrade: h2c\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    client.write(body);
    const [answer] = await once(client, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
    client.write(
      "POST /threads/count HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\n{}",
    );
    const [second] = await once(client, "data");
    expect(String(second)).toMatch(/^HTTP\/1\.1 200 /);
    client.destroy();
    expect((await gateway.client.threads.get("offered")).thread_id).toBe("offered");
  });

  it.each([
    ["where there is no socket", "/nowhere"],
    ["for a malformed thread id", "/threads/a%20b/stream/events"],
    ["for a thread", "/threads/t1/stream/events"],
  ])("does not keep the gateway from stopping, nor ends it (%s)", async (_, path) => {
    const stopping = await startTestGateway({ config });
    const { port } = new URL(stopping.url);
    const client = connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
    client.on("error", () => {}); // it may be cut
    client.write(handshake(path));
    await once(client, "data");
    client.write(BROKEN_FRAME);
    expect((await fetch(`${stopping.url}/ok`)).status).toBe(200);
    await stopping.stop();
    client.destroy();
  });
});
