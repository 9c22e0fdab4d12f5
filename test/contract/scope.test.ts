/** A store that is opened in a scope has what is in it, and for everything else answers as if it were not there. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Condition, isInScope, type Scope } from "../../src/core/scope.js";
import {
  admission,
  admitAndClaim,
  HOSTILE_STRINGS,
  leaseOf,
  newAssistant,
  newRun,
  newThread,
  openSqlStores,
  outcome,
  reservation,
} from "../support/sql-stores.js";
import { ON_POSTGRES, onSqlite } from "../support/test-database.js";

const OWNED_BY = (owner: string): Scope => [{ kind: "equals", key: "owner", value: owner }];
const PAGE = { limit: 100, offset: 0, sortBy: "thread_id", sortOrder: "asc", maxBytes: 1e9 } as const;

const keys = fc.oneof(fc.constantFrom("owner", "team", "a"), fc.constantFrom(...HOSTILE_STRINGS));
const scalars = fc.oneof(
  fc.constantFrom("ada", "eve", ""),
  fc.constantFrom(...HOSTILE_STRINGS),
  fc.integer({ min: 0, max: 2 }),
  fc.boolean(),
);
const metadata = fc.dictionary(keys, fc.oneof(scalars, fc.array(scalars, { maxLength: 3 })), { maxKeys: 4 });
const simple: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ kind: fc.constant("equals" as const), key: keys, value: scalars }),
  fc.record({
    kind: fc.constant("contains" as const),
    key: keys,
    values: fc.array(scalars, { minLength: 1, maxLength: 2 }),
  }),
);
const scopes: fc.Arbitrary<Scope> = fc.array(
  fc.oneof(
    simple,
    fc.record({
      kind: fc.constant("any" as const),
      of: fc.array(fc.array(simple, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 3 }),
    }),
  ),
  { minLength: 1, maxLength: 3 },
);

describe("what a scope means", () => {
  it("is the same to every store as in memory, whatever is in it", async () => {
    const { threads, assistants } = await openSqlStores();
    let count = 0;
    await fc.assert(
      fc.asyncProperty(metadata, scopes, async (held, scope) => {
        const threadId = `t${++count}`;
        await threads.create(newThread({ threadId, metadata: held }));
        await assistants.create(newAssistant({ assistantId: threadId, metadata: held }));
        const expected = isInScope(held, scope);
        expect((await threads.within(scope).get(threadId)) !== undefined).toBe(expected);
        expect((await threads.within(scope).listIds({ ids: [threadId] }, 1)).length > 0).toBe(expected);
        expect((await assistants.within(scope).get(threadId)) !== undefined).toBe(expected);
      }),
      { numRuns: ON_POSTGRES ? 60 : 500 },
    );
  });

  it("narrows, and never widens, the scope that a store is in already", async () => {
    const { threads } = await openSqlStores();
    await threads.create(newThread({ threadId: "t1", metadata: { owner: "ada", team: "a" } }));
    const mine = threads.within(OWNED_BY("ada"));
    expect(await mine.within([]).count({})).toBe(1);
    expect(await mine.within(OWNED_BY("eve")).count({})).toBe(0);
    expect(await mine.within([{ kind: "equals", key: "team", value: "a" }]).count({})).toBe(1);
  });

  onSqlite("is found by the index where it is a plain equality", async () => {
    const stores = await openSqlStores();
    const search = async (): Promise<void> => void (await stores.threads.within(OWNED_BY("ada")).count({}));
    const [statement = ""] = await stores.statementsOf(search);
    expect(stores.plan(statement)).toContain("thread_terms");
  });
});

describe("out of sight", () => {
  /** Ada's thread with a run of hers, seen by somebody else. */
  async function openForeign() {
    const stores = await openSqlStores();
    await stores.threads.create(newThread({ threadId: "t1", metadata: { owner: "ada" } }));
    const run = await admitAndClaim(stores, "r1");
    const scope = OWNED_BY("eve");
    return { ...stores, run, foreignThreads: stores.threads.within(scope), foreignRuns: stores.runs.within(scope) };
  }

  it("threads are neither read, changed, taken, found nor deleted", async () => {
    const { threads, runs, run, foreignThreads } = await openForeign();
    await runs.finish(leaseOf(run), outcome());
    const before = await threads.get("t1");
    expect(await foreignThreads.get("t1")).toBeUndefined();
    expect(await foreignThreads.patch("t1", { metadata: { a: 1 } })).toBeUndefined();
    expect(await foreignThreads.reserve("t1", reservation("eve"))).toBe("missing");
    expect(await foreignThreads.markDeleting("t1")).toBe(false);
    expect(await foreignThreads.search({ metadata: { owner: "ada" } }, PAGE, { withValues: true })).toEqual({
      rows: [],
      total: 0,
    });
    expect(await foreignThreads.count({})).toBe(0);
    expect(await foreignThreads.listIds({ ids: ["t1"] }, 1)).toEqual([]);
    expect(await threads.get("t1")).toEqual(before);
  });

  it("runs are neither read, listed, cancelled nor deleted, on their thread or without one", async () => {
    const { runs, foreignRuns } = await openForeign();
    for (const threadId of ["t1", null]) {
      expect(await foreignRuns.get(threadId, "r1")).toBeUndefined();
      expect(await foreignRuns.getBrief(threadId, "r1")).toBeUndefined();
      expect(await foreignRuns.requestCancel(threadId, "r1", "rollback")).toBe("missing");
    }
    expect(await foreignRuns.listInFlight({})).toEqual([]);
    expect(await foreignRuns.listInFlight({ threadId: "t1" })).toEqual([]);
    expect(await foreignRuns.newestStarted("t1")).toBeUndefined();
    expect(await foreignRuns.nextStarted("t1", 0)).toBeUndefined();
    const page = { limit: 10, offset: 0, maxBytes: 1e9, withPayload: true };
    expect(await foreignRuns.list("t1", page)).toEqual({ rows: [], total: 0 });
    expect(await foreignRuns.remove("t1", "r1")).toBe(false);
    expect((await runs.get("t1", "r1"))?.cancelAction).toBeNull();
  });

  it("no run is admitted on a thread, and none there is cancelled for it", async () => {
    const { runs, foreignRuns } = await openForeign();
    const asked = admission(
      { runId: "r2" },
      { createThread: newThread({ threadId: "t1", metadata: { owner: "eve" } }) },
    );
    const interrupting = {
      ...asked,
      decide: () => ({ kind: "insert", run: newRun({ runId: "r2" }), cancelInFlight: "rollback" }) as const,
    };
    await expect(foreignRuns.admit(interrupting)).rejects.toMatchObject({ code: "not_found" });
    expect(await runs.listIds("t1")).toEqual(["r1"]);
    expect((await runs.get("t1", "r1"))?.cancelAction).toBeNull();
  });

  it("assistants are neither read, changed, set back nor deleted", async () => {
    const { assistants } = await openSqlStores();
    await assistants.create(newAssistant({ assistantId: "a1", metadata: { owner: "ada" } }));
    const foreign = assistants.within(OWNED_BY("eve"));
    expect(await foreign.get("a1")).toBeUndefined();
    expect(await foreign.patch("a1", { name: "x" })).toBeUndefined();
    expect(await foreign.setLatest("a1", 1)).toBeUndefined();
    expect(await foreign.versions("a1", { limit: 1, offset: 0, maxBytes: 1e9 })).toBeUndefined();
    expect(await foreign.count({})).toBe(0);
    expect(await foreign.remove("a1")).toBe(false);
    expect((await assistants.get("a1"))?.version).toBe(1);
  });
});
