/** What is still true after the gateway was stopped, and after its process died (lessons §4.3, clients.md on recovery). */
import { randomUUID } from "node:crypto";
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { startFaultProxy } from "../support/fault-proxy.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { sender } from "../support/http.js";
import { names, openSse, type SsePart } from "../support/sse-client.js";

const AT_ONCE = { storage: "sqlite", config: { runs: { shutdown_grace_seconds: 0 } } } as const;

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await startTestGateway(AT_ONCE);
});
afterEach(() => gateway.stop());

async function newThread(): Promise<string> {
  return (await gateway.client.threads.create()).thread_id;
}

/** A run of `gated` that waits at its gate. */
async function startGated(payload: Record<string, unknown> = {}) {
  const [threadId, gate] = [await newThread(), randomUUID()];
  const run = await gateway.client.runs.create(threadId, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    streamMode: ["values"],
    ...payload,
  });
  await arrivedAt(gate);
  return { threadId, gate, runId: run.run_id, path: `/threads/${threadId}/runs/${run.run_id}` };
}

const DONE = { input: 1, steps: ["before", "gate", "after"] };

describe("after a restart", () => {
  it("threads, runs, states, history and questions are as they were", async () => {
    const threadId = await newThread();
    await gateway.client.runs.wait(threadId, "custom", { input: { input: 1 }, metadata: { kept: true } });
    await gateway.client.runs.wait(threadId, "failing", { input: {}, raiseError: false });
    const asking = await newThread();
    await gateway.client.runs.wait(asking, "nested", { input: { input: "ask" } });
    const picture = async () => {
      const send = sender(gateway.url);
      const [[run]] = [await gateway.client.runs.list(threadId)];
      const paths = [threadId, asking].flatMap((id) =>
        ["", "/state?subgraphs=true", "/history", "/runs"].map((path) => `/threads/${id}${path}`),
      );
      const answers = await Promise.all(
        [...paths, `/threads/${threadId}/runs/${run?.run_id}/join`].map((path) => send("GET", path)),
      );
      return answers.map(({ status, body }) => [status, body]);
    };
    const before = await picture();
    gateway = await gateway.restart();
    expect(await picture()).toEqual(before);
    expect(await gateway.client.runs.wait(asking, "nested", { command: { resume: "fine" } })).toMatchObject({
      steps: expect.arrayContaining(["outer", "inner:fine"]),
    });
    expect(await gateway.client.runs.wait(threadId, "custom", { input: { input: 2 } })).toEqual({
      input: 2,
      steps: ["worked", "first", "worked"],
    });
  });

  it("runs that waited start, in order", async () => {
    const { threadId, gate } = await startGated();
    const queued = [];
    for (const input of [1, 2, 3]) {
      const run = await gateway.client.runs.create(threadId, "counter", { input: {}, metadata: { input } });
      queued.push(run.run_id);
    }
    openGate(gate);
    gateway = await gateway.restart();
    const counts = await Promise.all(queued.map((runId) => gateway.client.runs.join(threadId, runId)));
    expect(counts).toMatchObject([{ count: 1 }, { count: 2 }, { count: 3 }]);
  });

  it("a delayed run is not forgotten", async () => {
    const threadId = await newThread();
    const run = await gateway.client.runs.create(threadId, "custom", { input: { input: 1 }, afterSeconds: 0.5 });
    gateway = await gateway.restart();
    expect(await gateway.client.runs.join(threadId, run.run_id)).toEqual({ input: 1, steps: ["worked"] });
  });
});

describe("a stop", () => {
  it("waits for what ends in time, and lets its readers see the end", async () => {
    await gateway.stop();
    gateway = await startTestGateway({ storage: "sqlite", config: { runs: { shutdown_grace_seconds: 30 } } });
    const { gate, path } = await startGated();
    const stream = await openSse(`${gateway.url}${path}/stream`);
    await stream.until(({ event }) => event === "values");
    const restarted = gateway.restart();
    openGate(gate);
    expect((await stream.rest()).at(-1)).toMatchObject({ event: "end", data: { status: "success" } });
    gateway = await restarted;
  });

  it("gives back what does not, without spending an attempt, and it goes on where it was", async () => {
    const { threadId, runId, gate, path } = await startGated();
    gateway = await gateway.restart();
    const stream = await openSse(`${gateway.url}${path}/stream`);
    openGate(gate);
    const parts = await stream.rest();
    const again = parts.findIndex(({ id }) => id === "2-1");
    expect(parts[again]).toMatchObject({ event: "metadata", data: { run_id: runId, attempt: 1 } });
    expect(parts.slice(0, again)).toMatchObject([
      { id: "1-1", event: "metadata" },
      { event: "values", data: { input: 1, steps: ["before"] } },
    ]);
    expect(parts.filter(({ event }) => event === "values").at(-1)?.data).toEqual(DONE);
    expect(await gateway.client.runs.join(threadId, runId)).toEqual(DONE);
    expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
  });

  it.each([3, 20_000])(
    "loses none of %d events that a graph said before it, for readers of the next gateway",
    async (count) => {
      const [threadId, gate] = [await newThread(), randomUUID()];
      const { run_id: runId } = await gateway.client.runs.create(threadId, "recital", {
        input: { input: 1 },
        config: { configurable: { gate, count } },
        streamMode: ["custom"],
      });
      await arrivedAt(gate);
      gateway = await gateway.restart();
      openGate(gate);
      const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/${runId}/stream`);
      const said = (await stream.rest()).filter(({ event }) => event === "custom");
      expect(said.map(({ data }) => (data as { index: number }).index)).toEqual(
        Array.from({ length: count }, (_, index) => index),
      );
      expect(await gateway.client.runs.join(threadId, runId)).toMatchObject({ steps: ["recited", "waited"] });
    },
  );

  it("breaks the streams of unfinished runs, and never ends them (W2)", async () => {
    const { path } = await startGated();
    const pending = await gateway.client.runs.create(await newThread(), "custom", { input: {}, afterSeconds: 3_600 });
    const streams = await Promise.all(
      [path, `/threads/${pending.thread_id}/runs/${pending.run_id}`].map((each) =>
        openSse(`${gateway.url}${each}/stream`),
      ),
    );
    const waiting = fetch(`${gateway.url}${path}/join`).then((response) => response.text());
    const broken = [...streams.map((stream) => stream.rest()), waiting].map((reading) =>
      reading.then(
        () => "ended",
        () => "broken",
      ),
    );
    gateway = await gateway.restart();
    expect(await Promise.all(broken)).toEqual(["broken", "broken", "broken"]);
  });

  it("cancels nobody's run by breaking its stream", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, {
      json: {
        assistant_id: "gated",
        input: { input: 1 },
        config: { configurable: { gate } },
        on_disconnect: "cancel",
      },
    });
    const runId = stream.headers.get("content-location")?.split("/").at(-1) ?? "";
    await arrivedAt(gate);
    const broken = stream.rest().catch(() => "broken");
    gateway = await gateway.restart();
    expect(await broken).toBe("broken");
    openGate(gate);
    expect(await gateway.client.runs.join(threadId, runId)).toEqual(DONE);
  });

  it("is survived by the SDK: it reconnects and sees the end", async () => {
    const proxy = await startFaultProxy(() => gateway.url);
    onTestFinished(() => proxy.close());
    const behind = new Client({ apiUrl: proxy.url, callerOptions: { maxRetries: 4 } });
    const [threadId, gate] = [await newThread(), randomUUID()];
    const parts: SsePart[] = [];
    const reading = (async () => {
      const stream = behind.runs.stream(threadId, "gated", {
        input: { input: 1 },
        config: { configurable: { gate } },
        streamMode: ["values"],
      });
      for await (const part of stream as AsyncIterable<SsePart>) parts.push(part);
    })();
    await arrivedAt(gate);
    await vi.waitFor(() => expect(parts.length).toBeGreaterThan(2));
    gateway = await gateway.restart();
    openGate(gate);
    await reading;
    expect(parts.at(-1)).toMatchObject({ event: "end", data: { status: "success" } });
    expect(parts.filter(({ event }) => event === "values").at(-1)?.data).toEqual(DONE);
    expect(names(parts).filter((name) => name === "metadata")).toHaveLength(2);
    const ids = parts.flatMap(({ id }) => id ?? []);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe("after the process died", () => {
  /** The rest of the test happens in the gateway that came after; the first one's graphs are stopped at its end. */
  async function revive(change?: Parameters<TestGateway["revive"]>[0]): Promise<TestGateway> {
    const revived = await gateway.revive(change);
    onTestFinished(() => revived.stop());
    return revived;
  }

  it("a run goes on from its last checkpoint, as another attempt", async () => {
    const { threadId, runId, gate, path } = await startGated();
    const { client, url } = await revive();
    const late = await openSse(`${url}${path}/stream`, { headers: { "last-event-id": "1-3" } });
    expect(await late.next()).toMatchObject({ id: undefined, event: "values", data: { input: 1, steps: ["before"] } });
    openGate(gate);
    const parts = await late.rest();
    expect(parts[0]).toMatchObject({ id: "2-1", event: "metadata", data: { attempt: 2 } });
    expect(await client.runs.join(threadId, runId)).toEqual(DONE);
    expect((await client.runs.get(threadId, runId)).status).toBe("success");
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", values: DONE });
  });

  it("a run of which nothing was stored starts with its input", async () => {
    const { threadId, runId, gate } = await startGated({ durability: "exit" });
    const { client } = await revive();
    openGate(gate);
    expect(await client.runs.join(threadId, runId)).toEqual(DONE);
  });

  it("a fork goes on from where it forked", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    await gateway.client.runs.wait(threadId, "deaf", { input: { input: 1 } });
    const [head, ...past] = await gateway.client.threads.getHistory(threadId);
    const fork = past.find(({ next }) => next.includes("deaf"))?.checkpoint.checkpoint_id ?? "";
    const run = await gateway.client.runs.create(threadId, "deaf", {
      input: null,
      checkpointId: fork,
      config: { configurable: { gate } },
    });
    await arrivedAt(gate); // of the two tasks of its first step one is done
    const { client } = await revive();
    openGate(gate);
    expect(await client.runs.join(threadId, run.run_id)).toMatchObject({
      steps: expect.arrayContaining(["deaf", "after"]),
    });
    const history = await client.threads.getHistory(threadId, { limit: 20 });
    expect(history[0]?.checkpoint.checkpoint_id).not.toBe(head?.checkpoint.checkpoint_id);
    const children = history.filter(({ parent_checkpoint: parent }) => parent?.checkpoint_id === fork);
    expect(children).toHaveLength(2);
  });

  it("an answer that was given is not given twice", async () => {
    const threadId = await newThread();
    await gateway.client.runs.wait(threadId, "twoApprovals", { input: {} });
    const thread = await gateway.client.threads.get(threadId);
    const asked = Object.values(thread.interrupts).flat();
    const idOf = (question: string) => asked.find(({ value }) => value === question)?.id ?? "";
    const run = await gateway.client.runs.create(threadId, "twoApprovals", {
      command: { resume: { [idOf("a1")]: "yes" } },
    });
    await gateway.client.runs.join(threadId, run.run_id);
    const { client } = await revive((database) => {
      database.prepare("UPDATE runs SET status = 'running' WHERE run_id = ?").run(run.run_id);
    });
    await vi.waitFor(async () => expect((await client.threads.get(threadId)).status).toBe("interrupted"));
    const after = Object.values((await client.threads.get(threadId)).interrupts).flat();
    expect(after.map(({ value }) => value).sort()).toEqual(["a2", "b1"]);
  });

  it("a run that died too often ends with an error, and the thread shows how far it came", async () => {
    const { threadId, runId, path } = await startGated();
    const { client, url } = await revive((database) => void database.exec("UPDATE runs SET attempt = 3"));
    const error = { error: "MaxAttemptsExceeded", message: expect.stringContaining("3 times") };
    expect(await client.runs.join(threadId, runId)).toEqual({ __error__: error });
    expect((await client.runs.get(threadId, runId)).status).toBe("error");
    expect(await client.threads.get(threadId)).toMatchObject({
      status: "error",
      error,
      values: { input: 1, steps: ["before"] },
    });
    const parts = await (await openSse(`${url}${path}/stream`)).rest();
    expect(names(parts).slice(-2)).toEqual(["metadata", "error"]); // before them, what of the first attempt was kept
    expect(await client.runs.wait(threadId, "custom", { input: { input: 2 } })).toMatchObject({ input: 2 });
  });

  it.each(["interrupt", "rollback"] as const)("a cancel that was accepted happens (%s)", async (action) => {
    const { threadId, runId, gate } = await startGated();
    const { client } = await revive((database) => {
      database.prepare("UPDATE runs SET cancel_action = ?").run(action);
    });
    if (action === "interrupt") {
      expect(await client.runs.join(threadId, runId)).toEqual({ input: 1, steps: ["before"] });
      expect((await client.runs.get(threadId, runId)).status).toBe("interrupted");
      expect(await client.threads.get(threadId)).toMatchObject({
        status: "interrupted",
        values: { steps: ["before"] },
      });
    } else {
      await vi.waitFor(async () => expect(await client.runs.list(threadId)).toEqual([]), { timeout: 15_000 });
      expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", values: null });
      expect(await client.threads.getHistory(threadId)).toEqual([]);
    }
    openGate(gate);
  });

  it("a rollback that was under way is finished before anything is served", async () => {
    const { threadId, gate } = await startGated();
    const { client } = await revive((database) => void database.exec("UPDATE runs SET rolling_back = 1"));
    expect(await client.runs.list(threadId)).toEqual([]);
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", values: null, metadata: {} });
    openGate(gate);
  });

  it("a temporary thread still goes with its run", async () => {
    const gate = randomUUID();
    const run = await gateway.client.runs.create(null, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
    });
    await arrivedAt(gate);
    const { client, url } = await revive();
    const joined = sender(url)("GET", `/runs/${run.run_id}/join`);
    openGate(gate);
    expect((await joined).body).toEqual(DONE);
    await vi.waitFor(() => expect(client.threads.get(run.thread_id)).rejects.toMatchObject({ status: 404 }));
  });

  it("no thread stays busy", async () => {
    const runs = await Promise.all([startGated(), startGated(), startGated()]);
    const { client } = await revive();
    expect((await client.threads.search({ status: "busy" })).length).toBe(3);
    for (const { gate } of runs) openGate(gate);
    await vi.waitFor(async () => expect(await client.threads.search({ status: "busy" })).toEqual([]), {
      timeout: 15_000,
    });
  });
});
