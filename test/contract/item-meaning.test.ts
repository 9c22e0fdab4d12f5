/** Search by meaning: what `SqlStore` promises where `store.index` is configured, to both sides. */
import { join } from "node:path";
import { Embeddings } from "@langchain/core/embeddings";
import { type BaseStore, InMemoryStore, type Operation, type SearchItem } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { sql as raw } from "kysely";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { invalid } from "../../src/core/errors.js";
import type { EmbedPurpose, PutItem, SearchItems } from "../../src/core/items.js";
import { silentLog } from "../../src/core/log.js";
import { toUnitVector } from "../../src/core/vectors.js";
import { openCheckpoints, type SqliteCheckpoints } from "../../src/storage/checkpoints.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { openItemModel } from "../../src/storage/item-models.js";
import { startReembedding } from "../../src/storage/item-reembedding.js";
import { type ItemIndex, SqlStore } from "../../src/storage/items.js";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";
import { makeFolder } from "../support/crash-disk.js";
import { createFakeClock } from "../support/fake-clock.js";
import { ON_POSTGRES, onSqlite, openDatabase } from "../support/test-database.js";
import { openAskingStorage } from "../support/thread-line.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let folder: ReturnType<typeof makeFolder>;
let checkpoints: SqliteCheckpoints;
beforeAll(() => {
  folder = makeFolder();
  checkpoints = openCheckpoints(join(folder.path, "checkpoints.db"));
});
afterAll(() => {
  checkpoints.close();
  folder.remove();
});

const SIDES: Readonly<Record<string, (store: SqlStore) => BaseStore>> = {
  "the main thread": (store) => store,
  "a graph thread"(store) {
    const file = join(folder.path, "checkpoints.db");
    const asking = openAskingStorage(file, { checkpoints, store }, store.indexFields);
    cleanups.push(() => asking.close());
    return asking.store;
  },
};

/** A text means how often it has each of these letters. */
const LETTERS = ["a", "b", "c"];
const meaningOf = (text: string): number[] => LETTERS.map((letter) => text.split(letter).length - 1);

class LetterEmbeddings extends Embeddings {
  constructor() {
    super({});
  }
  override embedDocuments = async (texts: string[]) => texts.map(meaningOf);
  override embedQuery = async (text: string) => meaningOf(text);
}

interface Options {
  readonly fields?: readonly string[];
  readonly indexed?: boolean;
  readonly embed?: (texts: readonly string[], purpose: EmbedPurpose) => Promise<readonly number[][]>;
  readonly maxBytesPerBatch?: number;
}

async function open(options: Options = {}) {
  const clock = createFakeClock();
  const opened = await openDatabase(clock);
  const { database } = opened;
  cleanups.push(opened.close);
  const asked: string[] = [];
  async function indexOf(embedName: string, { fields = ["text"], embed }: Options): Promise<ItemIndex> {
    return {
      modelId: await openItemModel(database, { embed: embedName, dims: LETTERS.length }, { mayReplace: true }),
      fields,
      async embed(texts, purpose) {
        asked.push(...texts.map((text) => `${purpose}: ${text}`));
        const vectors = embed === undefined ? texts.map(meaningOf) : await embed(texts, purpose);
        return vectors.map((vector) => toUnitVector(vector) ?? new Float32Array());
      },
    };
  }
  async function storeOf(index: ItemIndex | null, { maxBytesPerBatch = 1e9 }: Options): Promise<SqlStore> {
    const ttl = { defaultTtlMinutes: null, refreshOnRead: true, sweepIntervalMinutes: 60 };
    return new SqlStore({ database, clock, log: silentLog, ttl, maxBytesPerBatch, index });
  }
  const index = options.indexed === false ? null : await indexOf("letters", options);
  const sql = await storeOf(index, options);
  const count = async (table: "items" | "item_vectors") => {
    const query = database.selectFrom(table).select((eb) => eb.fn.countAll<number>().as("count"));
    return (await query.executeTakeFirstOrThrow()).count;
  };
  return { opened, database, clock, asked, sql, count, indexOf, storeOf };
}

const shown = (items: readonly SearchItem[]) => items.map(({ key, score }) => [key, score && Number(score.toFixed(2))]);

describe.each(Object.entries(SIDES))("from %s,", (_side, reach) => {
  async function openStore(options: Options = {}) {
    const opened = await open(options);
    const store = reach(opened.sql);
    const put = (item: PutItem) => store.batch([item]);
    const find = async (search: Partial<SearchItems>) =>
      shown((await store.batch<[SearchItems]>([{ namespacePrefix: ["n"], query: "a", ...search }]))[0]);
    return { ...opened, store, put, find };
  }

  describe("a search by meaning", () => {
    it("answers with the nearest first and their scores, behind them those that mean nothing", async () => {
      const { store, find, asked } = await openStore();
      await store.put(["n"], "far", { text: "ab" });
      await store.put(["n"], "near", { text: "aab" });
      await store.put(["n"], "same", { text: "aa" });
      await store.put(["n"], "opposite", { text: "b" });
      await store.put(["n"], "without", { other: "a" });
      await store.put(["m"], "elsewhere", { text: "a" });
      asked.length = 0;
      expect(await find({})).toEqual([
        ["same", 1],
        ["near", 0.89],
        ["far", 0.71],
        ["opposite", 0],
        ["without", undefined],
      ]);
      expect(asked).toEqual(["query: a"]);
    });

    it("counts the text of an item that is nearest", async () => {
      const { put, find } = await openStore();
      await put({ namespace: ["n"], key: "k", value: { x: "b", y: ["c", "aab"] }, index: ["x", "y[*]"] });
      expect(await find({})).toEqual([["k", 0.89]]);
    });

    it("knows only what a put wanted to be indexed", async () => {
      const { put, find, count } = await openStore();
      const value = { text: "a", title: "b" };
      await put({ namespace: ["n"], key: "configured", value });
      await put({ namespace: ["n"], key: "own", value, index: ["title"] });
      await put({ namespace: ["n"], key: "none", value, index: false });
      await put({ namespace: ["n"], key: "empty", value, index: [] });
      expect(await count("item_vectors")).toBe(2);
      expect((await find({})).slice(0, 2)).toEqual([
        ["configured", 1],
        ["own", 0],
      ]);
      expect(
        (await find({ limit: 10 }))
          .slice(2)
          .map(([key]) => key)
          .sort(),
      ).toEqual(["empty", "none"]);
    });

    it("goes by whole labels and by the filter", async () => {
      const { store, find } = await openStore();
      await store.put(["u1"], "mine", { text: "a", kind: "x" });
      await store.put(["u1", "deep"], "deep", { text: "ab", kind: "y" });
      await store.put(["u10"], "neighbour", { text: "a", kind: "x" });
      await store.put(["u1%"], "wildcard", { text: "a", kind: "x" });
      expect(await find({ namespacePrefix: ["u1"] })).toEqual([
        ["mine", 1],
        ["deep", 0.71],
      ]);
      expect(await find({ namespacePrefix: ["u1"], filter: { kind: "y" } })).toEqual([["deep", 0.71]]);
      expect(await find({ namespacePrefix: ["u"] })).toEqual([]);
    });

    it("goes page by page, over items with a score and without, each once", async () => {
      const { store, find } = await openStore();
      for (let n = 0; n < 8; n++) await store.put(["n"], `k${n}`, n < 5 ? { text: `a${"b".repeat(n % 3)}` } : {});
      const all = await find({ limit: 100 });
      expect(all).toHaveLength(8);
      for (const limit of [1, 2, 3, 7]) {
        const pages = [];
        for (let offset = 0; offset < 9; offset += limit) pages.push(...(await find({ limit, offset })));
        expect(pages).toEqual(all);
      }
      expect(await find({ limit: 0 })).toEqual([]);
    });

    it("reads many vectors in parts, and finds the best of all", async () => {
      const { store, find, database } = await openStore();
      await store.put(["n"], "k", { text: "a" });
      const vector = Buffer.from(new Float32Array([0.6, 0.8, 0]).buffer);
      const others = raw`(WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2499)
        SELECT 'other ' || n AS key FROM numbers) AS others`;
      await raw`INSERT INTO items (namespace, key, value, created_at, updated_at, embedded_by)
        SELECT namespace, others.key, value, created_at, updated_at, embedded_by
        FROM items CROSS JOIN ${others} WHERE items.key = 'k'`.execute(database);
      await raw`INSERT INTO item_vectors (namespace, key, part, vector)
        SELECT 'n.', others.key, 0, ${vector} FROM ${others}`.execute(database);
      expect(await find({ limit: 2, query: "a" })).toEqual([
        ["k", 1],
        ["other 0", 0.6],
      ]);
    });

    onSqlite("walks the vectors under its prefix in order, and sorts none", async () => {
      const { store, opened } = await openStore();
      const connection = opened.connection as SqliteDatabase;
      const prepare = vi.spyOn(connection, "prepare");
      await store.search(["n"], { query: "a", filter: { kind: "x" } });
      const statements = prepare.mock.calls.map(([statement]) => statement);
      prepare.mockRestore();
      const statement = statements.find((text) => text.includes('from "item_vectors"')) ?? "";
      const values = (statement.match(/\?/g) ?? []).map(() => 1);
      const plan = connection.prepare(`EXPLAIN QUERY PLAN ${statement}`).all(values) as { detail: string }[];
      expect(plan.map(({ detail }) => detail)).toEqual([
        expect.stringMatching(/^SEARCH item_vectors USING INDEX \S+ \(namespace>\? AND namespace<\?\)$/),
        expect.stringMatching(/^SEARCH items USING INDEX \S+ \(namespace=\? AND key=\?\)$/),
      ]);
    });

    it("is measured like any other", async () => {
      const { store, find } = await openStore({ maxBytesPerBatch: 2_500 });
      for (const key of ["x", "y", "z"]) await store.put(["n"], key, { text: "a", long: "-".repeat(1_000) });
      await expect(find({ limit: 3 })).rejects.toMatchObject({ code: "validation", details: { limit: 2 } });
      expect(await find({ limit: 2 })).toHaveLength(2);
    });

    it("without a text is one by date", async () => {
      const { store, find, clock, asked } = await openStore();
      await store.put(["n"], "first", { text: "a" });
      clock.advance(1);
      await store.put(["n"], "second", { text: "b" });
      asked.length = 0;
      expect(await find({ query: "" })).toEqual([
        ["second", undefined],
        ["first", undefined],
      ]);
      expect(asked).toEqual([]);
    });
  });

  describe("an item", () => {
    it("means what it was last put as, and nothing when it is gone", async () => {
      const { store, put, find, count, clock } = await openStore();
      await store.put(["n"], "k", { text: "a", more: "b" }, ["text", "more"]);
      await store.put(["n"], "k", { text: "ab" });
      expect(await find({})).toEqual([["k", 0.71]]);
      await put({ namespace: ["n"], key: "k", value: { text: "a" }, index: false });
      expect(await find({})).toEqual([["k", undefined]]);
      await put({ namespace: ["n"], key: "k", value: { text: "a" }, ttlMinutes: 1 });
      clock.advance(60_000);
      expect(await find({})).toEqual([]);
      await store.put(["n"], "k", { text: "a" });
      await store.delete(["n"], "k");
      expect(await find({})).toEqual([]);
      expect(await count("item_vectors")).toBe(0);
    });

    it("is embedded once for each of its texts, and one batch asks once", async () => {
      const { store, asked } = await openStore({ fields: ["x", "y"] });
      await store.batch([
        { namespace: ["n"], key: "1", value: { x: "a", y: "a" } },
        { namespace: ["n"], key: "2", value: { x: "a", y: "b" } },
      ] as Operation[]);
      expect(asked).toEqual(["documents: a", "documents: b"]);
    });

    it("is not stored where it cannot be embedded, nor is anything of its batch", async () => {
      const embed = async () => {
        throw invalid("store.index.embed failed: no quota");
      };
      const { store, count } = await openStore({ embed });
      const refused = store.batch([
        { namespace: ["n"], key: "plain", value: {} },
        { namespace: ["n"], key: "k", value: { text: "a" } },
      ] as Operation[]);
      await expect(refused).rejects.toMatchObject({ code: "validation", message: expect.stringContaining("no quota") });
      expect(await count("items")).toBe(0);
      await store.put(["n"], "plain", { other: "a" });
      await store.put(["n"], "unindexed", { text: "a" }, false);
      expect(await count("items")).toBe(2);
      await expect(store.search(["n"], { query: "a" })).rejects.toThrow("no quota");
    });

    it("is stored with its vectors or not at all", async () => {
      const { store, opened, count } = await openStore();
      await opened.refuse("INSERT", "item_vectors");
      await expect(store.put(["n"], "k", { text: "a" })).rejects.toThrow("disk");
      expect(await count("items")).toBe(0);
    });

    it("is what the last of parallel puts made it, however long each takes to be embedded", async () => {
      const gates = new Map<string, () => void>();
      const embed = (texts: readonly string[]) =>
        new Promise<number[][]>((resolve) => gates.set(texts.join(), () => resolve(texts.map(meaningOf))));
      const { store } = await openStore({ embed });
      const first = store.put(["n"], "k", { text: "slow" });
      const second = store.put(["n"], "k", { text: "quick" });
      const third = store.put(["n"], "k", { other: "needs no model" });
      while (gates.size < 2) await new Promise(setImmediate);
      gates.get("quick")?.();
      await new Promise(setImmediate);
      expect(await store.get(["n"], "k")).toBeNull();
      gates.get("slow")?.();
      await Promise.all([first, second, third]);
      expect((await store.get(["n"], "k"))?.value).toEqual({ other: "needs no model" });
    });

    it("that was put before in the same batch is found by it", async () => {
      const { store } = await openStore();
      const [, found] = await store.batch([
        { namespace: ["n"], key: "k", value: { text: "ab" } },
        { namespacePrefix: ["n"], query: "a" },
      ] as [PutItem, SearchItems]);
      expect(shown(found)).toEqual([["k", 0.71]]);
    });
  });

  it.each([["text"], [["a", 1]], [{}]])("refuses index: %j", async (index) => {
    const { put, count } = await openStore();
    const refused = put({ namespace: ["n"], key: "k", value: {}, index: index as never });
    await expect(refused).rejects.toMatchObject({ code: "validation", message: expect.stringContaining("index") });
    expect(await count("items")).toBe(0);
  });

  it("refuses a query that is no text", async () => {
    const { find } = await openStore();
    await expect(find({ query: 12 as never })).rejects.toThrow("query");
  });

  it("answers as LangGraph's InMemoryStore does", async () => {
    const { sql, database } = await open({ fields: ["text", "list[*].s"] });
    const ours = reach(sql);
    const name = fc.constantFrom("a", "b", "c");
    const namespace = fc.array(name, { minLength: 1, maxLength: 2 });
    const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "-"), maxLength: 4 });
    const value = fc.record(
      { text, kind: fc.constantFrom("x", "y"), list: fc.array(fc.record({ s: text }), { maxLength: 2 }) },
      { requiredKeys: [] },
    );
    const index = fc.oneof(
      fc.constant(undefined),
      fc.constant(false as const),
      fc.constant(["kind", "text"]),
      fc.constant(["$"]),
    );
    const puts = fc.uniqueArray(fc.record({ namespace, key: name, value, index }), {
      maxLength: 12,
      selector: (put) => JSON.stringify([put.namespace, put.key]),
    });
    const search = fc.record({
      prefix: fc.array(name, { maxLength: 2 }),
      query: text,
      filter: fc.record({ kind: fc.constantFrom("x", "y") }, { requiredKeys: [] }),
    });
    // What they differ in is not a matter of meaning: the order of equals, and decimals beyond single precision.
    const comparable = (items: readonly SearchItem[]) =>
      items
        .map(({ namespace: at, key, score }) => `${score?.toFixed(5).replace("-0.00000", "0.00000")} ${at} ${key}`)
        .sort();
    await fc.assert(
      fc.asyncProperty(puts, search, async (items, { prefix, query, filter }) => {
        await database.deleteFrom("items").execute();
        const theirs = new InMemoryStore({
          index: { dims: LETTERS.length, embeddings: new LetterEmbeddings(), fields: ["text", "list[*].s"] },
        });
        for (const put of items) {
          await ours.put(put.namespace, put.key, put.value, put.index && [...put.index]);
          await theirs.put(put.namespace, put.key, put.value, put.index && [...put.index]);
        }
        const found = await ours.search(prefix, { query, filter, limit: 100 });
        expect(comparable(found)).toEqual(comparable(await theirs.search(prefix, { query, filter, limit: 100 })));
        const scores = found.map(({ score }) => score ?? Number.NEGATIVE_INFINITY);
        expect(scores).toEqual(scores.toSorted((a, b) => b - a));
      }),
      { numRuns: ON_POSTGRES ? 20 : 200 },
    );
  });
});

describe("a model", () => {
  const model = { embed: "letters", dims: 3 };

  it("that is the one that items were embedded with is taken, as is any where no item was", async () => {
    const { database, sql } = await open();
    const id = await openItemModel(database, model, { mayReplace: false });
    expect(await openItemModel(database, { embed: "other", dims: 3 }, { mayReplace: false })).not.toBe(id);
    await sql.put(["n"], "k", { text: "a" });
    expect(await openItemModel(database, model, { mayReplace: false })).toBe(id);
  });

  it.each([
    { embed: "other", dims: 3 },
    { embed: "letters", dims: 4 },
  ])("that is another is refused: %j", async (other) => {
    const { database, sql } = await open();
    await sql.put(["n"], "k", { text: "a" });
    const refused = openItemModel(database, other, { mayReplace: false });
    await expect(refused).rejects.toMatchObject({ name: "ItemIndexError" });
    await expect(refused).rejects.toThrow(/"letters" \(dims: 3\).*reembed: true/);
    expect(await openItemModel(database, other, { mayReplace: true })).toBeGreaterThan(1);
    await sql.delete(["n"], "k");
    await openItemModel(database, other, { mayReplace: false });
  });

  it("sees no vectors of another, and items that change without one mean nothing", async () => {
    const { sql, indexOf, storeOf } = await open();
    await sql.put(["n"], "k", { text: "a" });
    const other = await storeOf(await indexOf("other", {}), {});
    expect(shown(await other.search(["n"], { query: "a" }))).toEqual([["k", undefined]]);
    const plain = await storeOf(null, {});
    await plain.put(["n"], "k", { text: "b" });
    expect(shown(await sql.search(["n"], { query: "a" }))).toEqual([["k", undefined]]);
  });
});

describe("embedding anew", () => {
  type Opened = Awaited<ReturnType<typeof open>>;

  async function reembed({ database, clock, indexOf, storeOf }: Opened, options: Options = {}) {
    const index = await indexOf("other", options);
    const reembedding = startReembedding({
      database,
      commits: createCommitGroup(database),
      index,
      clock,
      log: silentLog,
    });
    cleanups.push(() => reembedding.stop());
    return { ...reembedding, store: await storeOf(index, {}) };
  }

  it("gives all items vectors of the new model, by the paths that they were put with", async () => {
    const opened = await open({ indexed: false });
    await opened.sql.put(["n"], "before there was an index", { text: "a" });
    const indexed = await opened.storeOf(await opened.indexOf("letters", {}), {});
    for (let n = 0; n < 70; n++) await indexed.put(["n", "many"], `k${n}`, { text: "b" });
    await indexed.put(["n"], "own paths", { text: "b", title: "aab" }, ["title"]);
    await indexed.put(["n"], "none", { text: "a" }, false);
    await indexed.put(["n"], "empty", { other: 1 });
    const { done, store } = await reembed(opened);
    await done;
    const found = await store.search(["n"], { query: "a", limit: 100 });
    expect(shown(found).slice(0, 2)).toEqual([
      ["before there was an index", 1],
      ["own paths", 0.89],
    ]);
    expect(found).toHaveLength(74);
    expect(
      found
        .filter(({ score }) => score === undefined)
        .map(({ key }) => key)
        .sort(),
    ).toEqual(["empty", "none"]);
    await openItemModel(opened.database, { embed: "other", dims: 3 }, { mayReplace: false });
  });

  it("leaves alone what is put meanwhile", async () => {
    const opened = await open();
    await opened.sql.put(["n"], "k", { text: "a" });
    let arrived = (): void => {};
    const asked = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let isFirst = true;
    const { done, store } = await reembed(opened, {
      async embed(texts) {
        if (isFirst) {
          isFirst = false;
          arrived();
          await held;
        }
        return texts.map(meaningOf);
      },
    });
    await asked;
    await store.put(["n"], "k", { text: "b" });
    release();
    await done;
    expect(shown(await store.search(["n"], { query: "a" }))).toEqual([["k", 0]]);
  });

  it("passes over an item that the model refuses, and waits for a model that is away", async () => {
    const opened = await open();
    for (const text of ["a", "bad", "b"]) await opened.sql.put(["n"], text, { text });
    let isAway = true;
    const { done, store } = await reembed(opened, {
      async embed(texts) {
        if (isAway || texts.includes("bad")) throw new Error("refused");
        return texts.map(meaningOf);
      },
    });
    while (opened.clock.pending() === 0) await new Promise(setImmediate);
    isAway = false;
    opened.clock.advance(60_000);
    await done;
    expect(shown(await store.search(["n"], { query: "a" }))).toEqual([
      ["a", 1],
      ["b", 0],
      ["bad", undefined],
    ]);
  });

  it.each(["at once", "while the model does not answer"])("ends with stop, %s", async (when) => {
    const opened = await open();
    await opened.sql.put(["n"], "k", { text: "a" });
    let isAsked = false;
    const embed = () => {
      isAsked = true;
      return new Promise<never>(() => {});
    };
    const { stop } = await reembed(opened, { embed });
    while (when !== "at once" && !isAsked) await new Promise(setImmediate);
    await stop();
    expect(opened.clock.pending()).toBe(0);
  });
});
