/** What `SqlAssistantStore` promises to the assistants of the HTTP API. */

import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/core/model.js";
import type { AssistantFilter } from "../../src/storage/ports/assistants.js";
import type { PageQuery } from "../../src/storage/ports/page.js";
import { HOSTILE_STRINGS, newAssistant, openSqlStores, type SqlStores } from "../support/sql-stores.js";

type SortColumn = Parameters<SqlStores["assistants"]["search"]>[1]["sortBy"];

function page(query: Partial<PageQuery<SortColumn>> = {}): PageQuery<SortColumn> {
  return { limit: 100, offset: 0, maxBytes: 1e9, sortBy: "assistant_id", sortOrder: "asc", ...query };
}

async function idsOf(stores: SqlStores, filter: AssistantFilter, query: Partial<PageQuery<SortColumn>> = {}) {
  const found = await stores.assistants.search(filter, page(query));
  expect(await stores.assistants.count(filter)).toBe(found.total);
  return found.rows.map((assistant) => assistant.assistantId);
}

describe("an assistant", () => {
  const draft = newAssistant({
    name: "Writer",
    description: "writes",
    config: { tags: ["a"], recursion_limit: 7, configurable: { model: "m" } },
    context: { user: [1, null] },
    metadata: { team: "x", nested: { a: 1 } },
  });

  it("comes back as it was created, as version 1", async () => {
    const { assistants, clock } = await openSqlStores();
    const created = await assistants.create(draft);
    expect(created).toEqual({ ...draft, version: 1, createdAt: clock.now(), updatedAt: clock.now() });
    expect(await assistants.get("a1")).toEqual(created);
    expect(await assistants.get("a2")).toBeUndefined();
  });

  it("is not created twice", async () => {
    const { assistants } = await openSqlStores();
    await assistants.create(draft);
    expect(await assistants.create(newAssistant({ name: "Other" }))).toBeUndefined();
    expect((await assistants.get("a1"))?.name).toBe("Writer");
    expect(await assistants.versions("a1", { limit: 10, offset: 0, maxBytes: 1e9 })).toHaveLength(1);
  });

  it("keeps any text and any JSON", async () => {
    const { assistants } = await openSqlStores();
    for (const [index, text] of HOSTILE_STRINGS.entries()) {
      const value = JSON.parse(`{${JSON.stringify(text)}:[${JSON.stringify(text)}]}`) as JsonObject;
      const assistant = newAssistant({
        assistantId: `a${index}`,
        name: text,
        description: text,
        config: { configurable: value },
        context: value,
        metadata: value,
      });
      await assistants.create(assistant);
      const found = await assistants.patch(`a${index}`, { metadata: value });
      expect(JSON.stringify(found)).toContain(JSON.stringify(value));
      expect(await assistants.get(`a${index}`)).toMatchObject({ name: text, description: text });
      expect(JSON.stringify(await assistants.get(`a${index}`))).toBe(JSON.stringify(found));
      expect((await assistants.search({ metadata: value }, page())).rows.map((row) => row.name)).toEqual([text]);
    }
  });

  it.each<Json>([null, 0, "", [], { a: null }])("keeps the context %j", async (context) => {
    const { assistants } = await openSqlStores();
    await assistants.create(newAssistant({ context }));
    expect((await assistants.get("a1"))?.context).toEqual(context);
  });

  it("goes with all its versions", async () => {
    const stores = await openSqlStores();
    const { assistants } = stores;
    await assistants.create(draft);
    await assistants.patch("a1", { name: "B" });
    expect(await assistants.remove("a1")).toBe(true);
    expect(await assistants.remove("a1")).toBe(false);
    expect(await assistants.get("a1")).toBeUndefined();
    expect(await assistants.versions("a1", { limit: 10, offset: 0, maxBytes: 1e9 })).toBeUndefined();
    expect(await stores.column("SELECT count(*) FROM assistant_versions")).toEqual([0]);
  });
});

describe("a patch", () => {
  it("makes a new current version that differs in what it names, metadata merged shallowly", async () => {
    const { assistants, clock } = await openSqlStores();
    const created = await assistants.create(newAssistant({ description: "d", metadata: { a: { x: 1 }, b: 1 } }));
    clock.advance(5);
    const patched = await assistants.patch("a1", { name: "New", description: null, metadata: { a: { y: 2 } } });
    expect(patched).toEqual({
      ...created,
      name: "New",
      description: null,
      metadata: { a: { y: 2 }, b: 1 },
      version: 2,
      updatedAt: clock.now(),
    });
    expect(await assistants.get("a1")).toEqual(patched);
    expect(await assistants.patch("nope", { name: "x" })).toBeUndefined();
  });

  it("leaves alone what is undefined", async () => {
    const { assistants } = await openSqlStores();
    await assistants.create(newAssistant({ name: "Keep", context: { a: 1 } }));
    const change = { name: undefined, context: undefined, graphId: "g2" } as unknown as { readonly graphId: string };
    expect(await assistants.patch("a1", change)).toMatchObject({ name: "Keep", context: { a: 1 }, graphId: "g2" });
  });

  it("counts on from the newest version, also after going back to an older one", async () => {
    const { assistants } = await openSqlStores();
    await assistants.create(newAssistant({ name: "one" }));
    await assistants.patch("a1", { name: "two" });
    await assistants.setLatest("a1", 1);
    expect(await assistants.patch("a1", { graphId: "g2" })).toMatchObject({ version: 3, name: "one", graphId: "g2" });
  });

  it("gives concurrent patches a version each", async () => {
    const { assistants } = await openSqlStores();
    await assistants.create(newAssistant());
    const patched = await Promise.all(
      Array.from({ length: 20 }, (_, index) => assistants.patch("a1", { metadata: { [`k${index}`]: index } })),
    );
    expect(new Set(patched.map((assistant) => assistant?.version)).size).toBe(20);
    expect(Object.keys((await assistants.get("a1"))?.metadata ?? {})).toHaveLength(20);
  });
});

describe("versions", () => {
  it("are listed newest first, by page and by what their metadata holds", async () => {
    const { assistants, clock } = await openSqlStores();
    await assistants.create(newAssistant({ name: "one", metadata: { stage: "draft" } }));
    clock.advance(5);
    await assistants.patch("a1", { name: "two", metadata: { stage: "live" } });
    await assistants.patch("a1", { name: "three", metadata: { stage: "draft" } });
    const names = async (query: Parameters<typeof assistants.versions>[1]) =>
      (await assistants.versions("a1", query))?.map((version) => version.name);
    expect(await names({ limit: 10, offset: 0, maxBytes: 1e9 })).toEqual(["three", "two", "one"]);
    expect(await names({ limit: 1, offset: 1, maxBytes: 1e9 })).toEqual(["two"]);
    expect(await names({ limit: 10, offset: 0, maxBytes: 1e9, metadata: { stage: "draft" } })).toEqual([
      "three",
      "one",
    ]);
    expect(await names({ limit: 10, offset: 0, maxBytes: 1e9, metadata: {} })).toHaveLength(3);
    expect(await assistants.versions("nope", { limit: 10, offset: 0, maxBytes: 1e9 })).toBeUndefined();
  });

  it("can be made current again, whole, without a new one", async () => {
    const { assistants } = await openSqlStores();
    const first = newAssistant({ name: "one", description: "d", graphId: "g1", context: { c: 1 }, metadata: { m: 1 } });
    await assistants.create(first);
    await assistants.patch("a1", { name: "two", description: null, graphId: "g2", context: {}, metadata: { m: 2 } });
    expect(await assistants.setLatest("a1", 1)).toMatchObject({ ...first, version: 1 });
    expect(await assistants.get("a1")).toMatchObject({ ...first, version: 1 });
    expect(await assistants.versions("a1", { limit: 10, offset: 0, maxBytes: 1e9 })).toHaveLength(2);
    expect(await assistants.setLatest("a1", 3)).toBeUndefined();
    expect(await assistants.setLatest("nope", 1)).toBeUndefined();
  });
});

describe("a page of assistants or of versions", () => {
  it("that takes more than it may is refused with the limit that fits, but never a single row", async () => {
    const { assistants } = await openSqlStores();
    const context = { text: "x".repeat(1_000) };
    for (const assistantId of ["a", "b", "c"]) await assistants.create(newAssistant({ assistantId, context }));
    for (const name of ["second", "third"]) await assistants.patch("a", { name });
    const refused = { code: "validation", details: { limit: 2 } };
    const limits = { limit: 3, offset: 0, maxBytes: 2_900 };
    await expect(assistants.search({}, page(limits))).rejects.toMatchObject(refused);
    await expect(assistants.versions("a", limits)).rejects.toMatchObject(refused);
    const ids = async (query: typeof limits) =>
      (await assistants.search({}, page(query))).rows.map(({ assistantId }) => assistantId);
    expect(await ids({ ...limits, limit: 2 })).toEqual(["a", "b"]);
    expect(await ids({ ...limits, limit: 1, maxBytes: 1 })).toEqual(["a"]);
    expect((await assistants.versions("a", { ...limits, limit: 2 }))?.map(({ version }) => version)).toEqual([3, 2]);
  });
});

describe("a search", () => {
  const fill = async ({ assistants, clock }: SqlStores) => {
    const add = async (assistantId: string, name: string, graphId: string, metadata: JsonObject) => {
      await assistants.create(newAssistant({ assistantId, name, graphId, metadata }));
      clock.advance(1);
    };
    await add("a", "Agent", "g2", { team: "x", list: [1, 2] });
    await add("b", "agent 100%", "g1", { team: "y" });
    await add("c", "ÄRGER_\n", "g1", { team: "x" });
    await assistants.patch("a", { metadata: { patched: true } });
  };

  it.each<[string, AssistantFilter, string[]]>([
    ["nothing", {}, ["a", "b", "c"]],
    ["graph", { graphId: "g1" }, ["b", "c"]],
    ["metadata", { metadata: { team: "x" } }, ["a", "c"]],
    ["nested metadata of the current version", { metadata: { list: [2], patched: true } }, ["a"]],
    ["name in any case", { name: "AGENT" }, ["a", "b"]],
    ["name beyond ASCII in any case", { name: "ärger" }, ["c"]],
    ["a percent sign, which is no wildcard", { name: "%" }, ["b"]],
    ["an underscore, which is no wildcard", { name: "r_" }, ["c"]],
    ["a letter that stands in an escape", { name: "n\\" }, []],
    ["a line break", { name: "\n" }, ["c"]],
    ["a lone surrogate", { name: "\ud800" }, []],
    ["an empty name and metadata", { name: "", metadata: {} }, ["a", "b", "c"]],
    ["everything at once", { name: "agent", graphId: "g2", metadata: { team: "x" } }, ["a"]],
  ])("by %s", async (_name, filter, expected) => {
    const stores = await openSqlStores();
    await fill(stores);
    expect(await idsOf(stores, filter)).toEqual(expected);
  });

  it.each<[SortColumn, "asc" | "desc", string[]]>([
    ["assistant_id", "desc", ["c", "b", "a"]],
    ["graph_id", "asc", ["b", "c", "a"]],
    ["graph_id", "desc", ["a", "c", "b"]],
    ["name", "asc", ["a", "b", "c"]],
    ["created_at", "desc", ["c", "b", "a"]],
    ["updated_at", "desc", ["a", "c", "b"]],
  ])("sorts by %s %s", async (sortBy, sortOrder, expected) => {
    const stores = await openSqlStores();
    await fill(stores);
    expect(await idsOf(stores, {}, { sortBy, sortOrder })).toEqual(expected);
  });

  it("pages through all, and tells the total", async () => {
    const stores = await openSqlStores();
    await fill(stores);
    const found = await stores.assistants.search({ graphId: "g1" }, page({ limit: 1, offset: 1 }));
    expect([found.rows.map((row) => row.assistantId), found.total]).toEqual([["c"], 2]);
    expect(await stores.assistants.search({}, page({ offset: 5 }))).toEqual({ rows: [], total: 3 });
  });
});
