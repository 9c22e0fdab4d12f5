/** What clients should not send: refused with a 4xx that says why, and nothing changes. What is only odd survives. */
import { HumanMessage } from "@langchain/core/messages";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { createRawClient, type RawClient } from "../support/raw-http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;
let raw: RawClient;
let before: unknown;

const THREAD = "held";
const ASSISTANT = "held-assistant";

beforeAll(async () => {
  gateway = await startTestGateway({ config: { server: { body_limit: "64kb" } } });
  client = gateway.client;
  send = sender(gateway.url);
  raw = createRawClient(gateway.url);
  await client.threads.create({ threadId: THREAD, metadata: { a: 1 } });
  await client.runs.wait(THREAD, "breakpoints", { input: {} });
  await client.assistants.create({ assistantId: ASSISTANT, graphId: "echo", metadata: { a: 1 } });
  before = await everything();
});
afterAll(async () => {
  raw?.close();
  await gateway?.stop();
});

async function everything(): Promise<unknown> {
  return {
    threads: await client.threads.search({ limit: 1_000 }),
    history: await client.threads.getHistory(THREAD, { limit: 1_000 }),
    assistants: await client.assistants.search({ limit: 1_000 }),
    versions: await client.assistants.getVersions(ASSISTANT),
  };
}

const CHUNKED = "transfer-encoding: chunked";
const nested = (depth: number, open: string, close: string): string => `${open.repeat(depth)}1${close.repeat(depth)}`;
const MANY_KEYS = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`key ${n}`, n]));
const MANY_TAGS = Array.from({ length: 129 }, (_, n) => `tag ${n}`);
const withoutKey = ({ "key 0": _, ...rest }: typeof MANY_KEYS) => rest;
const runOf = (input: unknown) => ({ assistant_id: "breakpoints", input });
const SERIALIZED_SET = { lc: 2, type: "constructor", id: ["Set"], method: null, args: [[]] };
const SERIALIZED_MODEL = { lc: 1, type: "constructor", id: ["langchain", "llms", "openai", "OpenAI"], kwargs: {} };
const MISSING_CHECKPOINT = "1ef00000-0000-6000-8000-000000000000";

describe("refused without an effect", () => {
  afterEach(async () => expect(await everything()).toEqual(before));

  const threads = "/threads";
  const thread = `/threads/${THREAD}`;
  const assistant = `/assistants/${ASSISTANT}`;

  it.each<[string, string, string, unknown, number, string]>([
    // ---- bodies
    ["malformed JSON", "POST", threads, "{", 400, "not JSON"],
    ["a lone comma", "POST", threads, "{},", 400, "not JSON"],
    ["a list as a body", "POST", threads, [], 422, "body"],
    ["a text as a body", "POST", threads, '"text"', 422, "body"],
    ["null as a body", "POST", threads, "null", 422, "body"],
    ["__proto__", "POST", threads, '{"metadata":{"__proto__":{"polluted":1}}}', 422, "__proto__"],
    ["nested __proto__", "PATCH", thread, '{"metadata":{"a":[{"__proto__":1}]}}', 422, "__proto__"],
    ["a way to the prototype", "POST", threads, '{"metadata":{"constructor":{"prototype":{"a":1}}}}', 422, "prototype"],
    ["NUL in a key", "POST", threads, { metadata: { "a\u0000": 1 } }, 422, "NUL"],
    ["half a surrogate pair in a key", "PATCH", thread, { metadata: { a: [{ "\ud800": 1 }] } }, 422, "surrogate"],
    ["a record of LangGraph's serializer", "POST", `${thread}/runs`, runOf({ a: SERIALIZED_SET }), 422, "lc 2"],
    ["a class that is no message", "POST", `${thread}/runs/wait`, runOf({ a: SERIALIZED_MODEL }), 422, "lc 1"],
    ["a secret of the environment", "POST", "/runs/wait", runOf({ lc: 1, type: "secret", id: ["PATH"] }), 422, "lc 1"],
    [
      "a command disguised as input",
      "POST",
      `${thread}/runs`,
      runOf({ lg_name: "Command", resume: 1 }),
      422,
      "Command",
    ],
    ["commands disguised as input", "POST", `${thread}/runs`, runOf([{ lg_name: "Command" }]), 422, "Command"],
    ["a command disguised as values", "POST", `${thread}/state`, { values: { lg_name: "Command" } }, 422, "Command"],
    ["lists 5,000 deep", "POST", threads, `{"metadata":{"a":${nested(5_000, "[", "]")}}}`, 422, "deep"],
    ["objects 5,000 deep", "POST", threads, `{"metadata":${nested(5_000, '{"a":', "}")}}`, 422, "deep"],
    ["a number that overflows", "POST", threads, '{"metadata":{"n":1e400}}', 422, "number"],
    ["a number that overflows below", "POST", threads, '{"metadata":{"n":[-1e400]}}', 422, "number"],
    ["a body over the limit", "POST", threads, { metadata: { text: "x".repeat(70_000) } }, 413, "65536"],

    // ---- threads
    ["metadata that is a list", "POST", threads, { metadata: [] }, 422, "metadata"],
    ["metadata that is a text", "POST", threads, { metadata: "a" }, 422, "metadata"],
    ["an id out of grammar", "POST", threads, { thread_id: "a/b" }, 422, "thread_id"],
    ["an empty id", "POST", threads, { thread_id: "" }, 422, "thread_id"],
    ["an id of 129 letters", "POST", threads, { thread_id: "x".repeat(129) }, 422, "thread_id"],
    ["an id that is a step of a path", "POST", threads, { thread_id: "." }, 422, "thread_id"],
    ["an id that is a step back", "POST", "/assistants", { graph_id: "echo", assistant_id: ".." }, 422, "assistant_id"],
    ["an id that is a number", "POST", threads, { thread_id: 7 }, 422, "thread_id"],
    ["an id with NUL", "POST", threads, { thread_id: "a\u0000" }, 422, "thread_id"],
    ["an unknown if_exists", "POST", threads, { if_exists: "replace" }, 422, "if_exists"],
    ["a ttl of nothing", "POST", threads, { ttl: 0 }, 422, "ttl"],
    ["a ttl that is a text", "POST", threads, { ttl: "5" }, 422, "ttl"],
    ["an unknown ttl strategy", "POST", threads, { ttl: { ttl: 5, strategy: "hide" } }, 422, "ttl"],
    ["supersteps that are no list", "POST", threads, { supersteps: {} }, 422, "supersteps"],
    ["a path id out of grammar", "GET", "/threads/a%2Fb", undefined, 422, "thread_id"],
    ["a path id with NUL", "GET", "/threads/a%00b", undefined, 422, "thread_id"],
    ["a path id of bytes that are no text", "GET", "/threads/%E0%A4", undefined, 422, "thread_id"],
    ["an unknown include", "GET", `${thread}?include=ttl,secrets`, undefined, 422, "include"],
    ["a patch of a list", "PATCH", thread, { metadata: [1] }, 422, "metadata"],
    ["a patch with a bad ttl", "PATCH", thread, { metadata: { a: 2 }, ttl: -1 }, 422, "ttl"],
    ["a limit of 0", "POST", "/threads/search", { limit: 0 }, 422, "limit"],
    ["a limit over 1,000", "POST", "/threads/search", { limit: 1_001 }, 422, "limit"],
    ["a broken limit", "POST", "/threads/search", { limit: 1.5 }, 422, "limit"],
    ["a limit that is a text", "POST", "/threads/search", { limit: "10" }, 422, "limit"],
    ["an offset before the start", "POST", "/threads/search", { offset: -1 }, 422, "offset"],
    ["an offset beyond reason", "POST", "/threads/search", { offset: 1e15 }, 422, "offset"],
    ["an unknown sort column", "POST", "/threads/search", { sort_by: "metadata; drop" }, 422, "sort_by"],
    ["an unknown sort order", "POST", "/threads/search", { sort_order: "up" }, 422, "sort_order"],
    ["an unknown member to select", "POST", "/threads/search", { select: ["secrets"] }, 422, "select"],
    ["an unknown status", "POST", "/threads/search", { status: "lost" }, 422, "status"],
    ["an unknown status to count", "POST", "/threads/count", { status: "lost" }, 422, "status"],
    ["a filter that is a list", "POST", "/threads/search", { metadata: [] }, 422, "metadata"],
    ["values that are a text", "POST", "/threads/search", { values: "x" }, 422, "values"],
    ["ids that are a text", "POST", "/threads/search", { ids: THREAD }, 422, "ids"],
    ["an id to find out of grammar", "POST", "/threads/search", { ids: [THREAD, "a b"] }, 422, "ids"],
    [
      "a path to extract that leads elsewhere",
      "POST",
      "/threads/search",
      { extract: { a: "secrets.x" } },
      422,
      "extract",
    ],
    ["a path to extract that cannot be read", "POST", "/threads/search", { extract: { a: "values[" } }, 422, "extract"],
    [
      "more than ten paths to extract",
      "POST",
      "/threads/search",
      { extract: Object.fromEntries(Array.from({ length: 11 }, (_, n) => [`a${n}`, "values.x"])) },
      422,
      "extract",
    ],
    ["a prune of everything", "POST", "/threads/prune", {}, 422, "thread_ids"],
    [
      "a prune by an unknown strategy",
      "POST",
      "/threads/prune",
      { thread_ids: [THREAD], strategy: "x" },
      422,
      "strategy",
    ],
    ["a prune with an id out of grammar", "POST", "/threads/prune", { thread_ids: [THREAD, "/"] }, 422, "thread_ids"],

    ["metadata of more keys than a graph can carry", "POST", threads, { metadata: MANY_KEYS }, 422, "100 keys"],
    [
      "metadata that grows beyond them",
      "PATCH",
      thread,
      { metadata: withoutKey(MANY_KEYS) },
      422,
      "keys, of at most 100",
    ],
    ["the same of an assistant", "PATCH", assistant, { metadata: withoutKey(MANY_KEYS) }, 422, "keys, of at most 100"],
    ["the same of a run", "POST", `${thread}/runs`, { ...runOf({}), metadata: MANY_KEYS }, 422, "100 keys"],
    ["of its config", "POST", "/runs/wait", { ...runOf({}), config: { metadata: MANY_KEYS } }, 422, "100 keys"],
    ["more tags than that", "POST", `${thread}/runs`, { ...runOf({}), config: { tags: MANY_TAGS } }, 422, "tags"],

    // ---- state
    ["a broken boolean", "GET", `${thread}/state?subgraphs=maybe`, undefined, 422, "subgraphs"],
    ["part of a state", "GET", `${thread}/state?select=values.messages`, undefined, 422, "select"],
    ["a checkpoint id out of grammar", "GET", `${thread}/state/a%20b`, undefined, 422, "checkpoint_id"],
    ["no checkpoint", "POST", `${thread}/state/checkpoint`, {}, 422, "checkpoint"],
    ["a checkpoint that is a text", "POST", `${thread}/state/checkpoint`, { checkpoint: "x" }, 422, "checkpoint"],
    [
      "a boolean that is a text",
      "POST",
      `${thread}/state/checkpoint`,
      { checkpoint: {}, subgraphs: "true" },
      422,
      "subgraphs",
    ],
    [
      "a missing checkpoint",
      "POST",
      `${thread}/state`,
      { values: {}, checkpoint_id: MISSING_CHECKPOINT },
      404,
      "checkpoint",
    ],
    ["an update by a node that is a number", "POST", `${thread}/state`, { values: {}, as_node: 1 }, 422, "as_node"],
    ["an unknown command", "POST", `${thread}/state`, { command: { goto: 5 } }, 422, "goto"],
    ["a history of nothing", "POST", `${thread}/history`, { limit: 0 }, 422, "limit"],
    ["a history of too much", "GET", `${thread}/history?limit=1001`, undefined, 422, "limit"],
    ["a history of many", "GET", `${thread}/history?limit=many`, undefined, 422, "limit"],
    ["a history before nothing", "POST", `${thread}/history`, { before: {} }, 422, "before"],
    ["a history before an id out of grammar", "GET", `${thread}/history?before=a%20b`, undefined, 422, "before"],
    ["a history by a list", "POST", `${thread}/history`, { metadata: [] }, 422, "metadata"],

    // ---- assistants
    ["an assistant of no graph", "POST", "/assistants", {}, 422, "graph_id"],
    ["an assistant of an unknown graph", "POST", "/assistants", { graph_id: "nope" }, 404, "nope"],
    ["a graph id without end", "POST", "/assistants", { graph_id: "x".repeat(600) }, 422, "graph_id"],
    ["a graph id with NUL", "POST", "/assistants", { graph_id: "a\u0000" }, 422, "graph_id"],
    [
      "an assistant id out of grammar",
      "POST",
      "/assistants",
      { graph_id: "echo", assistant_id: "a/b" },
      422,
      "assistant_id",
    ],
    ["a context that is a list", "POST", "/assistants", { graph_id: "echo", context: [1] }, 422, "context"],
    ["a context that is a number", "PATCH", assistant, { context: 5 }, 422, "context"],
    ["a config that is a text", "PATCH", assistant, { config: "x" }, 422, "config"],
    ["a configurable that is a list", "PATCH", assistant, { config: { configurable: [] } }, 422, "configurable"],
    ["a recursion limit of nothing", "PATCH", assistant, { config: { recursion_limit: 0 } }, 422, "recursion_limit"],
    ["no concurrency", "PATCH", assistant, { config: { max_concurrency: 0 } }, 422, "max_concurrency"],
    ["a limit in the other spelling", "PATCH", assistant, { config: { recursionLimit: "9" } }, 422, "recursionLimit"],
    ["tags without end", "PATCH", assistant, { config: { tags: Array(1_001).fill("a") } }, 422, "tags"],
    ["an empty name", "PATCH", assistant, { name: "" }, 422, "name"],
    ["a name without end", "PATCH", assistant, { name: "x".repeat(600) }, 422, "name"],
    ["a name that is a number", "PATCH", assistant, { name: 5 }, 422, "name"],
    ["an unknown sort column", "POST", "/assistants/search", { sort_by: "version" }, 422, "sort_by"],
    ["an unknown member to select", "POST", "/assistants/search", { select: ["owner"] }, 422, "select"],
    ["a broken boolean", "DELETE", `${assistant}?delete_threads=perhaps`, undefined, 422, "delete_threads"],
    ["a version that is a text", "POST", `${assistant}/latest`, { version: "1" }, 422, "version"],
    ["no version", "POST", `${assistant}/latest`, {}, 422, "version"],
  ])("%s (%s %s)", async (_, method, path, body, status, named) => {
    for (const base of ["", "/api"]) {
      const answer = await send(method, `${base}${path}`, body);
      expect(answer).toMatchObject({ status, body: { detail: expect.stringContaining(named) } });
    }
  });

  it("a chunked body over the limit, and the connection serves on", async () => {
    for (const chunks of [3, 20]) {
      const body = new ReadableStream({
        start(controller) {
          for (let sent = 0; sent < chunks; sent++) controller.enqueue(new Uint8Array(32_768).fill(0x20));
          controller.close();
        },
      });
      const init = { method: "POST", body, duplex: "half" } as RequestInit; // the types of Node's fetch lack duplex
      const response = await fetch(`${gateway.url}/threads`, init);
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: "too_large" });
      expect(await send("GET", `/threads/${THREAD}`)).toMatchObject({ status: 200 });
    }
  });

  it.each<[string, number, readonly string[], string]>([
    ["no HTTP", 400, ["hello"], ""],
    ["a method that is none", 400, ["get /ok HTTP/1.1", "host: a"], ""],
    ["no host", 400, ["GET /ok HTTP/1.1"], ""],
    ["a host that is none", 400, ["GET /ok HTTP/1.1", "host: a b"], ""],
    ["a URL that is none", 400, ["GET http://[::1/ok HTTP/1.1", "host: a"], ""],
    ["a path with a backslash", 400, ["GET \\\\threads HTTP/1.1", "host: a"], ""],
    ["the server itself", 404, ["OPTIONS * HTTP/1.1", "host: a"], ""],
    ["a path with two slashes", 404, ["GET //threads/held HTTP/1.1", "host: a"], ""],
    ["a path that leaves the API", 404, ["GET /threads/../../etc/passwd HTTP/1.1", "host: a"], ""],
    ["a path that leaves the API in escapes", 422, ["GET /threads/..%2f..%2fetc HTTP/1.1", "host: a"], ""],
    ["headers without end", 431, ["GET /ok HTTP/1.1", "host: a", `x-a: ${"a".repeat(20_000)}`], ""],
    ["a line break in a header", 400, ["GET /ok HTTP/1.1", "host: a", "x-a: b\rc"], ""],
    ["two lengths", 400, ["POST /threads HTTP/1.1", "host: a", "content-length: 2", "content-length: 3"], "{}"],
    ["a length and chunks", 400, ["POST /threads HTTP/1.1", "host: a", "content-length: 2", CHUNKED], "{}"],
    ["a negative length", 400, ["POST /threads HTTP/1.1", "host: a", "content-length: -1"], "{}"],
    ["chunks that are none", 400, ["POST /threads HTTP/1.1", "host: a", CHUNKED], "zz\r\n"],
    ["an expectation that nobody meets", 417, ["GET /ok HTTP/1.1", "host: a", "expect: wonders"], ""],
    ["another method in a header", 404, ["POST /ok HTTP/1.1", "host: a", "x-http-method-override: GET"], ""],
    [
      "a compressed body",
      415,
      ["POST /threads HTTP/1.1", "host: a", "content-encoding: gzip", "content-length: 2"],
      "{}",
    ],
  ])("on the wire: %s", async (_, status, head, body) => {
    const bytes = Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`, "latin1");
    const answer = await raw.send({ bytes, isHead: false, isAlone: true, deadlineMs: 5_000 });
    expect(answer).toMatchObject({ status, complete: true });
    expect(JSON.parse(answer?.body ?? "")).toMatchObject({ detail: expect.any(String), code: expect.any(String) });
    expect(answer?.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("an unknown route, and a known one by another method", async () => {
    for (const [method, path] of [
      ["GET", "/nope"],
      ["PUT", "/threads"],
      ["DELETE", "/threads/held/state"],
      ["GET", "/threads/held/copy"],
      ["GET", "/api/api/ok"],
    ] as const) {
      expect(await send(method, path)).toMatchObject({
        status: 404,
        body: { detail: expect.stringContaining(`${method} ${path}`), code: "not_found" },
      });
    }
  });
});

describe("odd, and kept as it is", () => {
  const odd = {
    nul: "a\u0000b",
    lone: "x\udfffy",
    "": { "": [""] },
    "quote\"'\\%_": "❤️\ud83d\ude00\u2028",
    constructor: { prototype: 1 },
    toString: "text",
    numbers: [0, -0.5, 1e308, 5e-324, 9007199254740991],
    nothing: null,
    deep: JSON.parse(nested(150, "[", "]")) as unknown,
  };

  it("metadata of a thread: written, read, found by every member, changed", async () => {
    const { thread_id: threadId } = await client.threads.create({ metadata: odd });
    expect((await client.threads.get(threadId)).metadata).toEqual(odd);
    for (const [key, value] of Object.entries(odd)) {
      const found = await client.threads.search({ metadata: { [key]: value } });
      expect(found.map(({ thread_id: id }) => id)).toEqual([threadId]);
    }
    await client.threads.update(threadId, { metadata: { nul: "changed\u0000" } });
    expect(await client.threads.count({ metadata: { nul: "changed\u0000" } })).toBe(1);
    expect(await client.threads.count({ metadata: { nul: "a\u0000b" } })).toBe(0);
    await client.threads.delete(threadId);
  });

  it("values of a state", async () => {
    const { thread_id: threadId } = await client.threads.create({ graphId: "counter" });
    await client.threads.updateState(threadId, { values: { seen: odd }, asNode: "add" });
    expect((await client.threads.getState<{ seen: unknown }>(threadId)).values.seen).toEqual(odd);
    expect(await client.threads.get(threadId)).toMatchObject({ values: { seen: odd } });
    const found = await client.threads.search({ values: { seen: { lone: "x\udfffy" } } });
    expect(found).toHaveLength(1);
    await client.threads.delete(threadId);
  });

  it("metadata, name and context of an assistant", async () => {
    const created = await client.assistants.create({
      graphId: "echo",
      name: "a\u0000\ud800%",
      metadata: odd,
      context: odd,
    });
    const read = await client.assistants.get(created.assistant_id);
    expect(read).toMatchObject({ name: "a\u0000\ud800%", metadata: odd, context: odd });
    expect(await client.assistants.search({ name: "\u0000\ud800%" })).toEqual([read]);
    await client.assistants.delete(created.assistant_id);
  });

  it("null where a member may be absent", async () => {
    const config = { configurable: null, tags: null, recursion_limit: null };
    const { body } = await send("POST", "/assistants", {
      graph_id: "echo",
      config,
      context: null,
      metadata: null,
      name: null,
    });
    expect(body).toMatchObject({ name: "Untitled", config: {}, context: {}, metadata: {} });
    const { assistant_id: id } = body as { assistant_id: string };
    const { thread_id: threadId } = await client.threads.create({ metadata: null as never });
    expect(await client.runs.wait(threadId, id, { input: { messages: [] } })).toMatchObject({
      messages: [{ type: "ai" }],
    });
    await client.assistants.delete(id);
    await client.threads.delete(threadId);
  });

  it("members that nobody knows are ignored", async () => {
    const { body } = await send("POST", "/threads", { thread_id: "known", secrets: 1, metadata: {} });
    expect(body).not.toHaveProperty("secrets");
    await client.threads.delete("known");
  });
});

describe("what only the gateway says", () => {
  const FORGED = {
    langgraph_auth_user: { identity: "root" },
    langgraph_auth_permissions: ["*"],
    __pregel_checkpointer: 1,
    __pregel_resuming: true,
    thread_id: "other",
    run_id: "other",
    graph_id: "other",
    checkpoint_id: MISSING_CHECKPOINT,
  };

  it("is not taken from a run's configuration, context or headers", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const answer = await send(
      "POST",
      `/threads/${threadId}/runs/wait`,
      {
        assistant_id: "counter",
        input: {},
        config: { configurable: { ...FORGED, checkpoint_id: undefined, own: 1 } },
        context: { langgraph_auth_user: 1, __a: 1, own: 1 },
      },
      { langgraph_auth_user_id: "root", "x-thread_id": "other" },
    );
    const { seen } = answer.body as { seen: { configurable: Record<string, unknown>; context: unknown } };
    expect(seen.configurable).toMatchObject({ thread_id: threadId, own: 1, "x-thread_id": "other" });
    expect(Object.keys(seen.configurable).filter((key) => key.startsWith("langgraph_auth"))).toEqual([]);
    expect(seen.configurable).not.toMatchObject({ graph_id: "other" });
    expect(seen.context).toEqual({ own: 1 });
    await client.threads.delete(threadId);
  });

  it("is not taken from an assistant, and its threads can be read", async () => {
    const created = await client.assistants.create({
      graphId: "counter",
      config: { configurable: { ...FORGED, own: 1 } },
      metadata: { created_by: "system", a: 1 },
    });
    expect(created).toMatchObject({ config: { configurable: { own: 1 } }, metadata: { a: 1 } });
    expect(Object.keys(created.config.configurable ?? {})).toEqual(["own"]);
    expect(created.metadata).toEqual({ a: 1 });
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, created.assistant_id, { input: {} });
    expect((await client.threads.getState<{ count: number }>(threadId)).values.count).toBe(1);
    expect(await client.threads.getHistory(threadId)).toHaveLength(3);
    await client.threads.updateState(threadId, { values: { count: 1 }, asNode: "add" });
    expect((await client.threads.getState<{ count: number }>(threadId)).values.count).toBe(2);
    const patched = await client.assistants.update(created.assistant_id, {
      graphId: "counter",
      context: { __pregel_read: 1, own: 2 },
      metadata: { created_by: "system" },
    });
    expect(patched).toMatchObject({ context: { own: 2 }, config: { configurable: { own: 2 } }, metadata: { a: 1 } });
    expect(Object.keys(patched.config.configurable ?? {})).toEqual(["own"]);
    await client.assistants.delete(created.assistant_id);
    await client.threads.delete(threadId);
  });

  it("is not taken from a graph's own assistant", async () => {
    const patched = await client.assistants.update("echo", { graphId: "echo", metadata: { created_by: "me" } });
    expect(patched.metadata).toEqual({ created_by: "system" });
  });
});

describe("serialized messages", () => {
  it("are messages for the graph, and nothing else ever", async () => {
    const message = new HumanMessage({ content: "hi", id: "m1", additional_kwargs: { a: 1 } });
    const wire = JSON.parse(JSON.stringify(message)) as object;
    expect(wire).toMatchObject({ lc: 1 });
    const { thread_id: threadId } = await client.threads.create();
    const state = await client.runs.wait(threadId, "echo", { input: { messages: [message] } });
    const human = { type: "human", content: "hi", id: "m1", additional_kwargs: { a: 1 } };
    expect(state).toMatchObject({ messages: [human, { type: "ai", content: "echo: hi" }] });
    await client.threads.updateState(threadId, { values: { messages: [wire] }, asNode: "echo" });
    expect((await client.threads.getState(threadId)).values).toMatchObject({ messages: [human, { type: "ai" }] });
    await client.threads.delete(threadId);
  });

  it("stay data where the graph expects none", async () => {
    const wire = JSON.parse(JSON.stringify(new HumanMessage("hi"))) as Record<string, unknown>;
    const { thread_id: threadId } = await client.threads.create({ metadata: { wire } });
    await client.runs.wait(threadId, "breakpoints", { input: { input: wire } });
    expect((await client.threads.getState<{ input: unknown }>(threadId)).values.input).toEqual(wire);
    expect((await client.threads.get(threadId)).metadata).toMatchObject({ wire });
    await client.threads.delete(threadId);
  });
});
