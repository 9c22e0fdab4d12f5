/** Search by meaning through the unmodified SDK client and through nodes (K1, K4 with `store.index`). */
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { TOY_DIMS } from "../support/toy-embeddings.js";

const GRAPHS = { recollection: "./test/support/memory-graph.ts:recollection" };
const INDEX = { embed: "./test/support/toy-embeddings.ts:embedTopics", dims: TOY_DIMS, fields: ["text"] };

const config = (index: object) => ({ graphs: GRAPHS, store: { index: { ...INDEX, ...index } } });

let gateway: TestGateway;
let client: Client;
let send: Send;
let root: string;
let count = 0;

beforeAll(async () => {
  gateway = await startTestGateway({ config: config({}) });
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());
beforeEach(() => {
  root = `meaning-${++count}`;
});

const search = async (namespace: string[], options: Parameters<Client["store"]["searchItems"]>[1]) =>
  (await client.store.searchItems(namespace, options)).items.map(({ key, score }) => [
    key,
    score === null || score === undefined ? score : Number(score.toFixed(2)),
  ]);

describe("client.store", () => {
  it("finds items by meaning, with their scores, the nearest first", async () => {
    await client.store.putItem([root, "u1"], "drink", { text: "I like tea" });
    await client.store.putItem([root, "u1"], "both", { text: "tea when there is rain" });
    await client.store.putItem([root, "u1"], "pet", { text: "my cat" });
    await client.store.putItem([root, "u2"], "theirs", { text: "coffee" });
    await client.store.putItem([root, "u1"], "unindexed", { text: "tea" }, { index: false });
    expect(await search([root, "u1"], { query: "what to drink?" })).toEqual([
      ["drink", 1],
      ["both", 0.71],
      ["pet", 0],
      ["unindexed", null],
    ]);
    expect(await search([root], { query: "what to drink?", limit: 2, filter: { text: "coffee" } })).toEqual([
      ["theirs", 1],
    ]);
    expect(await search([root, "u1"], { query: "drink", limit: 1, offset: 1 })).toEqual([["both", 0.71]]);
    expect((await search([root, "u1"], {})).map(([, score]) => score)).toEqual([null, null, null, null]);
  });

  it("indexes the paths that a put names", async () => {
    await client.store.putItem([root], "k", { a: "tea", list: [{ b: "snow" }] }, { index: ["list[*].b"] });
    expect(await search([root], { query: "weather" })).toEqual([["k", 1]]);
  });

  it("refuses what cannot be embedded, and stores nothing of it", async () => {
    const item = { namespace: [root], key: "k", value: { text: "unspeakable" } };
    const refused = { status: 422, body: { code: "validation", detail: expect.stringContaining("does not speak of") } };
    expect(await send("PUT", "/store/items", item)).toMatchObject(refused);
    expect(await send("POST", "/store/items/search", { namespace_prefix: [], query: "unspeakable" })).toMatchObject(
      refused,
    );
    expect(await search([root], {})).toEqual([]);
    const paths = {
      ...item,
      value: { list: Array.from({ length: 1_001 }, (_, n) => `text ${n}`) },
      index: ["list[*]"],
    };
    expect(await send("PUT", "/store/items", paths)).toMatchObject({ status: 422, body: { code: "validation" } });
  });
});

it("nodes remember and find by meaning, also in subgraphs", async () => {
  const user = root;
  await client.store.putItem(["facts", user], "It rains", { text: "It rains" });
  const values = await client.runs.wait(null, "recollection", {
    input: { user, fact: "I drink tea", question: "which drink?" },
  });
  expect(values).toMatchObject({
    found: [
      { key: "I drink tea", isScored: true },
      { key: "It rains", isScored: true },
    ],
  });
});

it("a run whose node puts what cannot be embedded fails with the reason", async () => {
  const input = { user: root, fact: "unspeakable", question: "?" };
  const values = await client.runs.wait(null, "recollection", { input, raiseError: false });
  expect(values).toMatchObject({ __error__: { message: expect.stringContaining("does not speak of") } });
  expect(await search(["facts", root], {})).toEqual([]);
});

// Inline it would take the gateway along, as any graph does there.
if (process.env.HEDDLE_TEST_ISOLATION === "thread") {
  it("a model that loops for ever takes down nothing but the put that asked it", async () => {
    const looping = await startTestGateway({
      config: { ...config({}), graphs: { ...GRAPHS, stuck_after_seconds: 2 } },
    });
    try {
      const put = { namespace: [root], key: "k", value: { text: "endless" } };
      expect(await sender(looping.url)("PUT", "/store/items", put)).toMatchObject({
        status: 422,
        body: { detail: expect.stringContaining("store.index.embed could not answer") },
      });
      await looping.client.store.putItem([root], "k", { text: "tea" });
      const { items } = await looping.client.store.searchItems([root], { query: "drink" });
      expect(items).toMatchObject([{ key: "k", value: { text: "tea" } }]);
    } finally {
      await looping.stop();
    }
  });
}

it("the example finds by words, as docs/semantic-memory.md shows", async () => {
  const index = { embed: "./examples/embeddings/words.ts:embed", dims: 512 };
  const example = await startTestGateway({ config: { graphs: GRAPHS, store: { index } } });
  try {
    const { store } = example.client;
    await store.putItem(["facts", "ada"], "1", { text: "Ada drinks green tea in the morning" });
    await store.putItem(["facts", "ada"], "2", { text: "Her cat is called Loom" });
    const { items } = await store.searchItems(["facts", "ada"], { query: "which tea does she drink?", limit: 1 });
    expect(items).toMatchObject([{ key: "1", score: expect.any(Number) }]);
  } finally {
    await example.stop();
  }
});

describe("a gateway whose model is another than before", () => {
  const ALONE = { meta: { leftOut: "it is one process that starts anew on a copy of another's files" } };
  it.skipIf(ON_CLUSTER)("refuses to start, and with reembed starts and embeds all anew", ALONE, async () => {
    const first = await startTestGateway({ config: config({}), storage: "sqlite" });
    await first.client.store.putItem([root], "k", { text: "tea" });
    const other = { embed: "./test/support/toy-embeddings.ts:otherEmbeddings" };
    await expect(first.revive(undefined, { config: config(other) })).rejects.toThrow(/embedTopics.*reembed: true/);
    const second = await first.revive(undefined, { config: config({ ...other, reembed: true }) });
    try {
      await vi.waitFor(async () => {
        const { items } = await second.client.store.searchItems([root], { query: "coffee" });
        expect(items).toMatchObject([{ key: "k", score: expect.closeTo(1, 3) }]);
      });
    } finally {
      await second.stop();
      await first.stop();
    }
  });

  it.each([
    ["./test/support/none.ts:embed", "no such file"],
    ["./test/support/toy-embeddings.ts:notAFunction", "neither a function of texts"],
    ["cohere:embed-v4", "@langchain/cohere is not installed"],
  ])("or cannot be loaded does not start: %s", async (embed, why) => {
    await expect(startTestGateway({ config: config({ embed }) })).rejects.toThrow(why);
  });
});
