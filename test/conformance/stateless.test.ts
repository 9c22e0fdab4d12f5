/** Runs without a thread of the client's (S1–S6): they answer like others and leave nothing behind. */
import { randomUUID } from "node:crypto";
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startFaultProxy } from "../support/fault-proxy.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { names, openSse, type SsePart } from "../support/sse-client.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway.stop());

const human = (content: string) => ({ messages: [{ type: "human", content }] });
const threads = async () => (await client.threads.search({ limit: 1_000 })).length;

/** Right after the run's end was said: first the thread is gone for everybody, then its rows are removed. */
async function expectGone(threadId: string, runId: string): Promise<void> {
  const status = async (path: string) => (await send("GET", path)).status;
  await expect.poll(() => status(`/threads/${threadId}`)).toBe(404);
  await expect.poll(() => status(`/threads/${threadId}/runs/${runId}`)).toBe(404);
}

async function startGated(payload: Record<string, unknown> = {}) {
  const gate = randomUUID();
  const run = await client.runs.create(null, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    ...payload,
  });
  await arrivedAt(gate);
  return { threadId: run.thread_id, runId: run.run_id, gate };
}

describe("create", () => {
  it("makes a thread that goes with the run", async () => {
    const { threadId, runId, gate } = await startGated();
    expect((await client.threads.get(threadId)).status).toBe("busy");
    expect(await client.runs.get(threadId, runId)).toMatchObject({ status: "running", kwargs: { temporary: true } });
    openGate(gate);
    expect((await send("GET", `/runs/${runId}/join`)).body).toEqual({ input: 1, steps: ["before", "gate", "after"] });
    await expectGone(threadId, runId);
  });

  it("says where the run is, without a thread", async () => {
    const response = await fetch(`${gateway.url}/runs`, {
      method: "POST",
      body: JSON.stringify({ assistant_id: "echo", input: human("hi") }),
    });
    const { run_id: runId } = (await response.json()) as { run_id: string };
    expect(response.headers.get("content-location")).toBe(`/runs/${runId}`);
    expect(response.headers.get("location")).toBe(`/runs/${runId}/stream`);
    await send("GET", `/runs/${runId}/join`);
  });

  it.each(["keep", "continue"])("keeps the thread on %s", async (onCompletion) => {
    const run = await client.runs.create(null, "custom", { input: {}, onCompletion: onCompletion as "continue" });
    await client.runs.join(run.thread_id, run.run_id);
    expect(await client.threads.get(run.thread_id)).toMatchObject({ status: "idle", values: { steps: ["worked"] } });
    expect(await client.runs.wait(run.thread_id, "custom", { input: {} })).toMatchObject({
      steps: ["worked", "worked"],
    });
  });

  it.each([{ checkpoint_id: randomUUID() }, { checkpoint: { checkpoint_id: randomUUID() } }])(
    "has nowhere else to start from: %j",
    async (where) => {
      const answer = await send("POST", "/runs/wait", { assistant_id: "custom", input: {}, ...where });
      expect(answer).toMatchObject({ status: 422, body: { detail: expect.stringContaining("checkpoint") } });
    },
  );
});

describe("wait", () => {
  it.each([
    ["values", "custom", { input: 1 }, { input: 1, steps: ["worked"] }],
    ["an error", "failing", {}, { __error__: { error: "RangeError", message: "out of range" } }],
    ["a question", "approval", { question: "?" }, { question: "?", __interrupt__: [{ value: { question: "?" } }] }],
  ])("answers with %s, and leaves nothing", async (_title, graph, input, expected) => {
    const before = await threads();
    expect(await client.runs.wait(null, graph, { input, raiseError: false })).toMatchObject(expected);
    await expect.poll(threads).toBe(before);
  });
});

describe("stream", () => {
  it("shows everything, and can be replayed although the thread is gone", async () => {
    const stream = await openSse(`${gateway.url}/runs/stream`, {
      json: { assistant_id: "custom", input: { input: 1 } },
    });
    const path = stream.headers.get("content-location") ?? "";
    expect(path).toMatch(/^\/runs\/[0-9a-f-]{36}$/);
    expect(stream.headers.get("location")).toBe(`${path}/stream`);
    const parts = await stream.rest();
    expect(names(parts)).toEqual(["metadata", "values", "values", "end"]);
    const { thread_id: threadId, run_id: runId } = (parts[0] as SsePart).data as { thread_id: string; run_id: string };
    await expectGone(threadId, runId);
    const replayed = [];
    for await (const part of client.runs.joinStream(null, runId)) replayed.push(part);
    expect(replayed).toEqual(parts.filter((_, index) => index !== 1)); // the state that a later one replaces
    const rest = await openSse(`${gateway.url}/threads/${threadId}/runs/${runId}/stream`, {
      headers: { "last-event-id": parts[1]?.id ?? "" },
    });
    expect(await rest.rest()).toEqual(parts.slice(2));
    expect((await send("GET", `/runs/${runId}/join`)).body).toEqual({ input: 1, steps: ["worked"] });
    expect((await send("GET", `/threads/${randomUUID()}/runs/${runId}/stream`)).status).toBe(404);
    expect((await send("GET", `/runs/${randomUUID()}/stream`)).status).toBe(404);
  });

  it("survives a cut connection, also when the run ends meanwhile", async () => {
    const proxy = await startFaultProxy(gateway.url, {
      kind: "cutting",
      afterBytes: (n) => (n === 0 ? 1_500 : undefined),
    });
    onTestFinished(() => proxy.close());
    const behind = new Client({ apiUrl: proxy.url, callerOptions: { maxRetries: 0 } });
    const words = Array.from({ length: 30 }, (_, index) => `word${index}`).join(" ");
    const seen: (string | undefined)[] = [];
    let text = "";
    const stream = behind.runs.stream(null, "talk", { input: human(words), streamMode: ["messages-tuple"] });
    for await (const { id, event, data } of stream as AsyncIterable<SsePart>) {
      seen.push(id);
      if (event === "messages") text += (data as { content: string }[])[0]?.content;
    }
    expect(proxy.connections).toBe(2);
    expect(text).toBe(words);
    expect(new Set(seen).size).toBe(seen.length);
  });

  it("cancels its run when the client leaves and said so", async () => {
    const before = await threads();
    const [gate, abort] = [randomUUID(), new AbortController()];
    const stream = client.runs.stream(null, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
      onDisconnect: "cancel",
      signal: abort.signal,
    });
    const leave = async () => {
      for await (const { event } of stream) if (event === "values") abort.abort();
    };
    await leave().catch(() => {});
    await expect.poll(threads).toBe(before);
  });
});

describe("a temporary thread goes", () => {
  it.each([
    ["running", "interrupt"],
    ["running", "rollback"],
    ["pending", "interrupt"],
    ["pending", "rollback"],
  ] as const)("with its %s run that is stopped with %s", async (state, action) => {
    const { threadId, runId } =
      state === "running"
        ? await startGated()
        : await client.runs
            .create(null, "custom", { input: {}, afterSeconds: 3_600 })
            .then(({ thread_id, run_id }) => ({ threadId: thread_id, runId: run_id }));
    const stream = await openSse(`${gateway.url}/runs/${runId}/stream`);
    const joined = send("GET", `/runs/${runId}/join`);
    await client.runs.cancel(threadId, runId, true, action);
    const status = action === "rollback" ? "rollback" : "interrupted";
    expect((await stream.rest()).at(-1)).toMatchObject({ event: "end", data: { status } });
    expect((await joined).body).toEqual(
      state === "running" && action === "interrupt" ? { input: 1, steps: ["before"] } : {},
    );
    await expectGone(threadId, runId);
  });

  it("with its run when a client deletes it", async () => {
    const { threadId, runId } = await startGated();
    const stream = await openSse(`${gateway.url}/runs/${runId}/stream`);
    await client.threads.delete(threadId);
    expect((await stream.rest()).at(-1)).toMatchObject({ event: "end", data: { status: "interrupted" } });
    await expectGone(threadId, runId);
  });
});

describe("createBatch", () => {
  it("creates every run, in order, with the options in the SDK's spelling", async () => {
    const runs = await client.runs.createBatch([
      { assistantId: "custom", input: { input: 1 }, onCompletion: "continue", streamMode: ["updates"] },
      {
        assistantId: "counter",
        input: {},
        onCompletion: "continue",
        config: { configurable: { who: "batch" } },
        metadata: { n: 2 },
      },
      { assistantId: "breakpoints", input: {}, onCompletion: "continue", interruptBefore: ["two"] },
    ] as never);
    expect(runs).toMatchObject([
      { kwargs: { stream_mode: ["updates"], temporary: false } },
      { metadata: { n: 2 } },
      { kwargs: { interrupt_before: ["two"] } },
    ]);
    const values = await Promise.all(runs.map(({ thread_id, run_id }) => client.runs.join(thread_id, run_id)));
    expect(values).toMatchObject([
      { steps: ["worked"] },
      { seen: { configurable: { who: "batch" } } },
      { steps: ["one"] },
    ]);
  });

  it("creates none when one of them cannot be", async () => {
    const before = await threads();
    const bad = [
      [
        { assistant_id: "custom", input: {} },
        { assistant_id: "nobody", input: {} },
      ],
      [
        { assistant_id: "custom", input: {} },
        { assistant_id: "custom", webhook: "https://10.0.0.1/" },
      ],
      [
        { assistant_id: "custom", input: {} },
        { assistant_id: "custom", checkpoint_id: "c1" },
      ],
    ];
    expect(
      (await Promise.all(bad.map((body) => send("POST", "/runs/batch", body)))).map(({ status }) => status),
    ).toEqual([404, 422, 422]);
    expect(await threads()).toBe(before);
    expect((await send("POST", "/runs/batch", [])).status).toBe(422);
  });

  it("repeated with the same Idempotency-Key creates nothing more", async () => {
    const body = ["a", "b"].map((content) => ({ assistant_id: "echo", input: human(content), on_completion: "keep" }));
    const headers = { "idempotency-key": randomUUID() };
    const [first, second] = [
      await send("POST", "/runs/batch", body, headers),
      await send("POST", "/runs/batch", body, headers),
    ];
    const ids = (answer: { body: unknown }) => (answer.body as { run_id: string }[]).map(({ run_id }) => run_id);
    expect(ids(second)).toEqual(ids(first));
  });
});
