/** What `SqlStore` promises to graphs, also to those on threads of their own, and to the HTTP API. */
import { join } from "node:path";
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";
import {
  type BaseStore,
  InMemoryStore,
  InvalidNamespaceError,
  type Operation,
  type SearchItem,
} from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { GetItem, ItemTtlConfig, PutItem, SearchItems } from "../../src/core/items.js";
import { silentLog } from "../../src/core/log.js";
import { openCheckpoints, type SqliteCheckpoints } from "../../src/storage/checkpoints.js";
import { SqlStore } from "../../src/storage/items.js";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";
import { makeFolder } from "../support/crash-disk.js";
import { createFakeClock } from "../support/fake-clock.js";
import { ON_POSTGRES, onSqlite, openDatabase } from "../support/test-database.js";
import { openAskingStorage } from "../support/thread-line.js";

const MINUTE_MS = 60_000;
const NO_TTL: ItemTtlConfig = { defaultTtlMinutes: null, refreshOnRead: true, sweepIntervalMinutes: 60 };

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
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
    const asking = openAskingStorage(join(folder.path, "checkpoints.db"), { checkpoints, store });
    cleanups.push(async () => asking.close());
    return asking.store;
  },
};

describe.each(Object.entries(SIDES))("from %s,", (_side, reach) => {
  async function createStore(ttl: Partial<ItemTtlConfig> = {}, maxBytesPerBatch = 1e9) {
    const clock = createFakeClock();
    const opened = await openDatabase(clock);
    const { database } = opened;
    const sql = new SqlStore({
      database,
      clock,
      log: silentLog,
      ttl: { ...NO_TTL, ...ttl },
      maxBytesPerBatch,
      index: null,
    });
    const store = reach(sql);
    cleanups.push(async () => {
      await sql.stop();
      await opened.close();
    });
    const put = (item: PutItem) => store.batch([item]);
    const find = async (search: SearchItems) => keysOf((await store.batch<[SearchItems]>([search]))[0]);
    const rowCount = async () => {
      const { count } = await database
        .selectFrom("items")
        .select((eb) => eb.fn.countAll<number>().as("count"))
        .executeTakeFirstOrThrow();
      return count;
    };
    return { sql, store, clock, opened, database, put, find, rowCount };
  }

  const keysOf = (items: readonly SearchItem[]) => items.map(({ key }) => key);

  describe("an item", () => {
    it("comes back as it was put, with its dates", async () => {
      const { store, clock } = await createStore();
      await store.put(["users", "u1"], "prefs", { theme: "dark", nested: { list: [1, null, "x"] } });
      expect(await store.get(["users", "u1"], "prefs")).toEqual({
        namespace: ["users", "u1"],
        key: "prefs",
        value: { theme: "dark", nested: { list: [1, null, "x"] } },
        createdAt: new Date(clock.now()),
        updatedAt: new Date(clock.now()),
      });
      expect(await store.get(["users", "u1"], "other")).toBeNull();
      expect(await store.get(["users"], "prefs")).toBeNull();
    });

    it("keeps its creation date over updates, and moves its update date", async () => {
      const { store, clock } = await createStore();
      const created = clock.now();
      await store.put(["a"], "k", { n: 1 });
      clock.advance(5_000);
      await store.put(["a"], "k", { n: 2 });
      expect(await store.get(["a"], "k")).toMatchObject({
        value: { n: 2 },
        createdAt: new Date(created),
        updatedAt: new Date(created + 5_000),
      });
    });

    it("is gone after a delete, and a delete of nothing is fine", async () => {
      const { store } = await createStore();
      await store.put(["a"], "k", {});
      await store.delete(["a"], "k");
      await store.delete(["a"], "k");
      expect(await store.get(["a"], "k")).toBeNull();
    });

    it("survives every text and every JSON value", async () => {
      const { store } = await createStore();
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ stringUnit: "binary" })),
          async (value) => {
            await store.put(["any"], "k", value);
            expect((await store.get(["any"], "k"))?.value).toEqual(JSON.parse(JSON.stringify(value)));
          },
        ),
      );
      const hostile = JSON.parse('{"__proto__":{"polluted":true},"nul":"a\\u0000b","half":"\\ud800"}');
      await store.put(["any"], "k", hostile);
      const item = await store.get(["any"], "k");
      expect(Object.keys(item?.value ?? {})).toEqual(["__proto__", "nul", "half"]);
      expect(item?.value).toMatchObject({ nul: "a\0b", half: "\ud800" });
      expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
    });

    it("stores what JSON has no word for as the wire would show it", async () => {
      const { store } = await createStore();
      const circular: Record<string, unknown> = {
        big: 12n,
        nan: Number.NaN,
        map: new Map([["a", 1]]),
        gone: undefined,
      };
      circular.self = circular;
      await store.put(["a"], "k", circular);
      expect((await store.get(["a"], "k"))?.value).toEqual({ big: "12", nan: null, map: { a: 1 }, self: "[circular]" });
    });

    it("is stored as it was when put was called", async () => {
      const { store } = await createStore();
      const value = { n: 1 };
      const putting = store.put(["a"], "k", value);
      value.n = 2;
      await putting;
      expect((await store.get(["a"], "k"))?.value).toEqual({ n: 1 });
    });

    it.each([["text"], [["list"]], [12], [undefined], [new Date(0)]])("refuses the value %j", async (value) => {
      const { put } = await createStore();
      await expect(put({ namespace: ["a"], key: "k", value: value as never })).rejects.toMatchObject({
        code: "validation",
      });
    });
  });

  describe("a namespace", () => {
    it("may have labels of any characters but the period", async () => {
      const { store, find } = await createStore();
      const labels = [
        "%",
        "_",
        "a%",
        "'; DROP TABLE items; --",
        '"',
        "\\",
        "/",
        "-",
        "*",
        "é",
        "日本語",
        "👩‍👩‍👧",
        "\n",
        " ",
      ];
      for (const label of labels) await store.put([label, "x"], `key of ${label}`, {});
      for (const label of labels) {
        expect(await find({ namespacePrefix: [label] })).toEqual([`key of ${label}`]);
        expect((await store.get([label, "x"], `key of ${label}`))?.namespace).toEqual([label, "x"]);
      }
      expect(await store.listNamespaces()).toHaveLength(labels.length);
    });

    it("is found by whole labels only, and no character is a wildcard", async () => {
      const { store, find } = await createStore();
      await store.put(["u1"], "mine", {});
      await store.put(["u1", "deep"], "deep", {});
      await store.put(["u10"], "neighbour", {});
      await store.put(["u1-x"], "before the period", {});
      await store.put(["u1/x"], "after the period", {});
      expect((await find({ namespacePrefix: ["u1"] })).sort()).toEqual(["deep", "mine"]);
      for (const wildcard of ["%", "_", "u_", "u%", "*", "?", "u"])
        expect(await find({ namespacePrefix: [wildcard] })).toEqual([]);
      expect(await find({ namespacePrefix: [] })).toHaveLength(5);
    });

    it.each<[string, string[]]>([
      ["no labels", []],
      ["an empty label", ["a", ""]],
      ["a period", ["a.b"]],
      ["the reserved root", ["langgraph", "x"]],
      ["NUL", ["a\0"]],
    ])("is refused with %s, also inside a batch", async (_, namespace) => {
      const { store, put } = await createStore();
      await expect(put({ namespace, key: "k", value: {} })).rejects.toBeInstanceOf(InvalidNamespaceError);
      await expect(store.put(namespace, "k", {})).rejects.toBeInstanceOf(InvalidNamespaceError);
    });

    it("with a period is refused by reads too: it would be read as two labels", async () => {
      const { store } = await createStore();
      await store.put(["a", "b"], "k", {});
      await expect(store.get(["a.b"], "k")).rejects.toBeInstanceOf(InvalidNamespaceError);
      await expect(store.delete(["a.b"], "k")).rejects.toBeInstanceOf(InvalidNamespaceError);
      await expect(store.search(["a.b"])).rejects.toBeInstanceOf(InvalidNamespaceError);
      await expect(store.listNamespaces({ prefix: ["a.b"] })).rejects.toBeInstanceOf(InvalidNamespaceError);
    });
  });

  describe("a search", () => {
    it("answers the last updated first, by pages without gap or repetition", async () => {
      const { store, clock, find } = await createStore();
      for (let n = 0; n < 25; n++) {
        if (n % 2 === 0) clock.advance(1_000); // pairs share a date
        await store.put(["a", String(n)], `k${n}`, { n });
      }
      expect((await find({ namespacePrefix: ["a"] }))[0]).toBe("k24");
      expect(await find({ namespacePrefix: ["a"] })).toHaveLength(10);
      const pages = [];
      for (let offset = 0; offset < 30; offset += 7)
        pages.push(...(await find({ namespacePrefix: ["a"], limit: 7, offset })));
      expect(pages).toHaveLength(25);
      expect(new Set(pages).size).toBe(25);
      expect(await find({ namespacePrefix: ["a"], limit: 0 })).toEqual([]);
    });

    it("filters in the database before it pages", async () => {
      const { store, find } = await createStore();
      for (let n = 0; n < 40; n++) await store.put(["a"], `k${n}`, { n, tags: [n % 2], "odd'name": n % 3 });
      expect(await find({ namespacePrefix: ["a"], filter: { n: { $gte: 5, $lt: 8 } } })).toEqual(["k5", "k6", "k7"]);
      const odd = { tags: [1], "odd'name": 0 }; // 3, 9, 15, 21, 27, 33, 39; of one date, so in the order of their keys
      expect(await find({ namespacePrefix: ["a"], filter: odd, limit: 3, offset: 1 })).toEqual(["k21", "k27", "k3"]);
    });

    it.each<[string, object, string]>([
      ["query", { query: "what do I like?" }, "query"],
      ["an unknown filter operator", { filter: { a: { $where: "1" } } }, "$where"],
      ["an undefined filter value", { filter: { owner: undefined } }, "owner"],
      ["a negative limit, which SQL reads as none", { limit: -1 }, "limit"],
      ["a broken limit", { limit: 1.5 }, "limit"],
      ["a negative offset", { offset: -1 }, "offset"],
    ])("refuses %s", async (_, options, named) => {
      const { store } = await createStore();
      await expect(store.search(["a"], options)).rejects.toThrow(named);
      await expect(store.search(["a"], options)).rejects.toMatchObject({ name: "GatewayError" });
    });

    onSqlite("reads only its prefix's part of the index", async () => {
      const { store, opened } = await createStore();
      const connection = opened.connection as SqliteDatabase;
      const prepare = vi.spyOn(connection, "prepare");
      await store.search(["users", "u1"], { filter: { a: 1 } });
      await store.listNamespaces({ prefix: ["users"] });
      const statements = prepare.mock.calls.map(([statement]) => statement).filter((text) => text.startsWith("select"));
      prepare.mockRestore();
      expect(statements).toHaveLength(2);
      for (const statement of statements) {
        const parameters = (statement.match(/\?/g) ?? []).map(() => 1);
        const plan = connection.prepare(`EXPLAIN QUERY PLAN ${statement}`).all(parameters) as { detail: string }[];
        expect(plan.map(({ detail }) => detail).join("; ")).toMatch(
          /^SEARCH items USING .*INDEX .*\(namespace>\? AND namespace<\?\)/,
        );
      }
    });
  });

  describe("listing namespaces", () => {
    async function createListing() {
      const created = await createStore();
      for (const path of ["a", "a/x/1", "a/x/2", "a/y/1", "b/x/1"]) await created.store.put(path.split("/"), "k", {});
      return created.store;
    }

    it("answers each once, in a stable order", async () => {
      const store = await createListing();
      await store.put(["a"], "another", {});
      expect((await store.listNamespaces()).map((labels) => labels.join("/"))).toEqual([
        "a",
        "a/x/1",
        "a/x/2",
        "a/y/1",
        "b/x/1",
      ]);
    });

    it("selects by prefix, suffix, wildcard and depth, then by page", async () => {
      const store = await createListing();
      const list = async (options: Parameters<BaseStore["listNamespaces"]>[0]) =>
        (await store.listNamespaces(options)).map((labels) => labels.join("/"));
      expect(await list({ prefix: ["a", "x"] })).toEqual(["a/x/1", "a/x/2"]);
      expect(await list({ suffix: ["x", "1"] })).toEqual(["a/x/1", "b/x/1"]);
      expect(await list({ prefix: ["*", "x"], suffix: ["1"] })).toEqual(["a/x/1", "b/x/1"]);
      expect(await list({ prefix: ["a", "*", "1"] })).toEqual(["a/x/1", "a/y/1"]);
      expect(await list({ maxDepth: 2 })).toEqual(["a", "a/x", "a/y", "b/x"]);
      expect(await list({ maxDepth: 1, offset: 1 })).toEqual(["b"]);
      expect(await list({ limit: 2, offset: 1 })).toEqual(["a/x/1", "a/x/2"]);
    });

    it("reads on until the page is full", async () => {
      const { store } = await createStore();
      const puts = Array.from(
        { length: 1_200 },
        (_, n): Operation => ({
          namespace: ["n", String(n).padStart(4, "0"), n % 400 === 399 ? "rare" : "often"],
          key: "k",
          value: {},
        }),
      );
      await store.batch(puts);
      expect(await store.listNamespaces({ suffix: ["rare"] })).toEqual(
        ["0399", "0799", "1199"].map((n) => ["n", n, "rare"]),
      );
      expect(await store.listNamespaces({ offset: 1_150 })).toHaveLength(50);
      expect(await store.listNamespaces({ maxDepth: 1 })).toEqual([["n"]]);
    });

    it("forgets a namespace with its last item", async () => {
      const { store } = await createStore();
      await store.put(["a"], "k", {});
      await store.delete(["a"], "k");
      expect(await store.listNamespaces()).toEqual([]);
    });
  });

  describe("a batch", () => {
    it("applies its operations in order", async () => {
      const { store } = await createStore();
      const results = await store.batch([
        { namespace: ["a"], key: "k" },
        { namespace: ["a"], key: "k", value: { n: 1 } },
        { namespace: ["a"], key: "k" },
        { namespacePrefix: ["a"] },
        { matchConditions: [], limit: 10, offset: 0 },
        { namespace: ["a"], key: "k", value: null },
        { namespace: ["a"], key: "k" },
      ] as Operation[]);
      expect(results).toEqual([
        null,
        undefined,
        expect.objectContaining({ value: { n: 1 } }),
        [expect.objectContaining({ key: "k" })],
        [["a"]],
        undefined,
        null,
      ]);
    });

    it("does nothing at all when one operation is refused", async () => {
      const { store, rowCount } = await createStore();
      await expect(
        store.batch([
          { namespace: ["a"], key: "k", value: {} },
          { namespace: ["a.b"], key: "k", value: {} },
        ]),
      ).rejects.toBeInstanceOf(InvalidNamespaceError);
      expect(await rowCount()).toBe(0);
    });

    it("does nothing at all when the database fails in the middle, and the store goes on", async () => {
      const { store, opened, rowCount } = await createStore();
      await opened.refuse("INSERT", "items", "new.key = 'bad'");
      await expect(
        store.batch([
          { namespace: ["a"], key: "good", value: {} },
          { namespace: ["a"], key: "bad", value: {} },
        ]),
      ).rejects.toThrow("disk");
      expect(await rowCount()).toBe(0);
      await store.put(["a"], "good", {});
      expect(await rowCount()).toBe(1);
    });

    it("refuses an operation that it does not know", async () => {
      const { store } = await createStore();
      await expect(store.batch([{ count: true } as unknown as Operation])).rejects.toThrow("unknown store operation");
    });

    it("keeps the last of parallel puts of one key, whenever the second comes while the first waits", async () => {
      const { store } = await createStore();
      for (let ticks = 0; ticks < 60; ticks++) {
        const busy = store.put(["other"], "k", {});
        const first = store.put(["a"], "k", { n: 1 });
        for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
        const second = store.put(["a"], "k", { n: 2 });
        await Promise.all([busy, first, second]);
        expect((await store.get(["a"], "k"))?.value, `after ${ticks} ticks`).toEqual({ n: 2 });
      }
    });
  });

  describe("a batch that reads", () => {
    const large = { text: "x".repeat(1_000) };

    async function fill(maxBytes: number) {
      const created = await createStore({}, maxBytes);
      for (const key of ["a", "b", "c"]) {
        await created.store.put(["n"], key, large);
        created.clock.advance(1);
      }
      return created;
    }

    it("more than it may is refused with the limit that fits, but never a single item", async () => {
      const { store, find } = await fill(2_900);
      const refused = { code: "validation", details: { limit: 2 } };
      await expect(find({ namespacePrefix: ["n"], limit: 3 })).rejects.toMatchObject(refused);
      expect(await find({ namespacePrefix: ["n"], limit: 2 })).toEqual(["c", "b"]);
      const gets = ["a", "b", "c"].map((key): GetItem => ({ namespace: ["n"], key }));
      await expect(store.batch(gets)).rejects.toMatchObject(refused);
      expect(await store.batch(gets.slice(1))).toHaveLength(2);
    });

    it("one item gets it however large it is", async () => {
      const { store, find } = await fill(1);
      expect(await find({ namespacePrefix: ["n"], limit: 1, offset: 1 })).toEqual(["b"]);
      expect((await store.get(["n"], "a"))?.value).toEqual(large);
    });

    it("names of namespaces is measured as well", async () => {
      const { store } = await createStore({}, 2_500);
      const names = ["a", "b", "c"].map((name) => name.repeat(1_000));
      for (const name of names) await store.put([name], "k", {});
      await expect(store.listNamespaces({ limit: 3 })).rejects.toMatchObject({ details: { limit: 2 } });
      expect(await store.listNamespaces({ limit: 2, offset: 1 })).toEqual(names.slice(1).map((name) => [name]));
    });
  });

  describe("semantic indexing", () => {
    it.each([[undefined], [false as const]])("is not asked for by index: %j", async (index) => {
      const { store } = await createStore();
      await store.put(["a"], "k", {}, index);
      expect(await store.get(["a"], "k")).not.toBeNull();
    });

    it("is refused where it is asked for", async () => {
      const { store } = await createStore();
      await expect(store.put(["a"], "k", {}, ["text"])).rejects.toMatchObject({
        code: "unsupported",
        details: { option: "index" },
      });
      await expect(store.search(["a"], { query: "x" })).rejects.toMatchObject({
        code: "unsupported",
        details: { option: "query" },
      });
    });
  });

  describe("a ttl", () => {
    const item = { namespace: ["a"], key: "k", value: { n: 1 } };
    const get = (refreshTtl?: boolean): GetItem => ({ namespace: ["a"], key: "k", refreshTtl });

    it("hides the item from everything at once when it is over", async () => {
      const { store, clock, put, find, rowCount } = await createStore({ refreshOnRead: false });
      await put({ ...item, ttlMinutes: 1.5 });
      clock.advance(1.5 * MINUTE_MS - 1);
      expect(await store.get(["a"], "k")).not.toBeNull();
      clock.advance(1);
      expect(await store.get(["a"], "k")).toBeNull();
      expect(await find({ namespacePrefix: [] })).toEqual([]);
      expect(await store.listNamespaces()).toEqual([]);
      expect(await rowCount()).toBe(1);
    });

    it("that is over makes the next put a new item", async () => {
      const { store, clock, put } = await createStore();
      await put({ ...item, ttlMinutes: 1 });
      clock.advance(MINUTE_MS);
      await put({ ...item, ttlMinutes: null });
      expect((await store.get(["a"], "k"))?.createdAt).toEqual(new Date(clock.now()));
    });

    it("comes from the configuration unless the put names one, or none", async () => {
      const { store, clock, put, find } = await createStore({ defaultTtlMinutes: 10, refreshOnRead: false });
      await store.put(["a"], "default", {});
      await put({ ...item, key: "longer", ttlMinutes: 20 });
      await put({ ...item, key: "for ever", ttlMinutes: null });
      clock.advance(10 * MINUTE_MS);
      expect((await find({ namespacePrefix: [] })).sort()).toEqual(["for ever", "longer"]);
      clock.advance(10 * MINUTE_MS);
      expect(await find({ namespacePrefix: [] })).toEqual(["for ever"]);
    });

    it("begins anew with each put", async () => {
      const { store, clock, put } = await createStore({ refreshOnRead: false });
      await put({ ...item, ttlMinutes: 2 });
      clock.advance(MINUTE_MS);
      await put({ ...item, ttlMinutes: 2 });
      clock.advance(1.5 * MINUTE_MS);
      expect(await store.get(["a"], "k")).not.toBeNull();
      await store.put(["a"], "k", {}); // no default: from now on it stays
      clock.advance(1_000 * MINUTE_MS);
      expect(await store.get(["a"], "k")).not.toBeNull();
    });

    it.each([
      ["the configuration says so", true, undefined, true],
      ["the configuration does not", false, undefined, false],
      ["the read asks for it", false, true, true],
      ["the read declines it", true, false, false],
    ])("is moved by reads when %s", async (_, refreshOnRead, refreshTtl, moved) => {
      for (const read of [get(refreshTtl), { namespacePrefix: ["a"], refreshTtl } satisfies SearchItems]) {
        const { store, clock, put } = await createStore({ refreshOnRead });
        await put({ ...item, ttlMinutes: 2 });
        const updatedAt = new Date(clock.now());
        clock.advance(MINUTE_MS);
        await store.batch([read]);
        clock.advance(MINUTE_MS);
        const [found] = await store.batch([get(false)]);
        expect(found !== null).toBe(moved);
        if (moved) expect(found?.updatedAt).toEqual(updatedAt);
      }
    });

    it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("of %d minutes is refused", async (ttlMinutes) => {
      const { put } = await createStore();
      await expect(put({ ...item, ttlMinutes })).rejects.toThrow("ttl");
    });

    it("of ages is no trouble", async () => {
      const { store, put } = await createStore();
      await put({ ...item, ttlMinutes: Number.MAX_VALUE });
      expect(await store.get(["a"], "k")).not.toBeNull();
    });
  });

  describe("the sweep", () => {
    async function expired(count: number) {
      const created = await createStore({ defaultTtlMinutes: 1, sweepIntervalMinutes: 5, refreshOnRead: false });
      await created.store.batch(
        Array.from({ length: count }, (_, n): Operation => ({ namespace: ["a"], key: `k${n}`, value: {} })),
      );
      await created.put({ namespace: ["a"], key: "stays", value: {}, ttlMinutes: null });
      return created;
    }

    it("deletes expired items, and only those, once per interval", async () => {
      const { sql, store, clock, rowCount } = await expired(3);
      sql.start();
      sql.start();
      expect(clock.pending()).toBe(1);
      clock.advance(5 * MINUTE_MS);
      await vi.waitFor(() => expect(clock.pending()).toBe(1));
      expect(await rowCount()).toBe(1);
      await store.put(["a"], "later", {});
      clock.advance(5 * MINUTE_MS);
      await vi.waitFor(() => expect(clock.pending()).toBe(1));
      expect(await rowCount()).toBe(1);
    });

    it("takes many in several goes", async () => {
      const { sql, clock, rowCount } = await expired(1_500);
      sql.start();
      clock.advance(5 * MINUTE_MS);
      await vi.waitFor(() => expect(clock.pending()).toBe(1));
      expect(await rowCount()).toBe(501);
      clock.advance(0);
      await vi.waitFor(() => expect(clock.pending()).toBe(1));
      expect(await rowCount()).toBe(1);
    });

    it("goes on after a failure", async () => {
      const { sql, clock, opened, rowCount } = await expired(1);
      const allow = await opened.refuse("DELETE", "items");
      sql.start();
      clock.advance(5 * MINUTE_MS);
      await vi.waitFor(() => expect(clock.pending()).toBe(1));
      await allow();
      expect(await rowCount()).toBe(2);
      clock.advance(5 * MINUTE_MS);
      await vi.waitFor(() => expect(clock.pending()).toBe(1));
      expect(await rowCount()).toBe(1);
    });

    it("ends with stop, which awaits the one under way", async () => {
      const { sql, clock, rowCount } = await expired(1);
      sql.start();
      clock.advance(5 * MINUTE_MS);
      await sql.stop();
      expect(await rowCount()).toBe(1);
      expect(clock.pending()).toBe(0);
      sql.start();
      expect(clock.pending()).toBe(1);
    });
  });

  describe("next to LangGraph's InMemoryStore", () => {
    // Where the two agree: labels that are no prefix of each other, scalars that need no coercion, namespaces with items.
    const name = fc.constantFrom("a", "b", "c");
    const namespace = fc.array(name, { minLength: 1, maxLength: 3 });
    const number = fc.integer({ min: -3, max: 3 });
    const value = fc.record({ n: number, s: fc.constantFrom("x", "y"), b: fc.boolean() }, { requiredKeys: [] });
    const filter = fc.record(
      {
        n: fc.oneof(
          number,
          fc.dictionary(fc.constantFrom("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"), number, {
            minKeys: 1,
            maxKeys: 2,
          }),
          fc.dictionary(fc.constantFrom("$in", "$nin"), fc.array(number), { minKeys: 1 }),
        ),
        s: fc.constantFrom("x", "y"),
        b: fc.oneof(fc.boolean(), fc.record({ $ne: fc.boolean() })),
      },
      { requiredKeys: [] },
    );
    const path = fc.array(fc.oneof(name, fc.constant("*")), { maxLength: 3 });
    const page = { limit: fc.constantFrom(1, 3, 100), offset: fc.nat(2) };
    const operation = fc.oneof(
      fc.record({ do: fc.constant("put" as const), namespace, key: name, value }),
      fc.record({ do: fc.constant("put" as const), namespace, key: name, value }),
      fc.record({ do: fc.constant("delete" as const), namespace, key: name }),
      fc.record({ do: fc.constant("get" as const), namespace, key: name }),
      fc.record({ do: fc.constant("search" as const), prefix: fc.array(name, { maxLength: 2 }), filter }),
      fc.record({
        do: fc.constant("list" as const),
        options: fc.record(
          { prefix: path, suffix: path, maxDepth: fc.integer({ min: 1, max: 3 }), ...page },
          { requiredKeys: [] },
        ),
      }),
    );
    type Step = typeof operation extends fc.Arbitrary<infer T> ? T : never;

    async function answer(store: BaseStore, step: Step): Promise<unknown> {
      switch (step.do) {
        case "put":
          return store.put(step.namespace, step.key, step.value);
        case "delete":
          return store.delete(step.namespace, step.key);
        case "get":
          return bare(await store.get(step.namespace, step.key));
        case "search": {
          const found = await store.search(step.prefix, { filter: step.filter, limit: 1_000 });
          return found.map((item) => JSON.stringify(bare(item))).sort();
        }
        case "list":
          return store.listNamespaces(step.options);
      }
    }

    const bare = (item: SearchItem | null) => item && { namespace: item.namespace, key: item.key, value: item.value };

    /** InMemoryStore lists a namespace for ever; ours as long as it has items. */
    async function withoutEmptyNamespaces(store: InMemoryStore): Promise<InMemoryStore> {
      const copy = new InMemoryStore();
      for (const item of await store.search([], { limit: 1_000 })) await copy.put(item.namespace, item.key, item.value);
      return copy;
    }

    it("answers any sequence of operations the same", async () => {
      const clock = createFakeClock();
      const { database, close } = await openDatabase(clock);
      cleanups.push(close);
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 40 }), async (steps) => {
          await database.deleteFrom("items").execute();
          const sql = new SqlStore({
            database,
            clock,
            log: silentLog,
            ttl: NO_TTL,
            maxBytesPerBatch: 1e9,
            index: null,
          });
          const ours = reach(sql);
          let theirs = new InMemoryStore();
          for (const step of steps) {
            if (step.do === "list") theirs = await withoutEmptyNamespaces(theirs);
            expect(await answer(ours, step)).toEqual(await answer(theirs, step));
          }
        }),
        { numRuns: ON_POSTGRES ? 15 : 150 },
      );
    });
  });

  describe("in a graph", () => {
    it("nodes write, read and search it through LangGraph's own batching", async () => {
      const { store } = await createStore();
      const State = Annotation.Root({ user: Annotation<string>, seen: Annotation<string[]> });
      const remember = async (state: typeof State.State, config: LangGraphRunnableConfig) => {
        await Promise.all([
          config.store?.put(["memories", state.user], "tea", { likes: "tea", strength: 3 }),
          config.store?.put(["memories", state.user], "rain", { likes: "rain", strength: 1 }),
        ]);
        return {};
      };
      const recall = async (state: typeof State.State, config: LangGraphRunnableConfig) => {
        const strong = await config.store?.search(["memories", state.user], { filter: { strength: { $gt: 2 } } });
        const rain = await config.store?.get(["memories", state.user], "rain");
        return { seen: [...(strong ?? []).map(({ value }) => String(value.likes)), String(rain?.value.likes)] };
      };
      const graph = new StateGraph(State)
        .addNode("remember", remember)
        .addNode("recall", recall)
        .addEdge(START, "remember")
        .addEdge("remember", "recall")
        .addEdge("recall", END)
        .compile({ store });
      await store.put(["memories", "u2"], "tea", { likes: "secret", strength: 9 });
      expect(await graph.invoke({ user: "u1" })).toMatchObject({ seen: ["tea", "rain"] });
      expect(await store.listNamespaces({ prefix: ["memories"] })).toEqual([
        ["memories", "u1"],
        ["memories", "u2"],
      ]);
    });
  });
});
