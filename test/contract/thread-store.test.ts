/** What `SqlThreadStore` promises to the thread service and the HTTP API. */

import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import type { PageQuery } from "../../src/storage/ports/page.js";
import type { ThreadFilter } from "../../src/storage/ports/threads.js";
import {
  admission,
  admitAndClaim,
  HOSTILE_STRINGS,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  projection,
  reservation,
  type SqlStores,
} from "../support/sql-stores.js";
import { onSqlite } from "../support/test-database.js";

type SortColumn = Parameters<SqlStores["threads"]["search"]>[1]["sortBy"];

function page(query: Partial<PageQuery<SortColumn>> = {}): PageQuery<SortColumn> {
  return { limit: 100, offset: 0, maxBytes: 1e9, sortBy: "thread_id", sortOrder: "asc", ...query };
}

async function idsOf({ threads }: SqlStores, filter: ThreadFilter, query: Partial<PageQuery<SortColumn>> = {}) {
  const found = await threads.search(filter, page(query), { withValues: false });
  expect(await threads.count(filter)).toBe(found.total);
  return found.rows.map((thread) => thread.threadId);
}

describe("a thread", () => {
  it("comes back as it was created", async () => {
    const { threads, clock } = await openSqlStores();
    const created = await threads.create(
      newThread({ metadata: { a: [1, { b: null }] }, ttl: { strategy: "keep_latest", ttlMinutes: 0.5 } }),
    );
    expect(created).toEqual({
      threadId: "t1",
      createdAt: clock.now(),
      updatedAt: clock.now(),
      stateUpdatedAt: null,
      metadata: { a: [1, { b: null }] },
      config: {},
      status: "idle",
      interrupts: {},
      error: null,
      ttl: { strategy: "keep_latest", ttlMinutes: 0.5, expiresAt: clock.now() + 30_000 },
    });
    expect(await threads.get("t1")).toEqual({ ...created, valuesJson: null });
    expect(await threads.find("t1")).toEqual(created);
  });

  it("is not created twice", async () => {
    const { threads } = await openSqlStores();
    await threads.create(newThread({ metadata: { first: true } }));
    expect(await threads.create(newThread({ metadata: { second: true } }))).toBeUndefined();
    expect((await threads.get("t1"))?.metadata).toEqual({ first: true });
    expect(await threads.count({ metadata: { second: true } })).toBe(0);
  });

  it("merges metadata shallowly and keeps its ttl unless given a new one", async () => {
    const { threads, clock } = await openSqlStores();
    await threads.create(newThread({ metadata: { a: { x: 1 }, b: 1 }, ttl: { strategy: "delete", ttlMinutes: 1 } }));
    const expiresAt = clock.now() + 60_000;
    clock.advance(10);
    const patched = await threads.patch("t1", { metadata: { a: { y: 2 }, c: null } });
    expect(patched).toMatchObject({ metadata: { b: 1, c: null }, updatedAt: clock.now(), ttl: { expiresAt } });
    expect(patched?.metadata.a).toEqual({ y: 2 });
    expect(await threads.patch("t1", { ttl: { strategy: "keep_latest", ttlMinutes: 2 } })).toMatchObject({
      ttl: { strategy: "keep_latest", ttlMinutes: 2, expiresAt: clock.now() + 120_000 },
    });
    const cleared = await threads.patch("t1", { ttl: null });
    expect(cleared?.ttl).toBeNull();
    expect(await threads.get("t1")).toEqual({ ...cleared, valuesJson: null });
    expect(await threads.patch("t2", { metadata: {} })).toBeUndefined();
  });

  it("keeps any text in its metadata and is found by it, and by nothing else", async () => {
    const stores = await openSqlStores();
    for (const [index, text] of HOSTILE_STRINGS.entries()) {
      const metadata = JSON.parse(`{${JSON.stringify(text)}:${JSON.stringify(text)}}`) as JsonObject;
      await stores.threads.create(newThread({ threadId: `t${index}`, metadata: {} }));
      const patched = await stores.threads.patch(`t${index}`, { metadata });
      expect(JSON.stringify(patched?.metadata)).toBe(JSON.stringify(metadata));
      expect(await idsOf(stores, { metadata })).toEqual([`t${index}`]);
      expect(JSON.stringify((await stores.threads.get(`t${index}`))?.metadata)).toBe(JSON.stringify(metadata));
    }
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it("with thousands of metadata keys is stored, changed and found", async () => {
    const stores = await openSqlStores();
    const many = (value: number) => Object.fromEntries(Array.from({ length: 5_000 }, (_, key) => [`k${key}`, value]));
    await stores.threads.create(newThread({ metadata: many(1) }));
    await stores.threads.patch("t1", { metadata: many(2) });
    expect(await idsOf(stores, { metadata: many(2) })).toEqual(["t1"]);
    expect(await idsOf(stores, { metadata: { ...many(2), k4999: 1 } })).toEqual([]);
  });
});

describe("a thread that is being deleted", () => {
  it("is gone for everybody but the deletion", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await threads.create(newThread({ metadata: { a: 1 } }));
    await threads.create(newThread({ threadId: "t2" }));
    expect(await threads.markDeleting("t1")).toBe(true);
    const dump = await stores.dumpThread("t1");
    expect(await threads.markDeleting("t1")).toBe(false);
    expect(await threads.markDeleting("nope")).toBe(false);
    expect(await threads.get("t1")).toBeUndefined();
    expect(await threads.find("t1")).toBeUndefined();
    expect(await threads.patch("t1", { metadata: { b: 1 } })).toBeUndefined();
    expect(await threads.reserve("t1", reservation("x"))).toBe("missing");
    await threads.saveProjection("t1", projection());
    expect(await idsOf(stores, {})).toEqual(["t2"]);
    expect(await idsOf(stores, { ids: ["t1"], metadata: { a: 1 } })).toEqual([]);
    expect(await threads.listDeleting()).toEqual(["t1"]);
    expect(await stores.dumpThread("t1")).toBe(dump);
  });

  it("leaves no row behind, and its id is free again", async () => {
    const stores = await openSqlStores();
    const { threads, runs } = stores;
    await threads.create(newThread({ metadata: { a: 1 } }));
    await runs.finish(leaseOf(await admitAndClaim(stores, "r1")), outcome());
    await runs.admit(admission({ runId: "r2" }));
    await threads.markDeleting("t1");
    await threads.remove("t1");
    for (const table of ["threads", "thread_values", "thread_terms", "runs"]) {
      expect(await stores.column(`SELECT count(*) FROM ${table}`)).toEqual([0]);
    }
    expect(await threads.create(newThread())).toBeDefined();
  });

  it("cannot be brought back by a worker that was still at it", async () => {
    const stores = await openSqlStores();
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    await stores.threads.markDeleting("t1");
    await stores.threads.remove("t1");
    expect(await stores.runs.finish(lease, outcome())).toBe(false);
    expect(await stores.dumpThread("t1")).toBe("[[],[],[]]");
  });
});

describe("a thread that is prepared", () => {
  it("is seen by nobody until it is revealed, and removed by a start that comes before", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await threads.prepare(newThread({ metadata: { a: 1 } }), reservation("copier"));
    expect(await threads.get("t1")).toBeUndefined();
    expect(await idsOf(stores, { metadata: { a: 1 } })).toEqual([]);
    expect(await threads.listDeleting()).toEqual(["t1"]);
    expect(await threads.reveal("t1", "another", null)).toBe(false);
    expect(await threads.reveal("t1", "copier", projection({ valuesJson: '{"n":1}', next: ["node"] }))).toBe(true);
    expect(await threads.get("t1")).toMatchObject({ status: "interrupted", valuesJson: '{"n":1}' });
    expect(await idsOf(stores, { metadata: { a: 1 } })).toEqual(["t1"]);
    expect(await threads.listDeleting()).toEqual([]);
    await threads.prepare(newThread({ threadId: "t2" }), reservation("copier"));
    expect(await threads.reveal("t2", "copier", null)).toBe(true);
    expect(await threads.get("t2")).toMatchObject({ status: "idle", valuesJson: null, stateUpdatedAt: null });
    await expect(threads.prepare(newThread(), reservation("copier"))).rejects.toThrow("t1 exists already");
  });
});

describe("a reservation", () => {
  it("is refused while a run is in flight, and while somebody else holds it", async () => {
    const stores = await openSqlStores();
    const { threads, runs } = stores;
    expect(await threads.reserve("t1", reservation("a"))).toBe("missing");
    await threads.create(newThread());
    expect(await threads.reserve("t1", reservation("a"))).toBe("reserved");
    expect(await threads.reserve("t1", reservation("b"))).toBe("busy");
    await threads.release("t1", "b"); // not its to give back
    expect(await threads.reserve("t1", reservation("b"))).toBe("busy");
    await threads.release("t1", "a");
    await runs.admit(admission({ runId: "pending" }));
    expect(await threads.reserve("t1", reservation("b"))).toBe("busy");
    await runs.requestCancel("t1", "pending", "interrupt");
    const lease = leaseOf(await admitAndClaim(stores, "running"));
    expect(await threads.reserve("t1", reservation("b"))).toBe("busy");
    await runs.finish(lease, outcome());
    expect(await threads.reserve("t1", reservation("b"))).toBe("reserved");
  });

  it("is won by one of many at a time", async () => {
    const { threads } = await openSqlStores();
    await threads.create(newThread());
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => threads.reserve("t1", reservation(`o${index}`))),
    );
    expect(answers.filter((answer) => answer === "reserved")).toHaveLength(1);
  });
});

describe("a projection that is saved outside of runs", () => {
  it("mirrors the state, names the graph and clears the error of the last run", async () => {
    const stores = await openSqlStores();
    const { threads, runs, clock } = stores;
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    await runs.finish(lease, outcome({ status: "error", error: { error: "E", message: "m" } }));
    clock.advance(5);
    const interrupts = { task: [{ id: "i1", value: "ok?" }] };
    await threads.saveProjection("t1", projection({ interrupts, valuesJson: '{"n":2}' }), { graphId: "g2" });
    expect(await threads.get("t1")).toMatchObject({
      status: "interrupted",
      interrupts,
      error: null,
      valuesJson: '{"n":2}',
      metadata: { graph_id: "g2", assistant_id: "a1" },
      updatedAt: clock.now(),
      stateUpdatedAt: clock.now(),
    });
    expect(await idsOf(stores, { metadata: { graph_id: "g2" } })).toEqual(["t1"]);
    await threads.saveProjection("t1", projection({ valuesJson: null }));
    expect(await threads.get("t1")).toMatchObject({ status: "idle", interrupts: {}, valuesJson: null });
  });

  it("changes nothing that the thread shows already, when it only catches up", async () => {
    const stores = await openSqlStores();
    const { threads, runs } = stores;
    const shown = projection({ valuesJson: '{"n":1}' });
    const failed = outcome({ status: "error", error: { error: "E", message: "m" }, projection: shown });
    await runs.finish(leaseOf(await admitAndClaim(stores, "r1")), failed);
    const before = await stores.dumpThread("t1");
    await threads.catchUp("t1", shown);
    expect(await stores.dumpThread("t1")).toBe(before);
    await threads.catchUp("t1", { ...shown, next: ["node"] });
    expect(await threads.get("t1")).toMatchObject({ status: "interrupted", error: null });
    await threads.catchUp("nope", shown);
    expect(await idsOf(stores, {})).toEqual(["t1"]);
  });

  it("leaves a thread busy that a run waits for", async () => {
    const { threads, runs } = await openSqlStores();
    await threads.create(newThread());
    await threads.reserve("t1", reservation("x"));
    await runs.admit(admission({ runId: "r1" }));
    await threads.saveProjection("t1", projection());
    expect((await threads.get("t1"))?.status).toBe("busy");
  });
});

describe("a search", () => {
  const fill = async (stores: SqlStores) => {
    const { threads, clock } = stores;
    await threads.create(
      newThread({ threadId: "a", metadata: { user: "u1", n: 1, tags: ["x", "y"], deep: { k: 1 } } }),
    );
    clock.advance(1);
    await threads.create(newThread({ threadId: "b", metadata: { user: "u1", n: "1", tags: ["y"], deep: { k: 2 } } }));
    clock.advance(1);
    await threads.create(newThread({ threadId: "c", metadata: { user: "u2", n: null, deep: { k: 1, l: 2 } } }));
    clock.advance(1);
    await threads.saveProjection("b", projection({ valuesJson: '{"topic":"cats","list":[{"id":1},{"id":2}]}' }));
    clock.advance(1);
    await threads.saveProjection("c", projection({ valuesJson: '{"topic":"dogs"}', next: ["node"] }));
  };

  it.each<[string, ThreadFilter, string[]]>([
    ["nothing", {}, ["a", "b", "c"]],
    ["a scalar", { metadata: { user: "u1" } }, ["a", "b"]],
    ["a number, not its text", { metadata: { n: 1 } }, ["a"]],
    ["null, not a missing key", { metadata: { n: null } }, ["c"]],
    ["several scalars", { metadata: { user: "u1", n: "1" } }, ["b"]],
    ["a part of an object", { metadata: { deep: { k: 1 } } }, ["a", "c"]],
    ["a part of a list", { metadata: { tags: ["y"] } }, ["a", "b"]],
    ["scalar and nested together", { metadata: { user: "u1", tags: ["x"] } }, ["a"]],
    ["an empty metadata filter", { metadata: {} }, ["a", "b", "c"]],
    ["an unknown key", { metadata: { nope: 1 } }, []],
    ["a pattern is no pattern", { metadata: { user: "u_" } }, []],
    ["values", { values: { topic: "cats" } }, ["b"]],
    ["nested values", { values: { list: [{ id: 2 }] } }, ["b"]],
    ["an empty values filter", { values: {} }, ["a", "b", "c"]],
    ["status", { status: "interrupted" }, ["c"]],
    ["ids", { ids: ["c", "a", "zzz"] }, ["a", "c"]],
    ["no ids at all", { ids: [] }, []],
    [
      "everything at once",
      { ids: ["b", "c"], metadata: { user: "u1" }, values: { topic: "cats" }, status: "idle" },
      ["b"],
    ],
    ["conditions that exclude each other", { ids: ["c"], metadata: { user: "u1" } }, []],
  ])("by %s", async (_name, filter, expected) => {
    const stores = await openSqlStores();
    await fill(stores);
    expect(await idsOf(stores, filter)).toEqual(expected);
  });

  it.each<[SortColumn, "asc" | "desc", string[]]>([
    ["thread_id", "desc", ["c", "b", "a"]],
    ["created_at", "asc", ["a", "b", "c"]],
    ["updated_at", "desc", ["c", "b", "a"]],
    ["state_updated_at", "asc", ["a", "b", "c"]],
    ["state_updated_at", "desc", ["c", "b", "a"]],
    ["status", "asc", ["a", "b", "c"]],
  ])("sorts by %s %s", async (sortBy, sortOrder, expected) => {
    const stores = await openSqlStores();
    await fill(stores);
    expect(await idsOf(stores, {}, { sortBy, sortOrder })).toEqual(expected);
  });

  it("breaks ties by thread id, so that pages neither repeat nor lose a thread", async () => {
    const stores = await openSqlStores();
    for (const threadId of ["e", "b", "d", "a", "c"]) await stores.threads.create(newThread({ threadId }));
    for (const filter of [{}, { ids: ["a", "b", "c", "d", "e"] }]) {
      const pages = [];
      for (const offset of [0, 2, 4, 6]) {
        pages.push(await idsOf(stores, filter, { sortBy: "updated_at", sortOrder: "desc", limit: 2, offset }));
      }
      expect(pages).toEqual([["e", "d"], ["c", "b"], ["a"], []]);
    }
  });

  it("tells the total of all pages", async () => {
    const stores = await openSqlStores();
    await fill(stores);
    const found = await stores.threads.search({}, page({ limit: 1, offset: 1 }), { withValues: false });
    expect([found.rows.length, found.total]).toEqual([1, 3]);
    expect((await stores.threads.search({}, page({ offset: 9 }), { withValues: false })).total).toBe(3);
  });

  it("brings values only when they are asked for", async () => {
    const stores = await openSqlStores();
    await fill(stores);
    const values = async (withValues: boolean) =>
      (await stores.threads.search({}, page(), { withValues })).rows.map((thread) => thread.valuesJson);
    expect(await values(true)).toEqual([null, '{"topic":"cats","list":[{"id":1},{"id":2}]}', '{"topic":"dogs"}']);
    expect(await values(false)).toEqual([null, null, null]);
  });

  it("refuses a page that takes more than it may before it reads any of it, but never a single thread", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    const valuesJson = JSON.stringify("x".repeat(1_000));
    for (const threadId of ["a", "b", "c"]) {
      await threads.create(newThread({ threadId }));
      await threads.saveProjection(threadId, projection({ valuesJson }));
    }
    const maxBytes = 2_900;
    const statements = await stores.statementsOf(async () => {
      const found = threads.search({}, page({ maxBytes }), { withValues: true });
      await expect(found).rejects.toMatchObject({ code: "validation", details: { limit: 2 } });
    });
    expect(statements.filter((statement) => /select [^(]*"values"/.test(statement))).toEqual([]);
    const rowsOf = async (query: Partial<PageQuery<SortColumn>>, withValues: boolean) =>
      (await threads.search({}, page(query), { withValues })).rows.map((row) => [row.threadId, row.valuesJson]);
    const two = { limit: 2, maxBytes, sortOrder: "desc" } as const;
    expect(await rowsOf(two, true)).toEqual(["c", "b"].map((id) => [id, valuesJson]));
    expect(await rowsOf({ limit: 1, maxBytes: 1 }, true)).toEqual([["a", valuesJson]]);
    expect(await rowsOf({ maxBytes }, false)).toEqual(["a", "b", "c"].map((id) => [id, null]));
    expect(await threads.listIds({}, 2)).toHaveLength(2);
  });

  it("tells long texts apart that the index cannot", async () => {
    const stores = await openSqlStores();
    const long = "x".repeat(600);
    await stores.threads.create(newThread({ threadId: "a", metadata: { text: `${long}a` } }));
    await stores.threads.create(newThread({ threadId: "b", metadata: { text: `${long}b` } }));
    expect(await idsOf(stores, { metadata: { text: `${long}b` } })).toEqual(["b"]);
  });

  onSqlite("over 5,000 threads by metadata starts from the index and parses no JSON", async () => {
    const stores = await openSqlStores();
    const { threads, connection } = stores;
    connection.transaction(() => {
      const thread =
        connection.prepare(`INSERT INTO threads (thread_id, created_at, updated_at, metadata, config, status,
        interrupts, next) VALUES (?, ?, ?, 'not json: reading it would fail', '{}', 'idle', '{}', '[]')`);
      const term = connection.prepare("INSERT INTO thread_terms (thread_id, term) VALUES (?, ?)");
      for (let index = 0; index < 5_000; index++) {
        thread.run(`bulk${index}`, index, index);
        term.run(`bulk${index}`, `"user"="other"`);
      }
    })();
    await threads.create(newThread({ threadId: "mine", metadata: { user: "me", list: [1] } }));
    const filters: readonly JsonObject[] = [{ user: "me" }, { user: "me", list: [1] }];
    for (const metadata of filters) {
      const { list } = metadata; // without it one term says all, and the index alone counts
      const statements = await stores.statementsOf(async () => {
        expect(await idsOf(stores, { metadata }, { sortBy: "updated_at", sortOrder: "desc" })).toEqual(["mine"]);
      });
      const asking = statements.filter((statement) => statement.includes("thread_terms"));
      for (const statement of asking) {
        expect(stores.plan(statement)).toMatch(/SEARCH thread_terms USING COVERING INDEX \S+ \(term=\?/);
      }
      const filtering = asking.filter(
        (statement) => statement.includes("from threads") || /from "threads"/.test(statement),
      );
      expect(filtering).toHaveLength(2); // to count and to measure; what was found is read by its ids
      for (const statement of filtering.slice(list === undefined ? 1 : 0)) {
        const plan = stores.plan(statement);
        expect(plan).toMatch(/SEARCH threads USING INDEX \S+ \(thread_id=\?\)/);
        expect(plan).not.toContain("SCAN");
      }
    }
    expect(await threads.count({ metadata: { user: "other" } })).toBe(5_000);
  });

  onSqlite("without a filter, by time of creation or change, walks an index instead of sorting", async () => {
    const stores = await openSqlStores();
    await stores.threads.create(newThread());
    for (const sortBy of ["created_at", "updated_at"] as const) {
      const statements = await stores.statementsOf(async () => {
        await idsOf(stores, {}, { sortBy, sortOrder: "desc" });
      });
      const plan = stores.plan(statements.find((sql) => sql.includes("order by")) ?? "");
      expect(plan).toContain(`USING INDEX threads_${sortBy}`);
      expect(plan).not.toContain("TEMP B-TREE");
    }
  });
});

it("tells what a thread waits for, and nothing of a thread that is not there", async () => {
  const stores = await openSqlStores();
  const interrupts = { task: [{ id: "i1", value: { question: "go on?" } }] };
  const run = await admitAndClaim(stores, "r1");
  const projection = { valuesJson: "{}", interrupts, next: ["ask"] };
  await stores.runs.finish(leaseOf(run), outcome({ projection }));
  expect(await stores.threads.pendingInterrupts("t1")).toEqual(interrupts);
  expect(await stores.threads.pendingInterrupts("missing")).toEqual({});
});
