/** Store items through the unmodified SDK client (K1–K5), and what the wire refuses. */
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";

const MEMORY = { graphs: { memory: "./test/support/memory-graph.ts:memory" } };

let gateway: TestGateway;
let client: Client;
/** Each test works under a root label of its own. */
let root: string;
let count = 0;

beforeAll(async () => {
  gateway = await startTestGateway({ config: MEMORY, storage: "sqlite" });
  client = gateway.client;
});
afterAll(() => gateway?.stop());
beforeEach(() => {
  root = `test-${++count}`;
});

async function send(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${gateway.url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
}

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

describe("client.store", () => {
  it("puts, gets, replaces and deletes an item", async () => {
    const namespace = [root, "prefs"];
    await client.store.putItem(namespace, "theme", { color: "dark", nested: { list: [1, null] } });
    const first = await client.store.getItem(namespace, "theme");
    expect(first).toMatchObject({ namespace, key: "theme", value: { color: "dark", nested: { list: [1, null] } } });
    expect(first?.createdAt).toMatch(ISO);
    await client.store.putItem(namespace, "theme", { color: "light" });
    const second = await client.store.getItem(namespace, "theme");
    expect(second).toMatchObject({ value: { color: "light" }, createdAt: first?.createdAt });
    await client.store.deleteItem(namespace, "theme");
    await client.store.deleteItem(namespace, "theme");
    await expect(client.store.getItem(namespace, "theme")).rejects.toMatchObject({ status: 404 });
  });

  it("searches by prefix, filter and page, the last updated first", async () => {
    for (let n = 0; n < 12; n++) {
      await client.store.putItem([root, "docs", String(n % 2)], `d${n}`, { n, kind: n % 3 === 0 ? "report" : "note" });
    }
    await client.store.putItem([`${root}-x`, "docs"], "neighbour", { n: 0, kind: "report" });
    expect((await client.store.searchItems([root])).items).toHaveLength(10);
    const reports = await client.store.searchItems([root, "docs"], {
      filter: { kind: "report", n: { $gt: 2, $lte: 9 } },
    });
    expect(reports.items.map(({ key }) => key).sort()).toEqual(["d3", "d6", "d9"]);
    expect(reports.items[0]).toMatchObject({ namespace: [root, "docs", expect.any(String)], score: null });
    expect(reports.items[0]?.updatedAt).toMatch(ISO);
    const rest = await client.store.searchItems([root], { limit: 5, offset: 10 });
    expect(rest.items).toHaveLength(2);
    expect((await client.store.searchItems([root.slice(0, 4)])).items).toEqual([]);
  });

  it("lists namespaces by prefix, suffix, depth and page", async () => {
    for (const path of ["a/v1", "a/v2", "b/v1"]) await client.store.putItem([root, ...path.split("/")], "k", {});
    const list = async (options: Parameters<typeof client.store.listNamespaces>[0]) =>
      (await client.store.listNamespaces({ prefix: [root], ...options })).namespaces.map((labels) =>
        labels.slice(1).join("/"),
      );
    expect(await list({})).toEqual(["a/v1", "a/v2", "b/v1"]);
    expect(await list({ suffix: ["v1"] })).toEqual(["a/v1", "b/v1"]);
    expect(await list({ maxDepth: 2 })).toEqual(["a", "b"]);
    expect(await list({ limit: 1, offset: 1 })).toEqual(["a/v2"]);
    expect(await list({ prefix: [root, "*", "v2"] })).toEqual(["a/v2"]);
  });

  it("takes index and ttl where they ask for nothing or for expiry", async () => {
    await client.store.putItem([root], "plain", {}, { index: null, ttl: null });
    await client.store.putItem([root], "embedless", {}, { index: false, ttl: 60 });
    expect(await client.store.getItem([root], "embedless", { refreshTtl: true })).toMatchObject({ key: "embedless" });
    expect((await client.store.searchItems([root], { refreshTtl: false })).items).toHaveLength(2);
  });

  it("takes labels and keys of any characters", async () => {
    const namespace = [root, "%", "_", "a,b", "日本", "'\"\\", "/ ?&#"];
    await client.store.putItem(namespace, "k/ü%.?", { ok: true });
    expect(await client.store.getItem(namespace, "k/ü%.?")).toMatchObject({ namespace, value: { ok: true } });
    expect((await client.store.searchItems([root, "%"])).items).toHaveLength(1);
    expect((await client.store.searchItems(["%"])).items).toEqual([]);
  });

  it("shares its items with the nodes of graphs", async () => {
    await client.store.putItem([root], "k", { from: "client" });
    const values = await client.runs.wait(null, "memory", { input: { namespace: [root], key: "k" } });
    expect(values).toMatchObject({ read: { from: "client" } });
    expect(await client.store.getItem([root], "k")).toMatchObject({ value: { from: "graph" } });
  });
});

describe("items", () => {
  it("survive a restart", async () => {
    const first = await startTestGateway({ config: MEMORY, storage: "sqlite" });
    await first.client.store.putItem(["kept"], "k", { n: 1 });
    const second = await first.restart();
    try {
      expect(await second.client.store.getItem(["kept"], "k")).toMatchObject({ value: { n: 1 } });
    } finally {
      await second.stop();
    }
  });

  it("expire as config.yaml says", async () => {
    const store = { ttl: { default_ttl: 0.001, refresh_on_read: false } }; // 60 ms
    const expiring = await startTestGateway({ config: { ...MEMORY, store } });
    try {
      await expiring.client.store.putItem(["a"], "k", {});
      await expiring.client.store.putItem(["a"], "stays", {}, { ttl: null });
      const keys = async () => (await expiring.client.store.searchItems(["a"])).items.map(({ key }) => key);
      await vi.waitFor(async () => expect(await keys()).toEqual(["stays"]));
    } finally {
      await expiring.stop();
    }
  });
});

describe("GET /store/items", () => {
  it.each<[string, (labels: string[]) => string]>([
    ["joined by periods", (labels) => `namespace=${labels.join(".")}`],
    ["repeated", (labels) => labels.map((label) => `namespace=${label}`).join("&")],
    ["as a JSON list", (labels) => `namespace=${encodeURIComponent(JSON.stringify(labels))}`],
  ])("reads a namespace %s", async (_, write) => {
    await client.store.putItem([root, "x"], "k", {});
    const answer = await send("GET", `/store/items?${write([root, "x"])}&key=k`);
    expect(answer).toMatchObject({ status: 200, body: { namespace: [root, "x"], key: "k" } });
    expect(answer.body).toEqual({
      namespace: [root, "x"],
      key: "k",
      value: {},
      created_at: expect.stringMatching(ISO),
      updated_at: expect.stringMatching(ISO),
    });
  });

  it("answers 404 for what is not there", async () => {
    expect(await send("GET", "/store/items?namespace=no.such&key=k")).toMatchObject({
      status: 404,
      body: { code: "not_found" },
    });
  });
});

describe("the store refuses", () => {
  const item = { namespace: ["refused"], key: "k", value: {} };

  it.each<[string, string, string, unknown, number, string]>([
    ["a put into no namespace", "PUT", "/store/items", { ...item, namespace: [] }, 400, "namespace"],
    ["a put with an empty label", "PUT", "/store/items", { ...item, namespace: ["a", ""] }, 422, "empty"],
    ["a put with a period", "PUT", "/store/items", { ...item, namespace: ["a.b"] }, 422, "period"],
    ["a put with NUL in a label", "PUT", "/store/items", { ...item, namespace: ["a\0"] }, 422, "NUL"],
    [
      "a put with half a surrogate pair in the key",
      "PUT",
      "/store/items",
      { ...item, key: "\ud800" },
      422,
      "surrogate",
    ],
    ["a put at LangGraph's own root", "PUT", "/store/items", { ...item, namespace: ["langgraph"] }, 422, "reserved"],
    ["a put without a key", "PUT", "/store/items", { namespace: ["a"], value: {} }, 422, "key"],
    ["a put of a list", "PUT", "/store/items", { ...item, value: [1] }, 422, "value"],
    ["a put of null", "PUT", "/store/items", { ...item, value: null }, 422, "value"],
    ["a put to be indexed", "PUT", "/store/items", { ...item, index: ["text"] }, 422, "index"],
    ["a put that expires at once", "PUT", "/store/items", { ...item, ttl: 0 }, 422, "ttl"],
    ["a put with a namespace that is no list", "PUT", "/store/items", { ...item, namespace: "a" }, 422, "namespace"],
    ["a get without a namespace", "GET", "/store/items?key=k", undefined, 422, "namespace"],
    ["a get from an empty namespace", "GET", "/store/items?namespace=&key=k", undefined, 400, "namespace"],
    ["a get with an empty label", "GET", "/store/items?namespace=a..b&key=k", undefined, 422, "empty"],
    ["a get with a period in a label", "GET", "/store/items?namespace=a.b&namespace=c&key=k", undefined, 422, "period"],
    ["a get without a key", "GET", "/store/items?namespace=a", undefined, 422, "key"],
    [
      "a get with a broken boolean",
      "GET",
      "/store/items?namespace=a&key=k&refresh_ttl=maybe",
      undefined,
      422,
      "refresh_ttl",
    ],
    ["a delete from no namespace", "DELETE", "/store/items", { namespace: [], key: "k" }, 400, "namespace"],
    ["a delete without a body", "DELETE", "/store/items", undefined, 422, "namespace"],
    ["a search without a prefix", "POST", "/store/items/search", {}, 422, "namespace_prefix"],
    ["a semantic search", "POST", "/store/items/search", { namespace_prefix: [], query: "tea" }, 422, "query"],
    [
      "an unknown operator",
      "POST",
      "/store/items/search",
      { namespace_prefix: [], filter: { a: { $like: "%" } } },
      422,
      "$like",
    ],
    ["a search with limit 0", "POST", "/store/items/search", { namespace_prefix: [], limit: 0 }, 422, "limit"],
    ["a search with limit 1001", "POST", "/store/items/search", { namespace_prefix: [], limit: 1001 }, 422, "limit"],
    ["a search before the start", "POST", "/store/items/search", { namespace_prefix: [], offset: -1 }, 422, "offset"],
    ["a listing of no depth", "POST", "/store/namespaces", { max_depth: 0 }, 422, "max_depth"],
    ["a listing with a period", "POST", "/store/namespaces", { prefix: ["a.b"] }, 422, "period"],
    ["a listing with limit 1001", "POST", "/store/namespaces", { limit: 1001 }, 422, "limit"],
  ])("%s", async (_, method, path, body, status, named) => {
    expect(await send(method, path, body)).toEqual({
      status,
      body: expect.objectContaining({ detail: expect.stringContaining(named), code: expect.any(String) }),
    });
    expect(await send("POST", "/store/items/search", { namespace_prefix: ["refused"] })).toEqual({
      status: 200,
      body: { items: [] },
    });
  });
});
