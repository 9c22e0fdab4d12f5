/** What is about the server itself: health, capabilities, metrics, log lines, request ids, what can be switched off. */
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { BRIDGE, startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { startSlowRun } from "../support/slow-run.js";

let gateway: TestGateway;
let send: Send;
const lines: Record<string, unknown>[] = [];

beforeAll(async () => {
  const log = pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  gateway = await startTestGateway({ log });
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

describe.each(["", "/api"])("under %s/", (base) => {
  it("GET /ok says that the server answers, and its database with check_db", async () => {
    for (const query of ["", "?check_db=1", "?check_db=0", "?check_db=true"]) {
      expect(await send("GET", `${base}/ok${query}`)).toMatchObject({ status: 200, body: { ok: true } });
    }
    expect(await send("GET", `${base}/ok?check_db=maybe`)).toMatchObject({ status: 422 });
    expect(await send("HEAD", `${base}/ok`)).toMatchObject({ status: 200, body: undefined });
  });

  it("HEAD answers pages as well, with the headers of what it leaves out", async () => {
    const origin = "http://localhost:3000";
    for (const path of ["/ok", "/docs", "/openapi.json", "/metrics"]) {
      const { status, headers, body } = await send("HEAD", `${base}${path}`, undefined, { origin });
      expect([path, status, body]).toEqual([path, 200, undefined]);
      expect(headers.get("access-control-allow-origin")).toBe(origin);
      expect(headers.get("content-type")).not.toBeNull();
    }
  });

  it("GET /ready says that requests should come, as the document describes", async () => {
    expect(await send("GET", `${base}/ready`)).toMatchObject({ status: 200, body: { ready: true } });
    expect(await send("HEAD", `${base}/ready`)).toMatchObject({ status: 200, body: undefined });
    const { body } = await send("GET", `${base}/openapi.json`);
    expect(body).toMatchObject({ paths: { "/ready": { get: { responses: { 200: {}, 503: {} } } } } });
  });

  it("GET /info claims no more than there is", async () => {
    const { body } = await send("GET", `${base}/info`);
    expect(body).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      langgraph_js_version: expect.stringMatching(/^1\.\d+\.\d+/),
      context: "js",
      event_streaming_protocol: "0.0.13",
      stream_bridge: { type: BRIDGE, state: "up" },
      flags: expect.objectContaining({ assistants: true, crons: true, langsmith: false, webhooks: true }),
      replica: { id: expect.stringMatching(/^[0-9a-f-]{36}$/), role: "all", runs: expect.any(Number) },
    });
    const { flags } = body as { flags: Record<string, boolean> };
    const routes: Record<string, [method: string, path: string]> = {
      assistants: ["POST", "/assistants/search"],
      crons: ["POST", "/runs/crons/search"],
      event_streaming: ["POST", "/threads/any/commands"],
    };
    for (const [flag, [method, path]] of Object.entries(routes)) {
      const { status, body: answer } = await send(method, path, {});
      const isServed = status !== 404 || !(answer as { detail: string }).detail.startsWith("no route");
      expect([flag, isServed]).toEqual([flag, flags[flag]]);
    }
  });
});

describe("GET /metrics", () => {
  async function metrics(): Promise<Map<string, number>> {
    const { status, headers, body } = await send("GET", "/metrics");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const samples = String(body)
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      samples.map((line) => {
        const match = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="[^"]*",?)*\})?) (\S+)$/.exec(line);
        if (match === null) throw new Error(`not Prometheus text: ${line}`);
        return [match[1] ?? "", Number(match[2])];
      }),
    );
  }

  it("counts requests, runs, events and streams, and measures the event loop", async () => {
    const { client } = gateway;
    const before = await metrics();
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "echo", { input: { messages: [] } });
    await client.runs.wait(threadId, "failing", { input: {}, raiseError: false });
    const runId = await startSlowRun(client, threadId);
    const { run_id: queued } = await client.runs.create(threadId, "echo", { input: { messages: [] } });
    const stop = new AbortController();
    const joined = client.runs.joinStream(threadId, runId, { signal: stop.signal });
    await joined.next();
    const during = await metrics();
    const grown = (name: string): number => (during.get(name) ?? 0) - (before.get(name) ?? 0);
    expect(grown('heddle_http_requests_total{method="POST",route="/threads",status="200"}')).toBe(1);
    expect(grown('heddle_http_requests_total{method="POST",route="/threads/{thread_id}/runs/wait",status="200"}')).toBe(
      2,
    );
    expect(grown('heddle_http_request_seconds_count{method="POST",route="/threads"}')).toBe(1);
    expect(grown('heddle_runs_finished_total{status="success"}')).toBe(1);
    expect(grown('heddle_runs_finished_total{status="error"}')).toBe(1);
    expect(grown("heddle_run_first_event_seconds_count")).toBe(3);
    expect(during.get("heddle_runs_active")).toBe(1);
    expect(during.get("heddle_runs_pending")).toBe(1);
    expect(during.get("heddle_open_streams")).toBeGreaterThanOrEqual(1);
    expect(during.has("nodejs_eventloop_lag_seconds")).toBe(true);

    stop.abort();
    await client.runs.cancel(threadId, queued, true);
    await client.runs.cancel(threadId, runId, true);
    await vi.waitFor(async () => {
      const after = await metrics();
      expect(after.get("heddle_open_streams")).toBe(0);
      expect(after.get("heddle_runs_active")).toBe(0);
      expect(after.get("heddle_runs_pending")).toBe(0);
      expect(after.get('heddle_runs_finished_total{status="interrupted"}')).toBeGreaterThanOrEqual(1);
    });
  });

  it("labels requests by route, not by path", async () => {
    await send("GET", "/threads/one");
    await send("GET", "/threads/two");
    await send("GET", "/no/such/path");
    const names = [...(await metrics()).keys()].join("\n");
    expect(names).toContain('route="/threads/{thread_id}",status="404"');
    expect(names).toContain('route="none",status="404"');
    expect(names).not.toMatch(/threads\/(one|two)|such/);
  });

  it("refuses a format that it does not write", async () => {
    expect(await send("GET", "/metrics?format=prometheus")).toMatchObject({ status: 200 });
    expect(await send("GET", "/metrics?format=json")).toMatchObject({ status: 422 });
  });
});

describe("the log", () => {
  const requestLines = (requestId: string) => lines.filter((line) => line.requestId === requestId);

  it("has one line per request with its ids, and neither payloads nor secrets", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create({ metadata: { note: "s3cret-metadata" } });
    const headers = { "x-request-id": "req-1", "x-api-key": "s3cret-key", authorization: "Bearer s3cret-token" };
    const body = { assistant_id: "echo", input: { messages: [{ role: "user", content: "s3cret-input" }] } };
    const { body: run } = await send("POST", `/api/threads/${threadId}/runs?q=s3cret-query`, body, headers);
    const { run_id: runId } = run as { run_id: string };
    await gateway.client.runs.join(threadId, runId);
    expect(requestLines("req-1")).toEqual([
      expect.objectContaining({
        msg: "request",
        method: "POST",
        path: `/api/threads/${threadId}/runs`,
        status: 200,
        ms: expect.any(Number),
        threadId,
        runId,
      }),
    ]);
    const transitions = lines.filter((line) => line.runId === runId && line.msg !== "request");
    expect(transitions.map(({ msg }) => msg)).toEqual(["run started", "run ended"]);
    expect(transitions[1]).toMatchObject({ threadId, status: "success" });
    await send("POST", "/threads", '{"metadata":"s3cret-broken"', { "x-request-id": "req-2" });
    await send("PATCH", `/threads/${threadId}`, { metadata: "s3cret-invalid" }, { "x-request-id": "req-3" });
    expect(requestLines("req-2")).toMatchObject([{ msg: "request", status: 400 }]);
    expect(requestLines("req-3")).toMatchObject([{ msg: "request", status: 422, threadId }]);
    expect(JSON.stringify(lines)).not.toContain("s3cret");
  });

  it("keeps what a graph threw out of the log's payloads, and the run's line says error", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    await gateway.client.runs.wait(threadId, "failing", { input: { input: "s3cret" }, raiseError: false });
    const ended = lines.filter((line) => line.threadId === threadId && line.msg === "run ended");
    expect(ended).toMatchObject([{ status: "error" }]);
    expect(JSON.stringify(lines)).not.toContain("s3cret");
  });
});

describe("x-request-id", () => {
  it("is the one that was sent, or a new one where that is missing or not plain", async () => {
    const idOf = async (sent?: string) => {
      const { headers } = await fetch(
        `${gateway.url}/ok`,
        sent === undefined ? {} : { headers: { "x-request-id": sent } },
      );
      return headers.get("x-request-id");
    };
    expect(await idOf("a.B:c_1-2")).toBe("a.B:c_1-2");
    const made = await Promise.all([idOf(), idOf(), idOf("with space"), idOf("x".repeat(129)), idOf("é")]);
    expect(new Set(made).size).toBe(5);
    for (const id of made) expect(id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("is on streams and on answers without a body", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const response = await fetch(`${gateway.url}/threads/${threadId}/runs/stream`, {
      method: "POST",
      headers: { "x-request-id": "stream-1" },
      body: JSON.stringify({ assistant_id: "echo", input: { messages: [] } }),
    });
    expect(response.headers.get("x-request-id")).toBe("stream-1");
    await response.text();
    const { headers } = await send("DELETE", `/threads/${threadId}`, undefined, { "x-request-id": "gone-1" });
    expect(headers.get("x-request-id")).toBe("gone-1");
  });
});
