/** Assistants and their versions through the unmodified SDK client (A1–A6, A11, A12). */
import type { Assistant, Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { startSlowRun } from "../support/slow-run.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** uuid5 of "echo", as every server of this API derives it. */
const ECHO = "046b5dc7-2108-582c-9c6c-31d556d138f0";

describe("the assistant of a graph", () => {
  it("is found under its derived id and under the graph's id", async () => {
    const assistant = await client.assistants.get("echo");
    expect(assistant).toEqual({
      assistant_id: ECHO,
      graph_id: "echo",
      name: "echo",
      description: null,
      version: 1,
      config: {},
      context: {},
      metadata: { created_by: "system" },
      created_at: expect.stringMatching(ISO),
      updated_at: expect.stringMatching(ISO),
    });
    expect(await client.assistants.get(ECHO)).toEqual(assistant);
    expect((await send("GET", "/api/assistants/echo")).body).toEqual(assistant);
    expect(await client.assistants.search({ metadata: { created_by: "system" }, graphId: "echo" })).toEqual([
      assistant,
    ]);
  });

  it("cannot be deleted, nor moved to another graph", async () => {
    const before = await client.assistants.get("chat");
    for (const [method, body] of [
      ["DELETE", undefined],
      ["PATCH", { graph_id: "echo" }],
    ] as const) {
      for (const id of ["chat", before.assistant_id]) {
        expect(await send(method, `/assistants/${id}`, body)).toMatchObject({
          status: 422,
          body: { code: "validation" },
        });
      }
    }
    expect(await client.assistants.get("chat")).toEqual(before);
  });

  it("cannot be hidden by another that takes the graph's id", async () => {
    await expect(client.assistants.create({ graphId: "chat", assistantId: "echo" })).rejects.toMatchObject({
      status: 409,
    });
    const existing = await client.assistants.create({ graphId: "chat", assistantId: "echo", ifExists: "do_nothing" });
    expect(existing).toMatchObject({ assistant_id: ECHO, graph_id: "echo" });
  });
});

describe("client.assistants.create", () => {
  it("answers with version 1 and defaults", async () => {
    const created = await client.assistants.create({ graphId: "echo" });
    expect(created).toEqual({
      assistant_id: expect.stringMatching(UUID),
      graph_id: "echo",
      name: "Untitled",
      description: null,
      version: 1,
      config: {},
      context: {},
      metadata: {},
      created_at: expect.stringMatching(ISO),
      updated_at: expect.stringMatching(ISO),
    });
    expect(await client.assistants.get(created.assistant_id)).toEqual(created);
  });

  it("keeps what it was given", async () => {
    const assistantId = crypto.randomUUID();
    const given = {
      graphId: "counter",
      assistantId,
      name: "Zählwerk \u0000 \ud83d\ude00",
      description: "counts",
      metadata: { team: "blue" },
      config: { tags: ["a"], recursion_limit: 7 },
    };
    expect(await client.assistants.create(given)).toMatchObject({
      assistant_id: assistantId,
      graph_id: "counter",
      name: given.name,
      description: "counts",
      metadata: { team: "blue" },
      config: { tags: ["a"], recursion_limit: 7 },
    });
  });

  it("refuses an id that is taken, or returns it unchanged with do_nothing", async () => {
    const created = await client.assistants.create({ graphId: "echo", name: "first" });
    const { assistant_id: assistantId } = created;
    await expect(client.assistants.create({ graphId: "echo", assistantId })).rejects.toMatchObject({ status: 409 });
    expect(await client.assistants.create({ graphId: "chat", assistantId, ifExists: "do_nothing", name: "x" })).toEqual(
      created,
    );
  });

  it("refuses an unknown graph", async () => {
    expect(await send("POST", "/assistants", { graph_id: "nope" })).toMatchObject({
      status: 404,
      body: { detail: 'graph "nope" not found', code: "not_found" },
    });
  });

  it("shows context and configurable as one", async () => {
    const a = await client.assistants.create({ graphId: "echo", context: { a: 1 } });
    expect(a).toMatchObject({ context: { a: 1 }, config: { configurable: { a: 1 } } });
    const b = await client.assistants.create({ graphId: "echo", config: { tags: ["t"], configurable: { b: 1 } } });
    expect(b).toMatchObject({ context: { b: 1 }, config: { tags: ["t"], configurable: { b: 1 } } });
    const both = { graph_id: "echo", config: { configurable: { a: 1 } }, context: { a: 2 } };
    expect(await send("POST", "/assistants", both)).toMatchObject({ status: 400, body: { code: "bad_request" } });
    const same = { graph_id: "echo", config: { configurable: { a: 1 } }, context: { a: 1 } };
    expect(await send("POST", "/assistants", same)).toMatchObject({ status: 200 });
  });

  it("configures the runs that name it", async () => {
    const { assistant_id: assistantId } = await client.assistants.create({
      graphId: "counter",
      context: { tone: "dry" },
    });
    const { thread_id: threadId } = await client.threads.create();
    const values = await client.runs.wait(threadId, assistantId, { input: {} });
    expect(values).toMatchObject({ seen: { configurable: { tone: "dry" }, context: { tone: "dry" } } });
    expect(await client.threads.get(threadId)).toMatchObject({ metadata: { assistant_id: assistantId } });
  });
});

describe("client.assistants.update", () => {
  it("makes a new version of what changed, and keeps the rest", async () => {
    const created = await client.assistants.create({
      graphId: "echo",
      name: "one",
      description: "d",
      metadata: { a: 1, deep: { x: 1 } },
      context: { tone: "dry" },
      config: { recursion_limit: 7 },
    });
    const { assistant_id: id } = created;
    const named = await client.assistants.update(id, { name: "two" });
    expect(named).toEqual({ ...created, name: "two", version: 2, updated_at: expect.stringMatching(ISO) });
    const described = await client.assistants.update(id, { metadata: { b: 2, deep: { y: 2 } } });
    expect(described).toMatchObject({ version: 3, metadata: { a: 1, b: 2, deep: { y: 2 } } });
    expect(described.metadata).toEqual({ a: 1, b: 2, deep: { y: 2 } });
    expect((await send("PATCH", `/assistants/${id}`, { description: null })).body).toMatchObject({ description: null });
    expect(await client.assistants.update(id, { graphId: "chat" })).toMatchObject({ graph_id: "chat", version: 5 });
  });

  it("keeps context and configurable in step", async () => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "echo", context: { a: 1 } });
    const update = async (payload: Parameters<Client["assistants"]["update"]>[1]) => {
      const { config, context } = await client.assistants.update(id, payload);
      return { config, context };
    };
    expect(await update({ config: { tags: ["t"] } })).toEqual({
      config: { tags: ["t"], configurable: { a: 1 } },
      context: { a: 1 },
    });
    expect(await update({ context: { b: 2 } })).toEqual({
      config: { tags: ["t"], configurable: { b: 2 } },
      context: { b: 2 },
    });
    expect(await update({ config: { configurable: { c: 3 } } })).toEqual({
      config: { configurable: { c: 3 } },
      context: { c: 3 },
    });
    expect(await update({ context: {} })).toEqual({ config: {}, context: {} });
    const both = { config: { configurable: { a: 1 } }, context: { a: 2 } };
    await expect(client.assistants.update(id, both)).rejects.toMatchObject({ status: 400 });
  });

  it("refuses what is not there", async () => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "echo" });
    await expect(client.assistants.update("missing", { name: "x" })).rejects.toMatchObject({ status: 404 });
    await expect(client.assistants.update(id, { graphId: "nope" })).rejects.toMatchObject({ status: 404 });
    expect(await client.assistants.get(id)).toMatchObject({ version: 1 });
  });
});

describe("versions", () => {
  let versioned: Assistant;
  const versionsOf = async (options?: Parameters<Client["assistants"]["getVersions"]>[1]) =>
    (await client.assistants.getVersions(versioned.assistant_id, options)).map(({ version }) => version);

  beforeAll(async () => {
    versioned = await client.assistants.create({ graphId: "echo", name: "v1", metadata: { stage: "draft" } });
    const { assistant_id: id } = versioned;
    await client.assistants.update(id, { name: "v2", metadata: { stage: "live" }, context: { a: 1 } });
    await client.assistants.update(id, { name: "v3", graphId: "chat", description: "three" });
  });

  it("are listed newest first, by page and metadata", async () => {
    const versions = await client.assistants.getVersions(versioned.assistant_id);
    expect(versions.map(({ version, name, graph_id: graphId }) => [version, name, graphId])).toEqual([
      [3, "v3", "chat"],
      [2, "v2", "echo"],
      [1, "v1", "echo"],
    ]);
    expect(versions[2]).toEqual({
      assistant_id: versioned.assistant_id,
      graph_id: "echo",
      name: "v1",
      description: null,
      version: 1,
      config: {},
      context: {},
      metadata: { stage: "draft" },
      created_at: versioned.created_at,
    });
    expect(await versionsOf({ limit: 1, offset: 1 })).toEqual([2]);
    expect(await versionsOf({ metadata: { stage: "live" } })).toEqual([3, 2]);
    expect(await versionsOf({ metadata: { stage: "none" } })).toEqual([]);
    await expect(client.assistants.getVersions("missing")).rejects.toMatchObject({ status: 404 });
  });

  it("can be made current again, whole, without becoming a new one", async () => {
    const { assistant_id: id } = versioned;
    const second = await client.assistants.setLatest(id, 2);
    expect(second).toMatchObject({
      version: 2,
      name: "v2",
      graph_id: "echo",
      description: null,
      context: { a: 1 },
      config: { configurable: { a: 1 } },
      metadata: { stage: "live" },
      created_at: versioned.created_at,
    });
    expect(await client.assistants.get(id)).toEqual(second);
    expect((await send("POST", `/assistants/${id}/latest?version=1`)).body).toMatchObject({ version: 1, name: "v1" });
    expect(await versionsOf()).toEqual([3, 2, 1]);
    expect(await client.assistants.update(id, { description: "new" })).toMatchObject({ version: 4, name: "v1" });
  });

  it("that are not there cannot", async () => {
    await expect(client.assistants.setLatest(versioned.assistant_id, 99)).rejects.toMatchObject({ status: 404 });
    await expect(client.assistants.setLatest("missing", 1)).rejects.toMatchObject({ status: 404 });
    for (const version of [0, 1.5, -1, "1", null, 1e99]) {
      expect(await send("POST", `/assistants/${versioned.assistant_id}/latest`, { version })).toMatchObject({
        status: 422,
      });
    }
  });
});

describe("client.assistants.delete", () => {
  it("deletes an assistant and keeps its threads", async () => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "counter" });
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, id, { input: {} });
    expect(await send("DELETE", `/assistants/${id}`)).toMatchObject({ status: 204, body: undefined });
    await expect(client.assistants.get(id)).rejects.toMatchObject({ status: 404 });
    await expect(client.assistants.delete(id)).rejects.toMatchObject({ status: 404 });
    await expect(client.runs.create(threadId, id, { input: {} })).rejects.toMatchObject({ status: 404 });
    expect(await client.threads.getState(threadId)).toMatchObject({ values: { count: 1 } });
  });

  it.each(["true", "True", "1"])("deletes its threads, and no others, with delete_threads=%s", async (word) => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "echo" });
    const mine = await Promise.all([1, 2, 3].map(() => client.threads.create({ metadata: { assistant_id: id } })));
    const other = await client.threads.create({ metadata: { assistant_id: "other" } });
    expect(await send("DELETE", `/api/assistants/${id}?delete_threads=${word}`)).toMatchObject({ status: 204 });
    expect(await client.threads.search({ ids: mine.map(({ thread_id: threadId }) => threadId) })).toEqual([]);
    expect(await client.threads.get(other.thread_id)).toEqual(other);
  });

  it("stops its runs in flight", async () => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "slow" });
    const { thread_id: threadId } = await client.threads.create();
    const runId = await startSlowRun(client, threadId, id);
    const other = (await client.threads.create()).thread_id;
    const otherRun = await startSlowRun(client, other);
    await client.assistants.delete(id);
    await client.runs.join(threadId, runId);
    expect(await client.runs.get(threadId, runId)).toMatchObject({ status: "interrupted" });
    expect(await client.runs.get(other, otherRun)).toMatchObject({ status: "running" });
    await client.runs.cancel(other, otherRun, true);
  });
});
