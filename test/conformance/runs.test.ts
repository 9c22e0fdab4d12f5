/** Every method of the SDK's `client.runs`, but for the streams (`streams`, `joining`) and cancels (`cancel`). */
import { randomUUID } from "node:crypto";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

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
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A run that waits at its gate, and the gate. */
async function startGated(threadId: string): Promise<{ readonly runId: string; readonly gate: string }> {
  const gate = randomUUID();
  const run = await client.runs.create(threadId, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    multitaskStrategy: "enqueue",
  });
  await arrivedAt(gate);
  return { runId: run.run_id, gate };
}

describe("create", () => {
  it("answers with the run, pending, and says where it is", async () => {
    const threadId = await newThread();
    let created: { run_id: string; thread_id?: string | undefined } | undefined;
    const run = await client.runs.create(threadId, "echo", {
      input: human("hi"),
      metadata: { kind: "test" },
      onRunCreated: (params) => {
        created = params;
      },
    });
    const [assistant] = await client.assistants.search({ graphId: "echo" });
    expect(run).toEqual({
      run_id: expect.stringMatching(UUID7),
      thread_id: threadId,
      assistant_id: assistant?.assistant_id,
      created_at: expect.stringMatching(ISO),
      updated_at: expect.stringMatching(ISO),
      status: "pending",
      metadata: { created_by: "system", kind: "test" },
      kwargs: expect.objectContaining({ input: human("hi"), stream_mode: ["values"], temporary: false }),
      multitask_strategy: "enqueue",
    });
    expect(created).toEqual({ run_id: run.run_id, thread_id: threadId });
    await client.runs.join(threadId, run.run_id);
  });

  it("names the thread's graph and assistant in its metadata", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "echo", { input: human("hi") });
    expect(await client.threads.get(threadId)).toMatchObject({
      metadata: { graph_id: "echo", assistant_id: run.assistant_id },
    });
    await client.runs.join(threadId, run.run_id);
  });

  it("takes an assistant by its id, and its configuration with it", async () => {
    const assistant = await client.assistants.create({
      graphId: "counter",
      config: { configurable: { who: "assistant", level: 1 }, tags: ["a"] },
      metadata: { team: "blue" },
    });
    const threadId = await newThread();
    const run = await client.runs.create(threadId, assistant.assistant_id, {
      input: {},
      config: { configurable: { who: "run" } },
    });
    expect(run).toMatchObject({ assistant_id: assistant.assistant_id, metadata: { team: "blue" } });
    const values = await client.runs.join(threadId, run.run_id);
    expect(values).toMatchObject({
      count: 1,
      seen: { configurable: { who: "run", level: 1, assistant_id: assistant.assistant_id, graph_id: "counter" } },
    });
  });

  it.each([
    ["an unknown assistant", "nobody"],
    ["an unknown assistant's id", randomUUID()],
  ])("refuses %s before there is a run", async (_title, assistantId) => {
    const threadId = await newThread();
    await expect(client.runs.create(threadId, assistantId, { input: {} })).rejects.toMatchObject({ status: 404 });
    expect(await client.runs.list(threadId)).toEqual([]);
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("refuses a thread that does not exist, unless it may create it", async () => {
    const threadId = randomUUID();
    await expect(client.runs.create(threadId, "echo", { input: human("hi") })).rejects.toMatchObject({ status: 404 });
    await expect(client.threads.get(threadId)).rejects.toMatchObject({ status: 404 });
    const values = await client.runs.wait(threadId, "echo", { input: human("hi"), ifNotExists: "create" });
    expect(values).toMatchObject({ messages: [{ content: "hi" }, { content: "echo: hi" }] });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", metadata: { graph_id: "echo" } });
  });

  it("gives a thread that it creates the run's metadata, and one that is there none of it", async () => {
    const threadId = randomUUID();
    const run = { input: human("hi"), metadata: { title: "first" }, ifNotExists: "create" } as const;
    await client.runs.wait(threadId, "echo", run);
    expect((await client.threads.get(threadId)).metadata).toMatchObject({ title: "first", graph_id: "echo" });
    await client.runs.wait(threadId, "echo", { ...run, metadata: { title: "second" } });
    expect((await client.threads.get(threadId)).metadata).toMatchObject({ title: "first" });
  });

  it("accepts the whole payload that the SDK can send", async () => {
    const threadId = await newThread();
    const stream = client.runs.stream(threadId, "counter", {
      input: {},
      metadata: { a: 1 },
      config: { tags: ["t"], recursion_limit: 10, configurable: { x: 1 } },
      context: { y: 2 },
      streamMode: ["values", "messages-tuple", "updates", "custom", "debug", "events", "tasks", "checkpoints", "tools"],
      streamSubgraphs: true,
      streamResumable: true,
      interruptBefore: [],
      interruptAfter: [],
      multitaskStrategy: "enqueue",
      onCompletion: "complete",
      onDisconnect: "cancel",
      afterSeconds: 0,
      ifNotExists: "create",
      durability: "sync",
      feedbackKeys: [],
    });
    const events: string[] = [];
    for await (const { event } of stream) events.push(event);
    expect(events.at(-1)).toBe("end");
  });

  it.each([
    ["feedback_keys", ["thumbs"]],
    ["langsmith_tracer", { project_name: "p" }],
    ["strict_resume", true],
  ])("refuses %s, which it does not support, by its name", async (option, value) => {
    const threadId = await newThread();
    for (const path of [`/threads/${threadId}/runs`, `/threads/${threadId}/runs/stream`, "/runs/wait"]) {
      const answer = await send("POST", path, { assistant_id: "echo", input: human("hi"), [option]: value });
      expect(answer).toMatchObject({
        status: 422,
        body: { code: "unsupported", detail: expect.stringContaining(option) },
      });
    }
    expect(await client.runs.list(threadId)).toEqual([]);
  });

  it.each([
    [{ assistant_id: 7 }, "assistant_id"],
    [{ multitask_strategy: "wait" }, "multitask_strategy"],
    [{ after_seconds: -1 }, "after_seconds"],
    [{ config: { recursion_limit: 0 } }, "recursion_limit"],
    [{ interrupt_before: "one" }, "interrupt_before"],
    [{ durability: "maybe" }, "durability"],
    [{ command: { goto: 7 } }, "goto"],
    [{ checkpoint_id: "../x" }, "checkpoint_id"],
    [{ on_disconnect: "ignore" }, "on_disconnect"],
    [{ if_not_exists: "maybe" }, "if_not_exists"],
  ])("refuses %j, naming what is wrong", async (wrong, name) => {
    const threadId = await newThread();
    const answer = await send("POST", `/threads/${threadId}/runs`, {
      assistant_id: "echo",
      input: human("hi"),
      ...wrong,
    });
    expect(answer).toMatchObject({ status: 422, body: { detail: expect.stringContaining(name) } });
    expect(await client.runs.list(threadId)).toEqual([]);
  });

  it("ignores members that it does not know, and takes null for what is absent", async () => {
    const threadId = await newThread();
    const body = {
      assistant_id: "echo",
      input: human("hi"),
      ...Object.fromEntries(
        ["command", "metadata", "config", "context", "checkpoint", "checkpoint_id", "stream_mode", "webhook"].map(
          (name) => [name, null],
        ),
      ),
      config: { tags: null, recursion_limit: null, configurable: null },
      a_later_option: true,
    };
    expect(await send("POST", `/threads/${threadId}/runs/wait`, body)).toMatchObject({
      status: 200,
      body: { messages: [{ content: "hi" }, { content: "echo: hi" }] },
    });
  });
});

describe("wait", () => {
  it("answers with the final values", async () => {
    const threadId = await newThread();
    const values = await client.runs.wait(threadId, "echo", { input: human("hi") });
    expect(values).toEqual((await client.threads.getState(threadId)).values);
  });

  it("puts the questions beside the values", async () => {
    const threadId = await newThread();
    const values = await client.runs.wait(threadId, "approval", { input: { question: "Really?" } });
    expect(values).toEqual({
      question: "Really?",
      answers: [],
      __interrupt__: [{ id: expect.stringMatching(/^[0-9a-f]{32}$/), value: { question: "Really?" } }],
    });
  });

  it("raises the run's error, unless it is told not to", async () => {
    const threadId = await newThread();
    await expect(client.runs.wait(threadId, "failing", { input: {} })).rejects.toThrow("RangeError: out of range");
    expect(await client.runs.wait(threadId, "failing", { input: {}, raiseError: false })).toEqual({
      __error__: { error: "RangeError", message: "out of range" },
    });
  });

  it.each([
    ["word", "x", { __root__: "word: x" }],
    ["nothing", "x", {}],
  ])("is an object although the state of %s is none (W12)", async (graph, input, expected) => {
    const threadId = await newThread();
    const values = await client.runs.wait(threadId, graph, { input: input as never });
    expect(values).toEqual(expected);
    const [run] = await client.runs.list(threadId);
    expect(await client.runs.join(threadId, run?.run_id ?? "")).toEqual(expected);
  });

  it("tells its run before that has ended", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const response = await fetch(`${gateway.url}/threads/${threadId}/runs/wait`, {
      method: "POST",
      body: JSON.stringify({ assistant_id: "gated", input: { input: 1 }, config: { configurable: { gate } } }),
    });
    const runId = response.headers.get("content-location")?.split("/").at(-1) ?? "";
    await arrivedAt(gate);
    expect((await client.runs.get(threadId, runId)).status).toBe("running");
    openGate(gate);
    expect(await response.json()).toMatchObject({ steps: ["before", "gate", "after"] });
  });
});

describe("join", () => {
  it("waits for a run that waits for another", async () => {
    const threadId = await newThread();
    const { gate } = await startGated(threadId);
    const second = await client.runs.create(threadId, "custom", { input: { input: 2 }, multitaskStrategy: "enqueue" });
    expect((await client.runs.get(threadId, second.run_id)).status).toBe("pending");
    const joined = client.runs.join(threadId, second.run_id);
    openGate(gate);
    expect(await joined).toMatchObject({ input: 2, steps: ["before", "gate", "after", "worked"] });
  });

  it("answers at once for a run that has ended, with its own result", async () => {
    const threadId = await newThread();
    const failed = await client.runs.create(threadId, "failing", { input: {} });
    await client.runs.join(threadId, failed.run_id);
    await client.runs.wait(threadId, "custom", { input: {} });
    expect(await client.runs.join(threadId, failed.run_id)).toEqual({
      __error__: { error: "RangeError", message: "out of range" },
    });
  });

  it("of an unknown run is 404", async () => {
    await expect(client.runs.join(await newThread(), randomUUID())).rejects.toMatchObject({ status: 404 });
  });
});

describe("list and get", () => {
  it("lists a thread's runs, newest first, page by page, by status", async () => {
    const threadId = await newThread();
    const ids: string[] = [];
    for (const graph of ["custom", "failing", "custom", "custom"]) {
      const run = await client.runs.create(threadId, graph, { input: {} });
      await client.runs.join(threadId, run.run_id);
      ids.unshift(run.run_id);
    }
    expect((await client.runs.list(threadId)).map(({ run_id }) => run_id)).toEqual(ids);
    expect((await client.runs.list(threadId, { limit: 2 })).map(({ run_id }) => run_id)).toEqual(ids.slice(0, 2));
    expect((await client.runs.list(threadId, { limit: 2, offset: 3 })).map(({ run_id }) => run_id)).toEqual(
      ids.slice(3),
    );
    const failed = await client.runs.list(threadId, { status: "error" });
    expect(failed.map(({ run_id, status }) => [run_id, status])).toEqual([[ids[2], "error"]]);
    expect(await client.runs.list(threadId, { status: "pending" })).toEqual([]);
    const page = await send("GET", `/threads/${threadId}/runs?limit=2&offset=1`);
    expect([page.headers.get("x-pagination-total"), page.headers.get("x-pagination-next")]).toEqual(["4", "3"]);
  });

  it("shows only what is selected", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "custom", { input: {} });
    await client.runs.join(threadId, run.run_id);
    expect(await client.runs.list(threadId, { select: ["run_id", "status", "kwargs"] })).toEqual([
      { run_id: run.run_id, status: "success", kwargs: (run as unknown as { kwargs: unknown }).kwargs },
    ]);
  });

  it("gets a run as it is now", async () => {
    const threadId = await newThread();
    const { runId, gate } = await startGated(threadId);
    expect((await client.runs.get(threadId, runId)).status).toBe("running");
    expect((await client.threads.get(threadId)).status).toBe("busy");
    openGate(gate);
    await client.runs.join(threadId, runId);
    expect((await client.runs.get(threadId, runId)).status).toBe("success");
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("of another thread, or of none, is 404", async () => {
    const [threadId, other] = [await newThread(), await newThread()];
    const run = await client.runs.create(threadId, "custom", { input: {} });
    await client.runs.join(threadId, run.run_id);
    await expect(client.runs.get(other, run.run_id)).rejects.toMatchObject({ status: 404 });
    await expect(client.runs.get(threadId, randomUUID())).rejects.toMatchObject({ status: 404 });
    await expect(client.runs.list(randomUUID())).rejects.toMatchObject({ status: 404 });
  });
});

describe("delete", () => {
  it("removes a run that has ended, and leaves the thread's state", async () => {
    const threadId = await newThread();
    const run = await client.runs.create(threadId, "custom", { input: {} });
    await client.runs.join(threadId, run.run_id);
    await client.runs.delete(threadId, run.run_id);
    await expect(client.runs.get(threadId, run.run_id)).rejects.toMatchObject({ status: 404 });
    await expect(client.runs.join(threadId, run.run_id)).rejects.toMatchObject({ status: 404 });
    await expect(client.runs.delete(threadId, run.run_id)).rejects.toMatchObject({ status: 404 });
    expect((await client.threads.getState(threadId)).values).toMatchObject({ steps: ["worked"] });
  });

  it("refuses a run in flight", async () => {
    const threadId = await newThread();
    const { runId, gate } = await startGated(threadId);
    await expect(client.runs.delete(threadId, runId)).rejects.toMatchObject({ status: 409 });
    openGate(gate);
    await client.runs.join(threadId, runId);
  });
});
