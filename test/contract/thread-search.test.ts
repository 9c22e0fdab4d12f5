/** What `SqlThreadStore` finds: filters, words and pages, whichever way it goes about it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import { MIGRATIONS } from "../../src/storage/migrations.js";
import type { PageQuery } from "../../src/storage/ports/page.js";
import type { ThreadFilter } from "../../src/storage/ports/threads.js";
import { parseThreadFilter } from "../../src/threads/thread-filter.js";
import {
  admitAndClaim,
  createSqlStores,
  HOSTILE_STRINGS,
  insertThreads,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  projection,
  type SqlStores,
} from "../support/sql-stores.js";
import { ON_POSTGRES, onSqlite } from "../support/test-database.js";

type SortBy = PageQuery<Parameters<SqlStores["threads"]["search"]>[1]["sortBy"]>["sortBy"];
const order = (sortBy: SortBy = "thread_id", sortOrder: "asc" | "desc" = "asc") => ({
  sortBy,
  sortOrder,
  maxBytes: 1e9,
});

/** By offset and by cursor, which must agree. */
async function find({ threads }: SqlStores, filter: ThreadFilter): Promise<readonly string[]> {
  const page = { limit: 1_000, ...order() };
  const { rows, total } = await threads.search(filter, { ...page, offset: 0 }, { withValues: false });
  const ids = rows.map(({ threadId }) => threadId);
  const after = await threads.searchAfter(filter, { ...page, after: null }, { withValues: false });
  expect(after.rows.map(({ threadId }) => threadId)).toEqual(ids);
  expect(total).toBe(ids.length);
  expect((await threads.listIds(filter, 1_000)).toSorted()).toEqual(ids.toSorted());
  return ids;
}

const where = (filter: JsonObject): ThreadFilter => ({ where: parseThreadFilter(filter) });

async function put(
  stores: SqlStores,
  threadId: string,
  metadata: JsonObject,
  values: unknown = undefined,
): Promise<void> {
  await stores.threads.create(newThread({ threadId, metadata }));
  if (values === undefined) return;
  await stores.threads.saveProjection(threadId, projection({ valuesJson: JSON.stringify(values) }));
}

describe("a filter", () => {
  async function filled() {
    const stores = await openSqlStores();
    await put(
      stores,
      "a",
      { team: "blue", n: 1, tags: ["x", "y"], owner: { id: 7 } },
      { stage: "draft", deep: { n: 1 } },
    );
    await put(stores, "b", { team: "red", n: 2.5, owner: null }, { stage: "done" });
    await put(stores, "c", { team: "blue", n: "2" }, ["no", "object"]);
    await put(stores, "d", {});
    return stores;
  }

  it.each<[string, JsonObject, string]>([
    ["equality", { "metadata.team": "blue" }, "ac"],
    ["equality of a nested member", { "metadata.owner.id": 7 }, "a"],
    ["equality with null, not with what is missing", { "metadata.owner": null }, "b"],
    ["equality of a whole object", { "metadata.owner": { id: 7 } }, "a"],
    ["$ne, also of what is missing", { "metadata.team": { $ne: "blue" } }, "bd"],
    ["$in", { "metadata.team": { $in: ["red", "green"] } }, "b"],
    ["$in of nothing", { "metadata.team": { $in: [] } }, ""],
    ["$nin", { "metadata.team": { $nin: ["red"] } }, "acd"],
    ["an order of numbers, and of numbers only", { "metadata.n": { $gte: 1, $lt: 3 } }, "ab"],
    ["an order of texts, and of texts only", { "metadata.n": { $gt: "1" } }, "c"],
    ["a member that is there", { "metadata.owner": { $exists: true } }, "ab"],
    ["a member that is missing", { "metadata.owner": { $exists: false } }, "cd"],
    ["containment in a list", { "metadata.tags": { $contains: ["y"] } }, "a"],
    ["alternatives", { $or: [{ "metadata.team": "red" }, { "metadata.n": 1 }] }, "ab"],
    [
      "alternatives beside a condition",
      { $or: [{ "metadata.team": "red" }, { "metadata.n": 1 }], "metadata.n": { $gt: 1 } },
      "b",
    ],
    ["an opposite", { $not: { "metadata.team": "blue" } }, "bd"],
    ["an opposite of several", { $not: { "metadata.team": "blue", "metadata.n": 1 } }, "bcd"],
    ["an opposite of an opposite", { $not: { $not: { "metadata.team": "blue" } } }, "ac"],
    ["a scalar of the state", { "values.stage": "draft" }, "a"],
    ["a nested member of the state", { "values.deep.n": { $lt: 2 } }, "a"],
    ["what a state lacks, and threads without one", { "values.stage": { $exists: false } }, "cd"],
    ["what is not in a state", { "values.stage": { $ne: "draft" } }, "bcd"],
    ["an id", { thread_id: { $in: ["a", "d"] } }, "ad"],
    ["a status", { status: "idle" }, "abcd"],
    ["another status", { status: { $nin: ["idle"] } }, ""],
    ["no state at all", { state_updated_at: null }, "d"],
    ["a state", { state_updated_at: { $exists: true } }, "abc"],
    ["a date before which nothing is", { state_updated_at: { $lt: "1970-01-01T00:00:00Z" } }, ""],
    ["the opposite of a date that is missing", { $not: { state_updated_at: { $gt: "1970-01-01" } } }, "d"],
    ["no date of several", { state_updated_at: { $in: [null, "1999-01-01"] } }, "d"],
    ["nothing", {}, "abcd"],
  ])("by %s", async (_, filter, expected) => {
    expect((await find(await filled(), where(filter))).join("")).toBe(expected);
  });

  it("goes with all the others", async () => {
    const stores = await filled();
    expect(await find(stores, { metadata: { team: "blue" }, ...where({ "metadata.n": 1 }) })).toEqual(["a"]);
    expect(await find(stores, { ids: ["b", "c"], ...where({ "metadata.team": "blue" }) })).toEqual(["c"]);
    expect(await find(stores, { values: { stage: "done" }, ...where({ "metadata.team": "blue" }) })).toEqual([]);
  });

  it("takes any text for what it is: a name or a value, never part of a statement", async () => {
    const stores = await openSqlStores();
    for (const [index, text] of HOSTILE_STRINGS.entries()) {
      if (text !== "" && !text.includes("."))
        await put(stores, `t${index}`, JSON.parse(`{${JSON.stringify(text)}:${JSON.stringify(text)}}`));
    }
    for (const [index, text] of HOSTILE_STRINGS.entries()) {
      if (text === "" || text.includes(".")) continue;
      const name = `metadata.${text}`;
      const filters = [
        { [name]: text },
        { [name]: { $gte: text } },
        { [name]: { $in: [text, 1] } },
        { [name]: { $exists: true } },
      ];
      for (const filter of filters) expect(await find(stores, where(filter as JsonObject))).toEqual([`t${index}`]);
      expect(await find(stores, where({ thread_id: text }))).toEqual([]);
    }
  });

  it("means what it says, of any threads and any conditions", async () => {
    const stores = await createSqlStores();
    const scalar = fc.constantFrom(null, true, 1, 2, "1", "x");
    const part = fc.oneof(scalar, fc.array(scalar, { maxLength: 2 }), fc.dictionary(fc.constantFrom("p", "q"), scalar));
    const document = fc.dictionary(fc.constantFrom("a", "b"), part);
    const thread = fc.record({ metadata: document, values: fc.option(document, { nil: undefined }) });
    const name = fc.constantFrom("metadata.a", "metadata.b", "metadata.a.p", "values.a", "values.b.q");
    const wanted = fc.oneof(
      scalar,
      fc.dictionary(fc.constantFrom("p", "q"), scalar, { minKeys: 1 }),
      fc.record({ $ne: scalar }),
      fc.record({ $in: fc.array(scalar, { maxLength: 3 }) }),
      fc.record({ $gt: fc.constantFrom(1, "1"), $nin: fc.array(scalar, { maxLength: 2 }) }, { requiredKeys: ["$gt"] }),
      fc.record({ $exists: fc.boolean() }),
      fc.record({ $contains: fc.array(scalar, { maxLength: 1 }) }),
    );
    const { filter } = fc.letrec<{ filter: JsonObject; leaf: JsonObject; pair: JsonObject }>((tie) => ({
      filter: fc.oneof({ maxDepth: 3 }, tie("leaf"), tie("pair")),
      leaf: fc.dictionary(name, wanted, { maxKeys: 2 }) as fc.Arbitrary<JsonObject>,
      pair: fc.oneof(
        fc.record({ $or: fc.array(tie("filter"), { minLength: 1, maxLength: 2 }) }),
        fc.record({ $and: fc.array(tie("filter"), { minLength: 1, maxLength: 2 }) }),
        fc.record({ $not: tie("filter") }),
      ) as fc.Arbitrary<JsonObject>,
    }));
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(thread, { maxLength: 5 }), filter, async (all, asked) => {
          await stores.rows("DELETE FROM threads");
          for (const [index, { metadata, values }] of all.entries())
            await put(stores, `t${index}`, metadata as JsonObject, values);
          const expected = all.flatMap((each, index) => (meets(each as Document, asked) ? [`t${index}`] : []));
          expect(await find(stores, where(asked))).toEqual(expected);
        }),
        { numRuns: ON_POSTGRES ? 40 : 200 },
      );
    } finally {
      await stores.close();
    }
  });
});

interface Document {
  readonly metadata: JsonObject;
  readonly values: JsonObject | undefined;
}

/** The filter language once more, as one would tell it. */
function meets(document: Document, filter: JsonObject): boolean {
  return Object.entries(filter).every(([name, wanted]) => {
    if (name === "$and") return (wanted as JsonObject[]).every((each) => meets(document, each));
    if (name === "$or") return (wanted as JsonObject[]).some((each) => meets(document, each));
    if (name === "$not") return !meets(document, wanted as JsonObject);
    const found = name.split(".").reduce<unknown>((value, key) => {
      const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
      return isObject && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
    }, document);
    const isOperators =
      typeof wanted === "object" && wanted !== null && Object.keys(wanted).some((key) => key.startsWith("$"));
    const same = (value: unknown) => JSON.stringify(found) === JSON.stringify(value);
    return Object.entries(isOperators ? (wanted as JsonObject) : { $eq: wanted }).every(([operator, operand]) => {
      const list = Array.isArray(operand) ? operand : [];
      switch (operator) {
        case "$eq":
          return found !== undefined && sameJson(found, operand);
        case "$ne":
          return found === undefined || !same(operand);
        case "$in":
          return found !== undefined && list.some(same);
        case "$nin":
          return found === undefined || !list.some(same);
        case "$gt":
          return typeof found === typeof operand && (found as number) > (operand as number);
        case "$exists":
          return (found !== undefined) === operand;
        default:
          return Array.isArray(found) && list.every((item) => found.includes(item));
      }
    });
  });
}

function sameJson(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown) =>
    JSON.stringify(value, (_, part) =>
      typeof part === "object" && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort())
        : part,
    );
  return sorted(a) === sorted(b);
}

describe("words", () => {
  const say = (...texts: readonly unknown[]) => ({ messages: texts.map((content) => ({ type: "human", content })) });

  async function filled() {
    const stores = await openSqlStores();
    await put(stores, "title", { title: "Travel to Zürich" });
    await put(
      stores,
      "last",
      {},
      say("first", "Is the invoice paid?", [{ type: "text", text: "It is, since Monday" }]),
    );
    await put(stores, "state", { name: "other" }, { title: "Budget 2026", ...say("nothing") });
    await put(stores, "none", { other: "Travel" }, { text: "Travel" });
    return stores;
  }

  it.each<[string, readonly string[]]>([
    ["travel", ["title"]],
    ["TRAV", ["title"]],
    ["zurich travel", ["title"]],
    ["travel invoice", []],
    ["avel", []],
    ["monday", ["last"]],
    ["invoice paid", ["last"]],
    ["budget", ["state"]],
    ["other", ["state"]],
    ["2026 budget nothing", ["state"]],
    ["first", ["last"]],
    ["absent", []],
    ['"travel" OR invoice', []],
    ["travel NOT zurich", []],
    ["title:travel", []],
    ["*", []],
    ["!!!", []],
    ["tra*", ["title"]],
    ["(travel", ["title"]],
    ["to-zurich", ["title"]],
    ["zurich-to", []],
    ["NEAR(travel zurich)", []],
  ])("%j", async (text, expected) => {
    expect(await find(await filled(), { words: text.split(" ") })).toEqual(expected);
  });

  it("of any text are never taken for operators", async () => {
    const stores = await filled();
    const odd = ["AND", "^a", "{a}:b", '"', '""', "''", "-a", "+", "a\u00adb", "a-".repeat(500), "\0"];
    for (const word of [...HOSTILE_STRINGS, ...odd]) {
      expect(Array.isArray(await find(stores, { words: [word, word] }))).toBe(true);
    }
    expect(await find(stores, { words: Array.from({ length: 32 }, () => "travel") })).toEqual(["title"]);
  });

  it("are those of the thread as it is now", async () => {
    const stores = await filled();
    await stores.threads.patch("title", { metadata: { title: "Holidays" } });
    await stores.threads.saveProjection("last", projection({ valuesJson: JSON.stringify(say("quite new")) }));
    expect(await find(stores, { words: ["travel"] })).toEqual([]);
    expect(await find(stores, { words: ["holidays"] })).toEqual(["title"]);
    expect(await find(stores, { words: ["invoice"] })).toEqual([]);
    expect(await find(stores, { words: ["new"] })).toEqual(["last"]);
    await stores.threads.saveProjection("last", projection({ valuesJson: null }));
    expect(await find(stores, { words: ["new"] })).toEqual([]);
    await stores.threads.remove("title");
    expect(await find(stores, { words: ["holidays"] })).toEqual([]);
    if (!ON_POSTGRES) await stores.rows("INSERT INTO thread_fts(thread_fts) VALUES('integrity-check')"); // throws
  });

  it("change with the end of a run, and are taken back with it where that fails", async () => {
    const stores = await openSqlStores();
    const run = await admitAndClaim(stores, "r1");
    const allow = await stores.refuse("INSERT", "thread_texts");
    const ended = outcome({ projection: projection({ valuesJson: JSON.stringify(say("said at the end")) }) });
    await expect(stores.runs.finish(leaseOf(run), ended)).rejects.toThrow("disk");
    expect(await stores.threads.get("t1")).toMatchObject({ status: "busy", valuesJson: null });
    await allow();
    expect(await stores.runs.finish(leaseOf(run), ended)).toBe(true);
    expect(await find(stores, { words: ["said"] })).toEqual(["t1"]);
  });

  it("of long messages are the newest ones", async () => {
    const stores = await openSqlStores();
    await put(stores, "t1", {}, say("oldest", "x ".repeat(3_000), "newest"));
    expect(await find(stores, { words: ["newest"] })).toEqual(["t1"]);
    expect(await find(stores, { words: ["oldest"] })).toEqual([]);
  });
});

describe("a filter by the state", () => {
  it("follows the state in every change of it", async () => {
    const stores = await openSqlStores();
    await put(stores, "t1", { stage: "of the metadata" }, { stage: "draft", n: 1 });
    expect(await find(stores, { values: { stage: "draft" } })).toEqual(["t1"]);
    expect(await find(stores, { values: { stage: "of the metadata" } })).toEqual([]);
    expect(await find(stores, { metadata: { stage: "draft" } })).toEqual([]);
    await stores.threads.saveProjection("t1", projection({ valuesJson: '{"stage":"done","n":1}' }));
    expect(await find(stores, { values: { stage: "draft" } })).toEqual([]);
    expect(await find(stores, { values: { stage: "done", n: 1 } })).toEqual(["t1"]);
    await stores.threads.patch("t1", { metadata: { stage: null } });
    expect(await find(stores, { values: { stage: "done" } })).toEqual(["t1"]);
    await stores.threads.saveProjection("t1", projection({ valuesJson: "[1]" }));
    expect(await find(stores, { values: { stage: "done" } })).toEqual([]);
  });

  it("reads no state where terms decide, and refuses to read too many where they do not", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await insertThreads(stores, 5_001);
    await stores.rows(
      "INSERT INTO thread_values (thread_id, \"values\") SELECT thread_id, 'not json: reading it would fail' FROM threads",
    );
    await stores.rows(`INSERT INTO thread_terms (thread_id, term)
      SELECT thread_id, 'values."stage"="s' || (created_at % 100) || '"' FROM threads`);
    expect(await threads.count({ values: { stage: "s0" } })).toBe(51);
    expect(await threads.count(where({ "values.stage": { $in: ["s0", "s2"] } }))).toBe(101);
    for (const filter of [
      { values: { deep: { n: 1 } } },
      where({ "values.deep.n": { $gt: 1 } }),
      where({ $not: { "values.n": { $gt: 1 } } }),
    ]) {
      await expect(threads.count(filter)).rejects.toMatchObject({
        code: "validation",
        message: expect.stringContaining("values"),
      });
      expect(await threads.count({ ...filter, metadata: { none: 1 } })).toBe(0);
    }
  });

  it("refuses to read states that are too large together, never a single one", async () => {
    const stores = await openSqlStores();
    for (const id of ["a", "b"]) await put(stores, id, { id }, { deep: { n: 1 }, text: "x".repeat(9_000_000) });
    await expect(stores.threads.count({ values: { deep: { n: 1 } } })).rejects.toMatchObject({ code: "validation" });
    expect(await find(stores, { values: { deep: { n: 1 } }, metadata: { id: "a" } })).toEqual(["a"]);
  });
});

describe("pages by cursor", () => {
  const SORTS = ["thread_id", "status", "created_at", "updated_at", "state_updated_at"] as const;

  it.each(
    SORTS.flatMap(
      (sortBy) =>
        [
          [sortBy, "asc"],
          [sortBy, "desc"],
        ] as const,
    ),
  )("in the order of %s %s show each thread once, whatever comes and goes elsewhere", async (sortBy, sortOrder) => {
    const stores = await openSqlStores();
    for (let n = 0; n < 11; n++) {
      if (n % 3 === 0) stores.clock.advance(10);
      await put(stores, `t${n}`, {}, n % 2 === 0 ? { n } : undefined);
    }
    const { threads } = stores;
    const page = { limit: 100, ...order(sortBy, sortOrder) };
    const all = (await threads.search({}, { ...page, offset: 0 }, { withValues: false })).rows.map(
      ({ threadId }) => threadId,
    );
    const seen: string[] = [];
    let after: Parameters<typeof threads.searchAfter>[1]["after"] = null;
    do {
      const { rows, next } = await threads.searchAfter({}, { ...page, limit: 3, after }, { withValues: true });
      seen.push(...rows.map(({ threadId }) => threadId));
      expect(
        rows.every(({ threadId, valuesJson }) => (valuesJson !== null) === (Number(threadId.slice(1)) % 2 === 0)),
      ).toBe(true);
      after = next;
    } while (after !== null);
    expect(seen).toEqual(all);
  });

  onSqlite("cost the same wherever they are, and never sort or count", async () => {
    const stores = await openSqlStores();
    for (let n = 0; n < 5; n++) await put(stores, `t${n}`, { team: "blue" });
    const after = { value: stores.clock.now(), threadId: "t3" };
    for (const sortBy of ["created_at", "updated_at"] as const) {
      const statements = await stores.statementsOf(async () => {
        await stores.threads.searchAfter({}, { limit: 2, ...order(sortBy, "desc"), after }, { withValues: false });
      });
      const plan = stores.plan(statements.find((sql) => sql.includes("order by")) ?? "");
      expect(plan).toMatch(
        new RegExp(`SEARCH threads USING INDEX threads_${sortBy} \\(\\(${sortBy},thread_id\\)<\\(\\?,\\?\\)\\)`),
      );
      expect(plan).not.toContain("TEMP B-TREE");
      expect(statements.some((sql) => /count\(\*\) as total/.test(sql))).toBe(false);
    }
  });
});

describe("a search among many", () => {
  /** More threads with the term than are few. */
  async function many() {
    const stores = await openSqlStores();
    await insertThreads(stores, 1_500);
    await stores.rows(`INSERT INTO thread_terms (thread_id, term) SELECT thread_id, '"team"="blue"' FROM threads`);
    await put(stores, "mine", { team: "blue", user: "me" });
    return stores;
  }

  const planOf = async (stores: SqlStores, metadata: JsonObject) => {
    const statements = await stores.statementsOf(async () => {
      await stores.threads.search(
        { metadata },
        { limit: 10, offset: 0, ...order("updated_at", "desc") },
        { withValues: false },
      );
    });
    return stores.plan(statements.find((sql) => sql.includes("order by")) ?? "");
  };

  onSqlite("that have the term walks them in order, and asks each for the term", async () => {
    const plan = await planOf(await many(), { team: "blue" });
    expect(plan).toContain("SCAN threads USING INDEX threads_updated_at");
    expect(plan).toMatch(/SEARCH thread_terms USING COVERING INDEX \S+ \(term=\? AND thread_id=\?\)/);
    expect(plan).not.toContain("TEMP B-TREE");
  });

  onSqlite("of which few have the term starts from those", async () => {
    const plan = await planOf(await many(), { team: "blue", user: "me" });
    expect(plan).toMatch(/SEARCH threads USING INDEX \S+ \(thread_id=\?\)/);
    expect(plan).not.toContain("SCAN");
  });

  it("counts what has one term in the index alone", async () => {
    const stores = await many();
    const statements = await stores.statementsOf(async () => {
      expect(await stores.threads.count({ metadata: { team: "blue" } })).toBe(1_501);
      expect(await stores.threads.count({})).toBe(1_501);
    });
    if (!ON_POSTGRES) for (const statement of statements) expect(stores.plan(statement)).not.toMatch(/SCAN threads$/m);
    await stores.threads.markDeleting("t7");
    expect(await stores.threads.count({ metadata: { team: "blue" } })).toBe(1_500);
    expect(await stores.threads.count({})).toBe(1_500);
  });
});

it("shows nobody what is out of their sight, whatever is asked for", async () => {
  const stores = await openSqlStores();
  await put(stores, "mine", { owner: "ada", title: "Travel" }, { stage: "draft" });
  await put(stores, "theirs", { owner: "bob", title: "Travel" }, { stage: "draft" });
  const threads = stores.threads.within([{ kind: "equals", key: "owner", value: "ada" }]);
  const seen = { ...stores, threads: threads as typeof stores.threads };
  const filters: ThreadFilter[] = [
    {},
    { words: ["travel"] },
    { values: { stage: "draft" } },
    where({ "metadata.owner": { $exists: true } }),
    where({ $or: [{ "metadata.owner": "bob" }, { "metadata.title": "Travel" }] }),
    where({ $not: { "metadata.owner": "nobody" } }),
    { ids: ["mine", "theirs"] },
  ];
  for (const filter of filters) expect(await find(seen, filter)).toEqual(["mine"]);
  expect(await find(seen, where({ "metadata.owner": "bob" }))).toEqual([]);
});

onSqlite("a thread that is deleted leaves no word, neither in the index nor in its pages", async () => {
  const { connection, ...stores } = await openSqlStores();
  for (let index = 0; index < 100; index++) {
    await put({ connection, ...stores }, `t${index}`, { title: `Secret${index}` }, { messages: [] });
  }
  for (let index = 0; index < 100; index++) await stores.threads.remove(`t${index}`);
  connection.exec("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'thread_fts', 'row')");
  expect(await stores.column("SELECT count(*) FROM temp.words")).toEqual([0]);
  const pages = connection.prepare("SELECT block FROM thread_fts_data").pluck().all() as Buffer[];
  expect(pages.filter((page) => page.includes("secret"))).toEqual([]);
});

onSqlite("threads that were there before the index are in it", async () => {
  const stores = await openSqlStores();
  await put(stores, "t1", { title: "Travel" }, { stage: "draft", messages: [{ type: "ai", content: "Goodbye" }] });
  const { connection, database } = stores;
  connection.exec(
    `DROP TABLE thread_fts; DROP TABLE thread_texts; DELETE FROM thread_terms WHERE term LIKE 'values.%';`,
  );
  await MIGRATIONS["010-thread-search"]?.up(database);
  expect(await find(stores, { words: ["travel", "goodbye"] })).toEqual(["t1"]);
  expect(await find(stores, { values: { stage: "draft" } })).toEqual(["t1"]);
});
