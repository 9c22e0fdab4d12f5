/** Following a run from anywhere: live, later, again, after a break (W1–W4, W9; decisions on cursors). */
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { startFaultProxy } from "../support/fault-proxy.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { BRIDGE, ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { hurriedBy, hurriedClock } from "../support/hurried-clock.js";
import { names, openSse, type SsePart } from "../support/sse-client.js";
import { readWithHook } from "../support/stock-hook.js";

let gateway: TestGateway;
let client: Client;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
});
afterAll(() => gateway.stop());

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

const human = (content: string) => ({ messages: [{ type: "human", content }] });

/** A run of `gated` that waits at its gate. */
async function startGated(payload: Record<string, unknown> = {}) {
  const [threadId, gate] = [await newThread(), randomUUID()];
  const run = await client.runs.create(threadId, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    streamMode: ["values", "updates"],
    ...payload,
  });
  await arrivedAt(gate);
  return { threadId, runId: run.run_id, gate, path: `/threads/${threadId}/runs/${run.run_id}` };
}

/** A run of `talk` that has ended, and its events. */
async function finishedTalk(payload: Record<string, unknown> = {}) {
  const threadId = await newThread();
  const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, {
    json: {
      assistant_id: "talk",
      input: human("one two three"),
      stream_mode: ["values", "messages-tuple", "updates"],
      ...payload,
    },
  });
  const parts = await stream.rest();
  const path = stream.headers.get("content-location") ?? "";
  return { threadId, runId: path.split("/").at(-1) ?? "", path, parts };
}

async function join(path: string, lastEventId?: string): Promise<readonly SsePart[]> {
  const init = lastEventId === undefined ? {} : { headers: { "last-event-id": lastEventId } };
  return (await openSse(`${gateway.url}${path}/stream`, init)).rest();
}

/** Modes of which every event is told again as it was. */
const UNFOLDED = { stream_mode: ["updates", "tasks"] };

/** What the message chunks say together. */
function contentOf(parts: readonly Pick<SsePart, "event" | "data">[]): string {
  const chunks = parts.filter(({ event }) => event === "messages");
  return chunks.map(({ data }) => (data as readonly [{ readonly content: string }, unknown])[0].content).join("");
}

describe("the headers of a stream", () => {
  it("leave before the run has begun, and say where it is (W1, W9)", async () => {
    const running = await startGated();
    const stream = await openSse(`${gateway.url}/threads/${running.threadId}/runs/stream`, {
      json: { assistant_id: "gated", input: { input: 2 }, multitask_strategy: "enqueue" },
    });
    const [pending] = await client.runs.list(running.threadId, { status: "pending" });
    const path = `/threads/${running.threadId}/runs/${pending?.run_id}`;
    expect(stream.status).toBe(200);
    expect(stream.raw()).toBe("");
    expect(Object.fromEntries(stream.headers)).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-cache, no-transform",
      ...(ON_CLUSTER ? {} : { "x-accel-buffering": "no" }), // nginx keeps it to itself
      "content-location": path,
      location: `${path}/stream`,
      "x-request-id": expect.stringMatching(/.+/),
    });
    openGate(running.gate);
    expect(names(await stream.rest())).toEqual(["metadata", ...Array(4).fill("values"), "end"]);
  });

  it("are the same under another base path, without it, and on a join", async () => {
    const { path } = await finishedTalk();
    for (const base of ["", "/api"]) {
      const stream = await openSse(`${gateway.url}${base}${path}/stream`);
      expect(stream.headers.get("content-location")).toBe(path);
      expect(stream.headers.get("location")).toBe(`${path}/stream`);
      await stream.rest();
    }
  });

  it("of a created run and of a result say the same", async () => {
    const threadId = await newThread();
    const post = (path: string) =>
      fetch(`${gateway.url}${path}`, {
        method: "POST",
        body: JSON.stringify({ assistant_id: "echo", input: human("hi") }),
      });
    const pathOf = /^\/threads\/[^/]+\/runs\/[0-9a-f-]{36}$/;
    const created = await post(`/threads/${threadId}/runs`);
    expect(created.headers.get("content-location")).toMatch(pathOf);
    expect(created.headers.get("location")).toBe(`${created.headers.get("content-location")}/stream`);
    const waited = await post(`/threads/${threadId}/runs/wait`);
    expect(waited.headers.get("content-location")).toMatch(pathOf);
    expect(waited.headers.get("location")).toBe(`${waited.headers.get("content-location")}/join`);
    const stateless = await post("/runs/wait");
    expect(stateless.headers.get("content-location")).toMatch(/^\/runs\/[0-9a-f-]{36}$/);
    expect(stateless.headers.get("location")).toBe(`${stateless.headers.get("content-location")}/join`);
    await Promise.all([created.text(), waited.text(), stateless.text()]);
  });

  it("can be read by pages of other origins", async () => {
    const { path } = await finishedTalk();
    const response = await fetch(`${gateway.url}${path}/stream`, { headers: { origin: "http://localhost:3000" } });
    const exposed = response.headers.get("access-control-expose-headers")?.toLowerCase() ?? "";
    for (const name of ["content-location", "location", "x-pagination-total", "x-pagination-next", "x-request-id"]) {
      expect(exposed.split(",")).toContain(name);
    }
    await response.text();
  });
});

it("HEAD answers with the headers, and leaves no stream open", async () => {
  const { path, gate } = await startGated();
  const response = await fetch(`${gateway.url}${path}/stream`, { method: "HEAD" });
  expect(response.headers.get("content-location")).toBe(path);
  await expect.poll(() => gateway.metric("heddle_open_streams")).toBe(0);
  openGate(gate);
  await join(path);
});

describe("readers", () => {
  it("all see everything, whenever they came", async () => {
    const { path, gate } = await startGated();
    const live = await Promise.all(Array.from({ length: 5 }, () => openSse(`${gateway.url}${path}/stream`)));
    for (const stream of live) await stream.until(({ event }) => event === "values");
    openGate(gate);
    const [first, ...others] = await Promise.all(live.map((stream) => stream.rest()));
    expect(names(first ?? []).at(-1)).toBe("end");
    for (const other of others) expect(other).toEqual(first);
    const replayed = await join(path);
    expect(names(replayed)).toEqual(["metadata", "updates", "updates", "updates", "values", "end"]);
    expect(replayed.slice(-3)).toEqual(first?.slice(-3));
  });

  it("see a finished run at once, the same again", async () => {
    const { path, parts } = await finishedTalk(UNFOLDED);
    expect(await join(path)).toEqual(parts);
    expect(await join(path, "-1")).toEqual(parts);
  });

  it("who come later get each answer in one piece, and see what the others saw (W5)", async () => {
    const { path, parts } = await finishedTalk();
    const replayed = await join(path);
    expect(names(replayed)).toEqual(["metadata", "values", "messages", "updates", "values", "updates", "end"]);
    expect(contentOf(replayed)).toBe(contentOf(parts));
    expect(await readWithHook([replayed])).toEqual(await readWithHook([parts]));
  });
});

describe("a cursor", () => {
  it("continues strictly after each event", async () => {
    const { path, parts } = await finishedTalk(UNFOLDED);
    for (const [index, { id }] of parts.entries()) expect(await join(path, id)).toEqual(parts.slice(index + 1));
  });

  it("within an answer brings what is missing of it (W5)", async () => {
    const { path, parts } = await finishedTalk();
    const whole = await readWithHook([parts]);
    for (const [index, { id }] of parts.entries()) {
      const seen = parts.slice(0, index + 1);
      const rest = await join(path, id);
      expect(contentOf([...seen, ...rest])).toBe(contentOf(parts));
      expect(await readWithHook([[...seen, ...rest]])).toEqual(whole);
    }
  });

  it("may be a bare number of the newest claim", async () => {
    const { path, parts } = await finishedTalk(UNFOLDED);
    expect(await join(path, parts[2]?.id?.split("-")[1])).toEqual(parts.slice(3));
  });

  it.each(["9-9", "1-9999", "9999"])("that is unknown (%s) brings a snapshot, and the end", async (cursor) => {
    const { path, threadId, runId } = await finishedTalk();
    const { values } = await client.threads.getState(threadId);
    expect(await join(path, cursor)).toEqual([
      { id: undefined, event: "values", data: values },
      { id: "2-1", event: "end", data: { run_id: runId, status: "success" } },
    ]);
  });

  it("that is unknown brings a snapshot of a live run, and what comes next", async () => {
    const { path, gate } = await startGated();
    const stream = await openSse(`${gateway.url}${path}/stream`, { headers: { "last-event-id": "9-9" } });
    const snapshot = await stream.next();
    expect(snapshot).toEqual({ id: undefined, event: "values", data: { input: 1, steps: ["before"] } });
    openGate(gate);
    expect(names(await stream.rest())).toEqual(["updates", "values", "updates", "values", "end"]);
  });

  it.each(["abc", "1-", "-2", "1-2-3", "1.5"])("that makes no sense (%s) is refused", async (cursor) => {
    const { path } = await finishedTalk();
    const response = await fetch(`${gateway.url}${path}/stream`, { headers: { "last-event-id": cursor } });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "bad_request",
      detail: expect.stringContaining("Last-Event-ID"),
    });
  });

  it("that makes no sense refuses a new run before there is one", async () => {
    const threadId = await newThread();
    const response = await fetch(`${gateway.url}/threads/${threadId}/runs/stream`, {
      method: "POST",
      headers: { "last-event-id": "abc" },
      body: JSON.stringify({ assistant_id: "echo", input: human("hi") }),
    });
    expect(response.status).toBe(400);
    expect(await client.runs.list(threadId)).toEqual([]);
  });
});

describe("joinStream of the SDK", () => {
  const collect = async (stream: AsyncIterable<{ id?: string | undefined; event: string; data: unknown }>) => {
    const parts: { id?: string | undefined; event: string; data: unknown }[] = [];
    for await (const part of stream) parts.push(part);
    return parts;
  };

  it("reads from the start, from an id, from -1", async () => {
    const { threadId, runId, parts } = await finishedTalk(UNFOLDED);
    expect(await collect(client.runs.joinStream(threadId, runId))).toEqual(parts);
    expect(await collect(client.runs.joinStream(threadId, runId, { lastEventId: "-1" }))).toEqual(parts);
    const lastEventId = parts[3]?.id ?? "";
    expect(await collect(client.runs.joinStream(threadId, runId, { lastEventId }))).toEqual(parts.slice(4));
  });

  it("filters by mode and keeps the namespaces", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "nested", {
      input: { input: 1 },
      streamMode: ["values", "updates", "tasks", "debug"],
      streamSubgraphs: true,
    });
    await client.runs.join(threadId, run.run_id);
    const all = await collect(client.runs.joinStream(threadId, run.run_id));
    const updates = await collect(client.runs.joinStream(threadId, run.run_id, { streamMode: ["updates", "tasks"] }));
    const wanted = /^(metadata|end|updates(\|.*)?|tasks(\|.*)?)$/;
    expect(updates).toEqual(all.filter(({ event }) => wanted.test(event)));
    expect(names(updates)).toContainEqual(expect.stringMatching(/^updates\|sub:[^|]+\|middle:/));
  });

  it("tells tuples from accumulated messages", async () => {
    const { threadId, runId } = await finishedTalk({ stream_mode: ["messages", "messages-tuple"] });
    const tuples = await collect(client.runs.joinStream(threadId, runId, { streamMode: "messages-tuple" }));
    expect(new Set(names(tuples))).toEqual(new Set(["metadata", "messages", "end"]));
    const accumulated = await collect(client.runs.joinStream(threadId, runId, { streamMode: ["messages"] }));
    expect(new Set(names(accumulated))).toEqual(
      new Set(["metadata", "messages/complete", "messages/metadata", "messages/partial", "end"]),
    );
  });

  it("of an unknown run, or of another thread's, is 404", async () => {
    const { runId } = await finishedTalk();
    const other = await newThread();
    await expect(collect(client.runs.joinStream(other, runId))).rejects.toMatchObject({ status: 404 });
    await expect(collect(client.runs.joinStream(other, randomUUID()))).rejects.toMatchObject({ status: 404 });
  });

  it("cancels the run when the client leaves, if it is told to", async () => {
    const { threadId, runId } = await startGated();
    const abort = new AbortController();
    const options = { signal: abort.signal, cancelOnDisconnect: true };
    const leave = async () => {
      for await (const { event } of client.runs.joinStream(threadId, runId, options))
        if (event === "values") abort.abort();
    };
    await leave().catch(() => {});
    await vi.waitFor(async () => expect((await client.runs.get(threadId, runId)).status).toBe("interrupted"), 10_000);
  });
});

describe("the SDK's reconnecting", () => {
  it("sees everything once, wherever the connection was cut", async () => {
    const threadId = await newThread();
    const words = Array.from({ length: 40 }, (_, index) => `word${index}`).join(" ");
    const whole = await finishedTalk({ input: human(words) });
    const length = JSON.stringify(whole.parts).length;
    const cuts = Array.from({ length: 16 }, (_, index) => 1_200 + Math.floor((index * length) / 16));
    await Promise.all(
      cuts.map(async (cut, index) => {
        const proxy = await startFaultProxy(gateway.url, {
          kind: "cutting",
          afterBytes: (n) => (n === 0 ? cut : n === 1 && index % 4 === 0 ? 1_500 : undefined),
        });
        onTestFinished(() => proxy.close());
        const behind = new Client({ apiUrl: proxy.url, callerOptions: { maxRetries: 0 } });
        const parts: { id?: string | undefined; event: string; data: unknown }[] = [];
        const stream = behind.runs.stream(index === 0 ? threadId : await newThread(), "talk", {
          input: human(words),
          streamMode: ["values", "messages-tuple", "updates"],
        });
        for await (const part of stream) parts.push(part as (typeof parts)[number]);
        expect(contentOf(parts)).toBe(contentOf(whole.parts));
        const ids = parts.map(({ id }) => Number(id?.split("-")[1]));
        expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
        const untouched = (all: readonly { readonly event: string }[]) =>
          names(all).filter((name) => ["metadata", "updates", "end"].includes(name));
        expect(untouched(parts)).toEqual(untouched(whole.parts));
        expect(parts.at(-1)?.id).toBe(whole.parts.at(-1)?.id);
        expect(proxy.connections).toBe(index % 4 === 0 ? 3 : 2);
      }),
    );
  });
});

const KEPT_BY_REDIS = { meta: { leftOut: "Redis keeps a log for ten seconds at least" } };
describe.skipIf(BRIDGE === "redis")("a finished run whose log is gone", KEPT_BY_REDIS, () => {
  let forgetful: TestGateway;
  beforeAll(async () => {
    const config = { stream_bridge: { retention_seconds: 0 }, run_ledger: { retention_days: 0 } };
    forgetful = await startTestGateway({ config });
  });
  afterAll(() => forgetful.stop());

  async function finished(graph: string, input: unknown) {
    const { thread_id: threadId } = await forgetful.client.threads.create();
    const run = await forgetful.client.runs.create(threadId, graph, { input: input as Record<string, unknown> });
    await forgetful.client.runs.join(threadId, run.run_id);
    const url = `${forgetful.url}/threads/${threadId}/runs/${run.run_id}`;
    // Without its log nothing but the end has an id.
    await vi.waitFor(async () => {
      const parts = await (await openSse(`${url}/stream`)).rest();
      expect(parts.filter(({ id }) => id !== undefined)).toHaveLength(1);
    });
    return { threadId, runId: run.run_id, url };
  }

  it("is told by its state and its end", async () => {
    const { url, threadId, runId } = await finished("custom", { input: 1 });
    const values = { input: 1, steps: ["worked"] };
    const parts = await (await openSse(`${url}/stream`)).rest();
    expect(parts).toEqual([
      { id: undefined, event: "metadata", data: { run_id: runId, attempt: 1, thread_id: threadId } },
      { id: undefined, event: "values", data: values },
      { id: "2-1", event: "end", data: { run_id: runId, status: "success" } },
    ]);
    const rest = await (await openSse(`${url}/stream`, { headers: { "last-event-id": "1-3" } })).rest();
    expect(rest).toEqual(parts.slice(1));
    expect(await forgetful.client.runs.join(threadId, runId)).toEqual(values);
  });

  it("is told by its error", async () => {
    const { url, threadId, runId } = await finished("failing", { input: 1 });
    const error = { error: "RangeError", message: "out of range" };
    const parts = await (await openSse(`${url}/stream`)).rest();
    expect(parts.slice(1)).toEqual([
      { id: undefined, event: "values", data: { input: 1, steps: ["first"] } },
      { id: "2-1", event: "error", data: error },
    ]);
    expect(await forgetful.client.runs.join(threadId, runId)).toEqual({ __error__: error });
  });

  it("is told by what it waits for", async () => {
    const { url, threadId, runId } = await finished("approval", { question: "Really?" });
    const parts = await (await openSse(`${url}/stream`)).rest();
    expect(names(parts)).toEqual(["metadata", "values", "end"]);
    expect(await forgetful.client.runs.join(threadId, runId)).toMatchObject({
      question: "Really?",
      __interrupt__: [{ id: expect.any(String), value: { question: "Really?" } }],
    });
  });

  it("ends later than its events, also when it never ran", async () => {
    const { thread_id: threadId } = await forgetful.client.threads.create();
    const run = await forgetful.client.runs.create(threadId, "custom", { input: { input: 1 }, afterSeconds: 600 });
    const url = `${forgetful.url}/threads/${threadId}/runs/${run.run_id}/stream`;
    const stream = await openSse(url);
    await forgetful.client.runs.cancel(threadId, run.run_id);
    expect((await stream.rest()).map(({ id }) => id)).toEqual(["1-1", "1-3"]);
    const end = { id: "2-1", event: "end", data: { run_id: run.run_id, status: "interrupted" } };
    await vi.waitFor(async () => {
      for (const cursor of ["1-1", "1-3"]) {
        expect(await (await openSse(url, { headers: { "last-event-id": cursor } })).rest()).toEqual([end]);
      }
    });
  });

  it("is told to a reader who came too early for it to be gone", async () => {
    const [{ thread_id: threadId }, gate] = [await forgetful.client.threads.create(), randomUUID()];
    const run = await forgetful.client.runs.create(threadId, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
    });
    await arrivedAt(gate);
    const stream = await openSse(`${forgetful.url}/threads/${threadId}/runs/${run.run_id}/stream`);
    openGate(gate);
    expect(names(await stream.rest()).at(-1)).toBe("end");
  });
});

describe("a log that is too small", () => {
  let small: TestGateway;
  beforeAll(async () => {
    const config = { stream_bridge: { max_bytes_per_run: "20kb" }, run_ledger: { retention_days: 0 } };
    small = await startTestGateway({ config });
  });
  afterAll(() => small.stop());

  it("brings a snapshot instead of what is gone, then the rest", async () => {
    const { thread_id: threadId } = await small.client.threads.create();
    const gate = randomUUID();
    const run = await small.client.runs.create(threadId, "flood", {
      input: { input: 1 },
      config: { configurable: { count: 200, size: 500, gate } },
      streamMode: ["custom", "values"],
    });
    await arrivedAt(gate);
    const url = `${small.url}/threads/${threadId}/runs/${run.run_id}/stream`;
    const witness = await openSse(url);
    await witness.until(({ event, data }) => event === "custom" && (data as { index: number }).index === 199);
    await witness.close();
    const fromStart = await openSse(url);
    const fromId = await openSse(url, { headers: { "last-event-id": "1-7" } });
    const isSnapshot = ({ event }: { readonly event: string }) => event === "values";
    const [atStart, atId] = [await fromStart.until(isSnapshot), await fromId.until(isSnapshot)]; // of the state until here
    openGate(gate);
    const [started, continued] = [
      [...atStart, ...(await fromStart.rest())],
      [...atId, ...(await fromId.rest())],
    ];
    expect(names(started).slice(0, 3)).toEqual(["metadata", "values", "custom"]);
    expect(started.slice(1)).toEqual(continued);
    expect(continued[0]).toEqual({ id: undefined, event: "values", data: { input: 1, steps: [] } });
    const indices = continued
      .filter(({ event }) => event === "custom")
      .map(({ data }) => (data as { index: number }).index);
    expect(indices.length).toBeGreaterThan(20);
    expect(indices).toEqual(Array.from({ length: indices.length }, (_, index) => 200 - indices.length + index));
    expect(names(continued).slice(-2)).toEqual(["values", "end"]);
    expect(await small.client.runs.join(threadId, run.run_id)).toEqual({ input: 1, steps: ["poured"] });
  });
});

const TOO_FAST = { meta: { leftOut: "its clock runs a hundred times as fast as Redis can answer" } };
describe.skipIf(BRIDGE === "redis")("a stream that waits", TOO_FAST, () => {
  let hurried: TestGateway;
  beforeAll(async () => {
    hurried = await startTestGateway({ clock: hurriedClock });
  });
  afterAll(() => hurried.stop());

  async function waiting() {
    const [{ thread_id: threadId }, gate] = [await hurried.client.threads.create(), randomUUID()];
    const run = await hurried.client.runs.create(threadId, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
    });
    await arrivedAt(gate);
    return { threadId, runId: run.run_id, gate, url: `${hurried.url}/threads/${threadId}/runs/${run.run_id}` };
  }

  /** The text of a stream, and when so many heartbeats were in it. */
  async function openBeats(url: string) {
    const response = await fetch(`${url}/stream`);
    const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    return {
      async see(count: number): Promise<void> {
        while ((text.match(/: heartbeat/g) ?? []).length < count) text += (await reader.read()).value;
      },
      async rest(): Promise<string> {
        for (let step = await reader.read(); !step.done; step = await reader.read()) text += step.value;
        return text;
      },
    };
  }

  it("beats on one line, before and after the first event (W3)", async () => {
    const { url, gate } = await waiting();
    const beats = await openBeats(url);
    await beats.see(3);
    openGate(gate);
    const text = await beats.rest();
    expect(text).toMatch(/\n\n: heartbeat\n: heartbeat\n: heartbeat\n/);
    expect(text).not.toMatch(/: heartbeat\n\n/);
    expect(text.trimEnd().split("\n").at(-2)).toBe("event: end");
  });

  it("brings the SDK no phantom event", async () => {
    const { threadId, runId, gate, url } = await waiting();
    const beats = await openBeats(url);
    const parts: { id?: string | undefined; event: string; data: unknown }[] = [];
    for await (const part of hurried.client.runs.joinStream(threadId, runId)) {
      parts.push(part);
      if (parts.length === 1) void beats.see(4).then(() => openGate(gate));
    }
    expect(parts.filter(({ event, data }) => event === "" || data === null)).toEqual([]);
    expect(new Set(parts.map(({ id }) => id)).size).toBe(parts.length);
    expect(parts.at(-1)?.event).toBe("end");
  });

  it("keeps a JSON answer alive with newlines", async () => {
    const { url, gate } = await waiting();
    const response = await fetch(`${url}/join`);
    expect(response.headers.get("content-type")).toBe("application/json");
    const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (text.length < 3) text += (await reader.read()).value;
    expect(text).toMatch(/^\n{3,}$/); // a read may bring several
    openGate(gate);
    for (let step = await reader.read(); !step.done; step = await reader.read()) text += step.value;
    expect(JSON.parse(text)).toEqual({ input: 1, steps: ["before", "gate", "after"] });
  });

  it("is cut, not ended, for a reader who takes nothing, and nobody else notices", async () => {
    // 30 s are 6 then: time for who does read, on a machine that has much else to do.
    const calmer = await startTestGateway({ clock: hurriedBy(5) });
    onTestFinished(() => calmer.stop());
    const [{ thread_id: threadId }, gate] = [await calmer.client.threads.create(), randomUUID()];
    const run = await calmer.client.runs.create(threadId, "flood", {
      input: { input: 1 },
      config: { configurable: { count: 4_000, size: 5_000, gate } },
      streamMode: ["custom"],
    });
    const { hostname, port } = new URL(calmer.url);
    const socket = connect(Number(port), hostname);
    onTestFinished(() => void socket.destroy());
    socket.pause();
    socket.write(`GET /threads/${threadId}/runs/${run.run_id}/stream HTTP/1.1\r\nhost: x\r\n\r\n`);
    const attentive = await openSse(`${calmer.url}/threads/${threadId}/runs/${run.run_id}/stream`);
    const everything = attentive.rest();
    await arrivedAt(gate);
    openGate(gate);
    const parts = await everything;
    expect(names(parts).filter((name) => name === "custom")).toHaveLength(4_000);
    // The run is over; the reader who took nothing for 30 s is cut off in the middle of an event.
    const received = new Promise<string>((resolve) => {
      let text = "";
      socket.on("data", (data) => {
        text += data.toString("latin1");
      });
      socket.on("error", () => {}); // a reset is a cut, too
      socket.on("close", () => resolve(text));
    });
    await expect.poll(() => calmer.metric("heddle_open_streams")).toBe(0);
    socket.resume();
    expect(await received).not.toMatch(/\r\n0\r\n\r\n$/);
  });
});
