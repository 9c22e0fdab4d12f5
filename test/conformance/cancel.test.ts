/** Stopping runs: it reaches everything, it is over when it says so, and the thread shows what is left (lessons §4.1). */
import { randomUUID } from "node:crypto";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { NEEDS_CLOCK, ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { hurriedClock } from "../support/hurried-clock.js";
import { startSlowRun } from "../support/slow-run.js";
import { names, openSse } from "../support/sse-client.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway.stop());

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

const human = (content: string) => ({ messages: [{ type: "human", content }] });

async function startGated(threadId: string, payload: Record<string, unknown> = {}) {
  const gate = randomUUID();
  const run = await client.runs.create(threadId, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    ...payload,
  });
  await arrivedAt(gate);
  return { runId: run.run_id, gate, path: `/threads/${threadId}/runs/${run.run_id}` };
}

/** Resolves when everything that the graph said before its gate is in the log: it comes to the gate sooner than its words. */
async function allSaid(path: string): Promise<void> {
  const stream = await openSse(`${gateway.url}${path}/stream`);
  await stream.until(
    ({ event, data }) => event === "values" && (data as { steps?: string[] }).steps?.at(-1) === "before",
  );
  await stream.close();
}

/** A run that waits behind another on its thread. */
async function startPending() {
  const threadId = await newThread();
  const { runId: firstId, gate } = await startGated(threadId);
  const pending = await client.runs.create(threadId, "custom", { input: { input: 2 }, multitaskStrategy: "enqueue" });
  return { threadId, firstId, gate, runId: pending.run_id, path: `/threads/${threadId}/runs/${pending.run_id}` };
}

describe("cancel", () => {
  it("answers 202 at once, and the run ends as interrupted", async () => {
    const threadId = await newThread();
    const { runId, path } = await startGated(threadId);
    const stream = await openSse(`${gateway.url}${path}/stream`);
    expect((await send("POST", `${path}/cancel`)).status).toBe(202);
    expect((await stream.rest()).at(-1)).toMatchObject({
      event: "end",
      data: { run_id: runId, status: "interrupted" },
    });
    expect(await client.threads.get(threadId)).toMatchObject({
      status: "interrupted",
      values: { input: 1, steps: ["before"] },
      interrupts: {},
      error: null,
    });
    expect((await client.threads.getState(threadId)).next).toEqual(["gate"]);
    expect(await client.runs.join(threadId, runId)).toEqual({ input: 1, steps: ["before"] });
  });

  it("answers 204 with wait, when the run has stopped", async () => {
    const threadId = await newThread();
    const { runId } = await startGated(threadId);
    await client.runs.cancel(threadId, runId, true);
    expect((await client.runs.get(threadId, runId)).status).toBe("interrupted");
    expect((await client.threads.get(threadId)).status).toBe("interrupted");
  });

  it("is a pause: the thread goes on from where it was stopped", async () => {
    const threadId = await newThread();
    const { runId } = await startGated(threadId);
    await client.runs.cancel(threadId, runId, true);
    expect(await client.runs.wait(threadId, "gated", { input: null })).toEqual({
      input: 1,
      steps: ["before", "gate", "after"],
    });
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("is the same again for a run that was cancelled", async () => {
    const threadId = await newThread();
    const { path } = await startGated(threadId);
    const answers = await Promise.all(
      ["", "?wait=1", "?wait=0&action=interrupt", "?wait=true"].map((query) => send("POST", `${path}/cancel${query}`)),
    );
    expect(answers.map(({ status }) => status)).toEqual([202, 204, 202, 204]);
    for (const [query, status] of [
      ["?wait=1", 204],
      ["?wait=0", 202],
    ] as const) {
      expect((await send("POST", `${path}/cancel${query}`)).status).toBe(status);
    }
  });

  it("comes too late for a run that has ended", async () => {
    const threadId = await newThread();
    for (const graph of ["custom", "failing"]) {
      const run = await client.runs.create(threadId, graph, { input: {} });
      await client.runs.join(threadId, run.run_id);
      const { status } = await client.runs.get(threadId, run.run_id);
      expect(await send("POST", `/threads/${threadId}/runs/${run.run_id}/cancel?wait=1`)).toMatchObject({
        status: 409,
        body: { code: "conflict", status },
      });
    }
  });

  it("of an unknown run, or of another thread's, is 404", async () => {
    const [threadId, other] = [await newThread(), await newThread()];
    const { runId, gate } = await startGated(threadId);
    await expect(client.runs.cancel(other, runId)).rejects.toMatchObject({ status: 404 });
    await expect(client.runs.cancel(threadId, randomUUID())).rejects.toMatchObject({ status: 404 });
    openGate(gate);
    expect(await client.runs.join(threadId, runId)).toMatchObject({ steps: ["before", "gate", "after"] });
  });

  it("reaches nodes of subgraphs", async () => {
    const threadId = await newThread();
    const stream = client.runs.stream(threadId, "nested", {
      input: { input: "wait" },
      streamMode: ["values"],
      streamSubgraphs: true,
      onRunCreated: ({ run_id }) => {
        runId = run_id;
      },
    });
    let runId = "";
    const seen: string[] = [];
    for await (const { event } of stream) {
      seen.push(event);
      if (event.includes("|middle")) await client.runs.cancel(threadId, runId, true);
    }
    expect(seen.at(-1)).toBe("end");
    expect(await client.threads.get(threadId)).toMatchObject({ status: "interrupted", values: { steps: ["outer"] } });
  });

  it.each([false, true])("reaches tools, in a subgraph: %s", async (nested) => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const run = await client.runs.create(threadId, "toolbox", {
      input: human("go"),
      config: { configurable: { gate, nested } },
    });
    await arrivedAt(gate);
    await client.runs.cancel(threadId, run.run_id, true);
    await arrivedAt(`${gate}:aborted`);
  });

  it("does not wait for a node that does not listen, and what that writes later is lost", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const run = await client.runs.create(threadId, "deaf", {
      input: { input: 1 },
      config: { configurable: { gate } },
      streamMode: ["custom", "values"],
    });
    const path = `/threads/${threadId}/runs/${run.run_id}`;
    await arrivedAt(gate);
    await client.runs.cancel(threadId, run.run_id, true);
    const before = await client.threads.getState(threadId);
    expect(before).toMatchObject({ values: { input: 1, steps: ["quick"] }, next: ["deaf"] });
    expect((await client.threads.get(threadId)).values).toEqual(before.values);
    openGate(gate);
    await vi.waitFor(async () => expect(await client.threads.getState(threadId)).toEqual(before));
    const later = await client.runs.wait(threadId, "custom", { input: { input: 2 } });
    expect(later).toEqual({ input: 2, steps: ["worked"] });
    const parts = await (await openSse(`${gateway.url}${path}/stream`)).rest();
    expect(parts.filter(({ event }) => event === "custom").map(({ data }) => data)).toEqual([{ deaf: "waits" }]);
    expect((await client.threads.get(threadId)).values).toEqual({ input: 2, steps: ["worked"] });
  });

  it("does not wait for a factory that does not answer", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const run = await client.runs.create(threadId, "slowFactory", { input: {}, config: { configurable: { gate } } });
    await arrivedAt(gate);
    await client.runs.cancel(threadId, run.run_id, true);
    expect((await client.runs.get(threadId, run.run_id)).status).toBe("interrupted");
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("of a pending run executes nothing of it", async () => {
    const { threadId, firstId, gate, runId, path } = await startPending();
    const stream = await openSse(`${gateway.url}${path}/stream`);
    const joined = client.runs.join(threadId, runId);
    await client.runs.cancel(threadId, runId, true);
    expect((await client.runs.get(threadId, runId)).status).toBe("interrupted");
    expect((await client.threads.get(threadId)).status).toBe("busy");
    expect(await stream.rest()).toMatchObject([
      { event: "metadata", data: { run_id: runId, attempt: 0, thread_id: threadId } },
      { event: "end", data: { run_id: runId, status: "interrupted" } },
    ]);
    expect(await joined).toEqual({});
    openGate(gate);
    expect(await client.runs.join(threadId, firstId)).toEqual({ input: 1, steps: ["before", "gate", "after"] });
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("either happens or is refused, when the run ends at the same time", async () => {
    const threadId = await newThread();
    const seen = { interrupted: 0, success: 0 };
    for (let round = 0; round < 100; round++) {
      const { runId, gate, path } = await startGated(threadId);
      if (round % 5 === 4) {
        openGate(gate);
        if (round === 99) await client.runs.join(threadId, runId);
        else await new Promise((resolve) => setTimeout(resolve, round / 10)); // anywhere in the life of the run
      }
      const cancels = Promise.all([
        send("POST", `${path}/cancel?wait=${round % 2}`),
        send("POST", `${path}/cancel?wait=1`),
      ]);
      if (round % 10 > 0) openGate(gate);
      for (let turn = 0; turn < round % 25; turn++) await new Promise((resolve) => setImmediate(resolve));
      openGate(gate);
      const [answer, again] = await cancels;
      await client.runs.join(threadId, runId);
      const { status } = await client.runs.get(threadId, runId);
      expect(status).toBe(answer.status < 300 ? "interrupted" : "success");
      if (again.status < 300) expect(status).toBe("interrupted");
      expect([202, 204, 409]).toContain(answer.status);
      const parts = await (await openSse(`${gateway.url}${path}/stream`)).rest();
      expect(parts.at(-1)?.data).toEqual({ run_id: runId, status });
      seen[status as keyof typeof seen]++;
    }
    expect(Math.min(seen.interrupted, seen.success)).toBeGreaterThan(0);
  });
});

describe("rollback", () => {
  /** Everything that a thread shows. */
  async function picture(threadId: string) {
    const [thread, state, history, runs] = await Promise.all([
      send("GET", `/threads/${threadId}?include=ttl`),
      send("GET", `/threads/${threadId}/state?subgraphs=true`),
      send("GET", `/threads/${threadId}/history?limit=100`),
      send("GET", `/threads/${threadId}/runs`),
    ]);
    return [thread, state, history, runs].map(({ body }) => body);
  }

  const PASTS = {
    "a new thread": async () => {},
    "a thread with a past": async (threadId: string) =>
      void (await client.runs.wait(threadId, "custom", { input: {} })),
    "a thread that failed": async (threadId: string) => {
      await client.runs.wait(threadId, "failing", { input: {}, raiseError: false });
    },
    "a thread that waits for an answer": async (threadId: string) => {
      await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    },
  };

  it.each(Object.entries(PASTS))("of a running run leaves %s as it was", async (_title, live) => {
    const threadId = await newThread();
    await live(threadId);
    const before = await picture(threadId);
    const { runId, path } = await startGated(threadId);
    const stream = await openSse(`${gateway.url}${path}/stream`);
    await client.runs.cancel(threadId, runId, true, "rollback");
    expect(await picture(threadId)).toEqual(before);
    await expect(client.runs.get(threadId, runId)).rejects.toMatchObject({ status: 404 });
    expect((await stream.rest()).at(-1)).toMatchObject({ event: "end", data: { run_id: runId, status: "rollback" } });
  });

  it("of a pending run leaves the thread as it was", async () => {
    const threadId = await newThread();
    const { runId: firstId, gate } = await startGated(threadId);
    const before = await picture(threadId);
    const run = await client.runs.create(threadId, "custom", { input: {}, multitaskStrategy: "enqueue" });
    await client.runs.cancel(threadId, run.run_id, true, "rollback");
    expect(await picture(threadId)).toEqual(before);
    openGate(gate);
    await client.runs.join(threadId, firstId);
  });

  it("shows those who come back how it ended, and nobody else", async () => {
    const threadId = await newThread();
    const { runId, path } = await startGated(threadId);
    await client.runs.cancel(threadId, runId, true, "rollback");
    const parts = await (await openSse(`${gateway.url}${path}/stream`, { headers: { "last-event-id": "1-1" } })).rest();
    expect(parts.at(-1)).toMatchObject({ event: "end", data: { status: "rollback" } });
    const foreign = await send("GET", `/threads/${await newThread()}/runs/${runId}/stream`);
    expect(foreign.status).toBe(404);
  });

  it("removes the checkpoints of the run's subgraphs, too", async () => {
    const threadId = await newThread();
    let runId = "";
    const stream = client.runs.stream(threadId, "nested", {
      input: { input: "wait" },
      streamMode: ["checkpoints"],
      streamSubgraphs: true,
      onRunCreated: (created) => {
        runId = created.run_id;
      },
    });
    const namespaces = new Set<string>();
    let cancelled: Promise<void> | undefined;
    for await (const { event, data } of stream) {
      const { checkpoint_ns: namespace } = (data as { checkpoint?: { checkpoint_ns?: string } }).checkpoint ?? {};
      if (namespace) namespaces.add(namespace);
      if (namespaces.size === 2 && event.startsWith("checkpoints|"))
        cancelled ??= client.runs.cancel(threadId, runId, true, "rollback");
    }
    await cancelled;
    expect(namespaces.size).toBe(2);
    for (const namespace of ["", ...namespaces]) {
      const history = await send("POST", `/threads/${threadId}/history`, { checkpoint: { checkpoint_ns: namespace } });
      expect(history.body).toEqual([]);
    }
  });
});

describe("the stop button", () => {
  it("streams what is left of the run", async () => {
    const threadId = await newThread();
    const { path, runId } = await startGated(threadId);
    await allSaid(path);
    const rest = await openSse(`${gateway.url}${path}/stream?action=interrupt`, { method: "POST" });
    expect(rest.headers.get("content-location")).toBe(path);
    expect(await rest.rest()).toMatchObject([{ event: "end", data: { run_id: runId, status: "interrupted" } }]);
  });

  it("takes the run back with rollback", async () => {
    const threadId = await newThread();
    const { path, runId } = await startGated(threadId);
    const rest = await openSse(`${gateway.url}${path}/stream?action=rollback`, { method: "POST" });
    expect((await rest.rest()).at(-1)).toMatchObject({ event: "end", data: { status: "rollback" } });
    await expect(client.runs.get(threadId, runId)).rejects.toMatchObject({ status: 404 });
  });

  it("answers 204 with wait, when the run has stopped", async () => {
    const threadId = await newThread();
    const { path, runId } = await startGated(threadId);
    expect((await send("POST", `${path}/stream?action=interrupt&wait=1`)).status).toBe(204);
    expect((await client.runs.get(threadId, runId)).status).toBe("interrupted");
  });

  it("pressed again still ends", async () => {
    const threadId = await newThread();
    const { path, runId } = await startGated(threadId);
    await allSaid(path);
    await client.runs.cancel(threadId, runId, true);
    const rest = await openSse(`${gateway.url}${path}/stream?action=interrupt`, { method: "POST" });
    expect(await rest.rest()).toMatchObject([{ event: "end", data: { status: "interrupted" } }]);
  });

  it("pressed too late is refused, and leaves no stream open", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "custom", { input: {} });
    await client.runs.join(threadId, run.run_id);
    const path = `/threads/${threadId}/runs/${run.run_id}/stream?action=interrupt`;
    expect((await send("POST", path)).status).toBe(409);
    expect(await gateway.metric("heddle_open_streams")).toBe(0);
  });

  it("without an action only streams", async () => {
    const threadId = await newThread();
    const { path, gate } = await startGated(threadId);
    const stream = await openSse(`${gateway.url}${path}/stream`, { method: "POST" });
    openGate(gate);
    expect((await stream.rest()).at(-1)).toMatchObject({ data: { status: "success" } });
  });

  it("knows no other action", async () => {
    const threadId = await newThread();
    const { path, runId, gate } = await startGated(threadId);
    expect((await send("POST", `${path}/stream?action=explode`)).status).toBe(422);
    expect((await send("POST", `${path}/cancel?action=explode`)).status).toBe(422);
    openGate(gate);
    await client.runs.join(threadId, runId);
  });
});

describe("cancelMany", () => {
  it("cancels a thread's runs by their ids", async () => {
    const { threadId, firstId, runId } = await startPending();
    const third = await client.runs.create(threadId, "custom", { input: {}, multitaskStrategy: "enqueue" });
    await client.runs.cancelMany({ threadId, runIds: [firstId, runId, randomUUID()] });
    await client.runs.join(threadId, third.run_id);
    const runs = await client.runs.list(threadId);
    expect(runs.map(({ status }) => status)).toEqual(["success", "interrupted", "interrupted"]);
  });

  it("cancels by thread and status together", async () => {
    const { threadId, firstId, gate, runId } = await startPending();
    const elsewhere = await newThread();
    const other = await startGated(elsewhere);
    await client.runs.cancelMany({ threadId, status: "pending" });
    expect((await client.runs.get(threadId, runId)).status).toBe("interrupted");
    expect((await client.runs.get(elsewhere, other.runId)).status).toBe("running");
    expect((await client.runs.get(threadId, firstId)).status).toBe("running");
    await client.runs.cancelMany({ threadId: elsewhere });
    await client.runs.join(elsewhere, other.runId);
    expect((await client.runs.get(elsewhere, other.runId)).status).toBe("interrupted");
    openGate(gate);
    await client.runs.join(threadId, firstId);
  });

  it("takes runs back with rollback", async () => {
    const { threadId, firstId, runId } = await startPending();
    await client.runs.cancelMany({ threadId, action: "rollback" });
    await vi.waitFor(async () => expect(await client.runs.list(threadId)).toEqual([]));
    expect([firstId, runId]).toHaveLength(2);
  });

  it.each([{}, { run_ids: ["a"] }, { status: "finished" }])("refuses %j", async (body) => {
    expect((await send("POST", "/runs/cancel", body)).status).toBe(422);
  });

  it("is 404 when nothing matches", async () => {
    const threadId = await newThread();
    expect((await send("POST", "/runs/cancel", { thread_id: threadId })).status).toBe(404);
    expect((await send("POST", "/runs/cancel", { thread_id: threadId, run_ids: [randomUUID()] })).status).toBe(404);
    expect((await send("POST", "/runs/cancel", { status: "pending" })).status).toBe(404);
  });

  it("cancels everything", async () => {
    const { threadId, firstId, runId } = await startPending();
    await client.runs.cancelMany({ status: "all" });
    for (const id of [firstId, runId]) {
      await client.runs.join(threadId, id);
      expect((await client.runs.get(threadId, id)).status).toBe("interrupted");
    }
  });
});

/**
 * Each of them is gone before anybody asks again: what the grace is for stands below. Among replicas there is always some,
 * for each to see whether it has readers of the run: a second after a heartbeat, and half of one for that to be written.
 */
describe("a client that leaves", () => {
  const GRACE_MS = ON_CLUSTER ? 2_500 : 0;
  let gateway: TestGateway;
  let client: Client;
  beforeAll(async () => {
    gateway = await startTestGateway({ config: { runs: { disconnect_grace_seconds: 0, heartbeat_seconds: 1 } } });
    client = gateway.client;
  });
  afterAll(() => gateway.stop());

  const hasEndedAs = (threadId: string, runId: string, status: string) =>
    expect.poll(async () => (await client.runs.get(threadId, runId)).status).toBe(status);

  const openStreams = (count: number) => expect.poll(() => gateway.metric("heddle_open_streams")).toBe(count);

  async function leave(path: string, body: Record<string, unknown>): Promise<{ threadId: string; runId: string }> {
    const [threadId, gate] = [(await client.threads.create()).thread_id, randomUUID()];
    const abort = new AbortController();
    const response = await fetch(`${gateway.url}/threads/${threadId}/runs/${path}`, {
      method: "POST",
      body: JSON.stringify({
        assistant_id: "gated",
        input: { input: 1 },
        config: { configurable: { gate } },
        ...body,
      }),
      signal: abort.signal,
    });
    await arrivedAt(gate);
    abort.abort();
    gates.set(threadId, gate);
    return { threadId, runId: response.headers.get("content-location")?.split("/").at(-1) ?? "" };
  }
  const gates = new Map<string, string>();

  it.each(["stream", "wait"])("cancels its run within a second of the grace, when it said so (%s)", async (path) => {
    const { threadId, runId } = await leave(path, { on_disconnect: "cancel" });
    const leftAt = Date.now();
    await hasEndedAs(threadId, runId, "interrupted");
    expect(Date.now() - leftAt).toBeLessThan(GRACE_MS + 1_000);
  });

  it.each(["stream", "wait"])("leaves its run alone otherwise (%s)", async (path) => {
    for (const body of [{}, { on_disconnect: "continue" }]) {
      const { threadId, runId } = await leave(path, body);
      await openStreams(0);
      openGate(gates.get(threadId) ?? "");
      expect(await client.runs.join(threadId, runId)).toMatchObject({ steps: ["before", "gate", "after"] });
    }
  });

  it("leaves alone a run that was cancelled by nobody else but another reader", async () => {
    const { threadId, runId } = await leave("stream", { on_disconnect: "continue" });
    const reader = await openSse(`${gateway.url}/threads/${threadId}/runs/${runId}/stream?cancel_on_disconnect=0`);
    await reader.until(({ event }) => event === "values");
    await reader.close();
    openGate(gates.get(threadId) ?? "");
    expect(await client.runs.join(threadId, runId)).toMatchObject({ steps: ["before", "gate", "after"] });
  });

  it("cancels the run that it waits for, when it says so and nobody else waits", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const gate = randomUUID();
    const { run_id: runId } = await client.runs.create(threadId, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
    });
    await arrivedAt(gate);
    const [staying, leaving] = [new AbortController(), new AbortController()];
    const joins = [
      client.runs.join(threadId, runId, { signal: staying.signal }),
      client.runs.join(threadId, runId, { signal: leaving.signal, cancelOnDisconnect: true }),
    ];
    await openStreams(2);
    leaving.abort();
    await joins[1]?.catch(() => {}); // it was aborted
    await openStreams(1);
    expect((await client.runs.get(threadId, runId)).status).toBe("running");
    staying.abort();
    await joins[0]?.catch(() => {}); // it was aborted
    await hasEndedAs(threadId, runId, "interrupted");
  });

  it("before it has read its answer cancels all the same", async () => {
    const [threadId, gate] = [(await client.threads.create()).thread_id, randomUUID()];
    for (let round = 0; round < 10; round++) {
      const abort = new AbortController();
      const answer = fetch(`${gateway.url}/threads/${threadId}/runs/stream`, {
        method: "POST",
        body: JSON.stringify({
          assistant_id: "gated",
          input: { input: 1 },
          config: { configurable: { gate } },
          on_disconnect: "cancel",
          multitask_strategy: "enqueue",
        }),
        signal: abort.signal,
      }).catch(() => {});
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve));
      abort.abort();
      await answer;
    }
    await expect.poll(async () => (await client.threads.get(threadId)).status).not.toBe("busy");
    await openStreams(0);
  });
});

/** On a clock on which the grace is a second, and a heartbeat goes out every tenth of it. */
describe.skipIf(ON_CLUSTER)("a client that comes back", NEEDS_CLOCK, () => {
  const GRACE_BEATS = 10;
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ clock: hurriedClock, config: { runs: { disconnect_grace_seconds: 50 } } });
  });
  afterAll(() => gateway.stop());

  /** A run that its client wants to stop when it leaves, and that the client has left. */
  async function abandon() {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const gate = randomUUID();
    const json = {
      assistant_id: "gated",
      input: { input: 1 },
      config: { configurable: { gate } },
      on_disconnect: "cancel",
    };
    const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, { json });
    await arrivedAt(gate);
    await stream.close();
    const path = stream.headers.get("content-location") ?? "";
    return { threadId, gate, path, runId: path.split("/").at(-1) ?? "" };
  }

  /** Reads until as many heartbeats have come as prove that the grace is over. */
  async function sitOut(body: ReadableStreamDefaultReader<string>, heartbeat: string): Promise<void> {
    for (let text = ""; text.split(heartbeat).length <= GRACE_BEATS + 2; ) text += (await body.read()).value ?? "";
  }

  const statusOf = async (threadId: string, runId: string) => (await gateway.client.runs.get(threadId, runId)).status;

  it.each([
    ["stream", ": heartbeat\n"],
    ["join", "\n"],
  ])("within the grace finds its run alive, and it ends as it would have (%s)", async (way, heartbeat) => {
    const { threadId, runId, gate, path } = await abandon();
    const { body } = await fetch(`${gateway.url}${path}/${way}`);
    if (body === null) throw new Error("an answer without a body");
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    await sitOut(reader, heartbeat);
    expect(await statusOf(threadId, runId)).toBe("running");
    openGate(gate);
    let rest = "";
    for (let step = await reader.read(); !step.done; step = await reader.read()) rest += step.value;
    expect(rest).toContain("after");
    expect(await statusOf(threadId, runId)).toBe("success");
  });

  it("and leaves again has its run cancelled, although the second stream did not ask for it", async () => {
    const { threadId, runId, path } = await abandon();
    const back = await openSse(`${gateway.url}${path}/stream`);
    await back.until(({ event }) => event === "values");
    await back.close();
    await vi.waitFor(async () => expect(await statusOf(threadId, runId)).toBe("interrupted"), 5_000);
  });

  it("too late finds it cancelled", async () => {
    const { threadId, runId, path } = await abandon();
    await vi.waitFor(async () => expect(await statusOf(threadId, runId)).toBe("interrupted"), 5_000);
    const parts = await (await openSse(`${gateway.url}${path}/stream`)).rest();
    expect(parts.at(-1)).toMatchObject({ event: "end", data: { run_id: runId, status: "interrupted" } });
  });
});

describe.skipIf(ON_CLUSTER)("a run that takes too long", NEEDS_CLOCK, () => {
  let hurried: TestGateway;
  beforeAll(async () => {
    hurried = await startTestGateway({ clock: hurriedClock, config: { runs: { timeout_seconds: 5 } } });
  });
  afterAll(() => hurried.stop());

  it("ends with timeout, and the thread says so", async () => {
    const { thread_id: threadId } = await hurried.client.threads.create();
    const runId = await startSlowRun(hurried.client, threadId);
    const error = { error: "TimeoutError", message: "the run exceeded its time limit" };
    expect(await hurried.client.runs.join(threadId, runId)).toEqual({ __error__: error });
    expect((await hurried.client.runs.get(threadId, runId)).status).toBe("timeout");
    expect(await hurried.client.threads.get(threadId)).toMatchObject({
      status: "error",
      error,
      values: { steps: ["first"] },
    });
    const parts = await (await openSse(`${hurried.url}/threads/${threadId}/runs/${runId}/stream`)).rest();
    expect(names(parts).at(-1)).toBe("error");
    expect(await hurried.client.runs.wait(threadId, "custom", { input: {} })).toMatchObject({
      steps: ["first", "worked"],
    });
  });
});
