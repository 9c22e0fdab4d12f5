/** What a run request can ask for besides its input: configuration, durability, idempotency, factories. */
import { randomUUID } from "node:crypto";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { NEEDS_ONE_MEMORY, ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { openSse } from "../support/sse-client.js";

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

/** What the graph `counter` saw of its config and context. */
interface Seen {
  readonly count: number;
  readonly seen: { readonly configurable: Record<string, unknown>; readonly context: unknown };
}

const count = async (url: string, body: object = {}, headers: Record<string, string> = {}): Promise<Seen> =>
  (await send("POST", url, { assistant_id: "counter", input: {}, ...body }, headers)).body as Seen;

describe("configurable", () => {
  it("of a run reaches the graph, and nobody else after it", async () => {
    const threadId = await newThread();
    const url = `/threads/${threadId}/runs/wait`;
    const first = await count(url, { config: { configurable: { secret: "s", user_id: "u" } } });
    expect(first.seen.configurable).toMatchObject({ secret: "s", user_id: "u", thread_id: threadId });
    const second = await count(url);
    expect(second.count).toBe(2);
    expect(second.seen.configurable).not.toHaveProperty("secret");
    expect((await client.threads.get(threadId)).config).toEqual({});
    expect((await count(`/threads/${await newThread()}/runs/wait`)).seen.configurable).not.toHaveProperty("secret");
  });

  it("holds the ids of the run, which nobody can set", async () => {
    const threadId = await newThread();
    const forged = { thread_id: "t", run_id: "r", graph_id: "g", assistant_id: "a", __pregel_resuming: true };
    const run = await client.runs.create(threadId, "counter", { input: {}, config: { configurable: forged } });
    const { seen } = (await client.runs.join(threadId, run.run_id)) as unknown as Seen;
    expect(seen.configurable).toMatchObject({
      thread_id: threadId,
      run_id: run.run_id,
      graph_id: "counter",
      assistant_id: run.assistant_id,
    });
  });

  it("holds the request headers that the configuration allows", async () => {
    const headers = {
      "x-tenant": "acme",
      "X-Trace": "1",
      "x-api-key": "secret",
      "x-tenant-id": "secret",
      "x-service-key": "secret",
      authorization: "Bearer secret",
      cookie: "a=secret",
      "user-agent": "tests",
      "accept-language": "de",
    };
    const { seen } = await count(`/threads/${await newThread()}/runs/wait`, {}, headers);
    expect(seen.configurable).toMatchObject({ "x-tenant": "acme", "x-trace": "1", "user-agent": "tests" });
    expect(seen.configurable).not.toHaveProperty("accept-language");
    expect(JSON.stringify(seen)).not.toContain("secret");
  });

  it("holds other headers where the configuration says so", async () => {
    const picky = await startTestGateway({
      config: {
        server: { configurable_headers: { includes: ["x-*-id", "Accept-Language"], excludes: ["x-secret-*"] } },
      },
    });
    try {
      const answer = await sender(picky.url)(
        "POST",
        "/runs/wait",
        { assistant_id: "counter", input: {} },
        { "x-a-id": "1", "x-id": "2", "x-secret-id": "3", "x-a-idx": "4", "accept-language": "de" },
      );
      const { configurable } = (answer.body as Seen).seen;
      expect(configurable).toMatchObject({ "x-a-id": "1", "accept-language": "de" });
      for (const name of ["x-id", "x-secret-id", "x-a-idx", "user-agent"])
        expect(configurable).not.toHaveProperty(name);
    } finally {
      await picky.stop();
    }
  });
});

describe("config", () => {
  it("knows LangChain's options, and hands nothing else to the graph", async () => {
    const threadId = await newThread();
    const answer = await send("POST", `/threads/${threadId}/runs/wait`, {
      assistant_id: "breakpoints",
      input: { input: 1 },
      config: {
        streamMode: "updates",
        interruptBefore: ["two"],
        callbacks: ["x"],
        signal: 1,
        store: {},
        recursionLimit: 50,
      },
    });
    expect(answer.body).toEqual({ input: 1, steps: ["one", "two", "three"] });
  });

  it.each([{ recursion_limit: 2 }, { recursionLimit: 2 }])("limits the steps: %j", async (config) => {
    const answer = await send("POST", `/threads/${await newThread()}/runs/wait`, {
      assistant_id: "breakpoints",
      input: { input: 1 },
      config,
    });
    expect(answer.body).toMatchObject({ __error__: { error: "GraphRecursionError" } });
  });

  it("takes the assistant's where the run says nothing", async () => {
    const assistant = await client.assistants.create({ graphId: "breakpoints", config: { recursion_limit: 2 } });
    const run = (config: object) =>
      client.runs.wait(null, assistant.assistant_id, { input: { input: 1 }, config, raiseError: false });
    expect(await run({})).toMatchObject({ __error__: { error: "GraphRecursionError" } });
    expect(await run({ recursion_limit: 10 })).toMatchObject({ steps: ["one", "two", "three"] });
  });

  it("tags what LangChain reports", async () => {
    const stream = await openSse(`${gateway.url}/runs/stream`, {
      json: { assistant_id: "talk", input: human("a"), config: { tags: ["mine"] }, stream_mode: "messages-tuple" },
    });
    const tuples = (await stream.rest()).filter(({ event }) => event === "messages");
    expect(tuples[0]?.data).toMatchObject([{ content: "a" }, { tags: ["mine"] }]);
  });
});

describe("context", () => {
  it("reaches the graph, the run's over the assistant's", async () => {
    const assistant = await client.assistants.create({ graphId: "counter", context: { tone: "formal", length: 1 } });
    const run = (context?: object) =>
      client.runs.wait(null, assistant.assistant_id, { input: {}, ...(context ? { context } : {}) });
    expect(await run()).toMatchObject({ seen: { context: { tone: "formal", length: 1 } } });
    expect(await run({ tone: "casual" })).toMatchObject({ seen: { context: { tone: "casual", length: 1 } } });
  });
});

describe("a factory", () => {
  it("is called for each run, with the run's configuration", async () => {
    const threadId = await newThread();
    for (const flavour of ["sweet", "sour"]) {
      await client.runs.wait(threadId, "factory", { input: {}, config: { configurable: { flavour } } });
    }
    expect((await client.threads.getState(threadId)).values).toMatchObject({ steps: ["sweet", "sour"] });
  });

  it("that throws fails its run, not the gateway", async () => {
    const threadId = await newThread();
    const config = { configurable: { fail: true } };
    expect(await client.runs.wait(threadId, "slowFactory", { input: {}, config, raiseError: false })).toEqual({
      __error__: { error: "RangeError", message: "the factory failed" },
    });
    expect((await client.threads.get(threadId)).status).toBe("error");
    expect(await client.runs.wait(threadId, "slowFactory", { input: { input: 1 } })).toMatchObject({
      steps: ["before", "gate", "after"],
    });
  });
});

describe("durability", () => {
  const steps = async (threadId: string) =>
    (await client.threads.getHistory(threadId, { limit: 50 })).map(
      ({ metadata }) => (metadata as { step: number }).step,
    );

  it.each([
    [{ durability: "sync" }, [3, 2, 1, 0, -1]],
    [{ durability: "async" }, [3, 2, 1, 0, -1]],
    [{ durability: "exit" }, [3]],
    [{ checkpoint_during: true }, [3, 2, 1, 0, -1]],
    [{ checkpoint_during: false }, [3]],
    [{ checkpoint_during: false, durability: "sync" }, [3, 2, 1, 0, -1]],
    [{}, [3, 2, 1, 0, -1]],
  ])("%j", async (option, expected) => {
    const threadId = await newThread();
    const body = { assistant_id: "breakpoints", input: { input: 1 }, ...option };
    const answer = await send("POST", `/threads/${threadId}/runs/wait`, body);
    expect(answer.body).toEqual({ input: 1, steps: ["one", "two", "three"] });
    expect(await steps(threadId)).toEqual(expected);
    expect((await client.threads.get(threadId)).values).toEqual(answer.body);
  });

  it.each(["sync", "async", "exit"])(
    "%s keeps what it can of a run that is stopped, and the thread says so",
    async (durability) => {
      const [threadId, gate] = [await newThread(), randomUUID()];
      const run = await client.runs.create(threadId, "gated", {
        input: { input: 1 },
        config: { configurable: { gate } },
        durability: durability as "sync",
      });
      await arrivedAt(gate);
      await client.runs.cancel(threadId, run.run_id, true);
      const [thread, state] = [await client.threads.get(threadId), await client.threads.getState(threadId)];
      expect(thread.values ?? {}).toEqual(state.values);
      expect(thread.status).toBe(state.next.length > 0 ? "interrupted" : "idle");
      if (durability !== "exit") expect(state.values).toEqual({ input: 1, steps: ["before"] });
    },
  );

  it.each(["sync", "async", "exit"])("%s keeps a question", async (durability) => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" }, durability: durability as "sync" });
    expect((await client.threads.get(threadId)).status).toBe("interrupted");
    expect(await client.runs.wait(threadId, "approval", { command: { resume: "yes" } })).toMatchObject({
      answers: ["yes"],
    });
  });
});

describe("a graph with a checkpointer of its own", () => {
  it.skipIf(ON_CLUSTER)("keeps its state there, and the thread mirrors it", NEEDS_ONE_MEMORY, async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "ownSaver", { input: {} });
    expect(await client.runs.wait(threadId, "ownSaver", { input: {} })).toMatchObject({ steps: ["one", "one"] });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", values: { steps: ["one", "one"] } });
    expect((await client.threads.getState(threadId)).values).toMatchObject({ steps: ["one", "one"] });
  });
});

describe("Idempotency-Key", () => {
  const post = (path: string, key: string, body: object = {}) =>
    send("POST", path, { assistant_id: "counter", input: {}, ...body }, { "idempotency-key": key });

  it("attaches a repeat to the same run, however it asks", async () => {
    const [threadId, key] = [await newThread(), randomUUID()];
    const first = await post(`/threads/${threadId}/runs`, key);
    const runId = (first.body as { run_id: string }).run_id;
    const again = await Promise.all([
      post(`/threads/${threadId}/runs`, key),
      post(`/threads/${threadId}/runs/wait`, key),
      post(`/threads/${threadId}/runs/stream`, key),
    ]);
    const path = `/threads/${threadId}/runs/${runId}`;
    for (const { status, headers } of again) expect([status, headers.get("content-location")]).toEqual([200, path]);
    expect(again[1]?.body).toMatchObject({ count: 1 });
    expect(String(again[2]?.body)).toMatch(/^id: 1-1\nevent: metadata\n[\s\S]*event: end\n/);
    expect(await client.runs.list(threadId)).toHaveLength(1);
    expect((await client.threads.getState(threadId)).values).toMatchObject({ count: 1 });
  });

  it("admits one of many that come at once", async () => {
    const [threadId, key] = [await newThread(), randomUUID()];
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(`/threads/${threadId}/runs`, key)));
    const [runId = "", ...others] = new Set(answers.map(({ body }) => (body as { run_id: string }).run_id));
    expect(others).toEqual([]);
    await client.runs.join(threadId, runId);
    expect((await client.threads.getState(threadId)).values).toMatchObject({ count: 1 });
  });

  it("refuses another request under the same key", async () => {
    const [threadId, key] = [await newThread(), randomUUID()];
    await post(`/threads/${threadId}/runs/wait`, key);
    for (const [path, body] of [
      [`/threads/${threadId}/runs`, { input: { count: 5 } }],
      [`/threads/${await newThread()}/runs`, {}],
      ["/runs", {}],
    ] as const) {
      expect(await post(path, key, body)).toMatchObject({
        status: 409,
        body: { detail: expect.stringContaining("Idempotency-Key") },
      });
    }
    expect(await client.runs.list(threadId)).toHaveLength(1);
  });

  it("is free again when the run was refused", async () => {
    const [threadId, key, gate] = [await newThread(), randomUUID(), randomUUID()];
    const config = { configurable: { gate } };
    const running = await client.runs.create(threadId, "gated", { input: { input: 1 }, config });
    await arrivedAt(gate);
    expect((await post(`/threads/${threadId}/runs`, key, { multitask_strategy: "reject" })).status).toBe(409);
    openGate(gate);
    await client.runs.join(threadId, running.run_id);
    expect((await post(`/threads/${threadId}/runs/wait`, key, { multitask_strategy: "reject" })).status).toBe(200);
  });

  it("must not be longer than a header should be", async () => {
    expect((await post("/runs/wait", "k".repeat(256))).status).toBe(400);
    expect((await post("/runs/wait", "k".repeat(255))).status).toBe(200);
  });
});
