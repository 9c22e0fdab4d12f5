/** Long states of threads: what everybody sees is the state; SQLite has it in pieces, so that others are heard meanwhile. */
import { describe, expect, it } from "vitest";
import { dropUnshown, LONG_STATE_CHARS } from "../../src/storage/long-states.js";
import {
  admitAndClaim,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  projection,
  type SqlStores,
} from "../support/sql-stores.js";
import { ON_POSTGRES, onSqlite } from "../support/test-database.js";

/** As long as `times` long states, with a character of two halves at every place where it could be cut. */
function longState(mark: string, times = 1): string {
  const odd = `"${"😀".repeat((LONG_STATE_CHARS * times) / 2)}"`;
  return `{"mark":${JSON.stringify(mark)},"text":${odd}}`;
}

async function pieces({ column }: SqlStores): Promise<unknown> {
  return (await column("SELECT count(*) FROM thread_value_parts"))[0];
}

const EVERY_THREAD = { limit: 10, offset: 0, maxBytes: 1e9, sortBy: "thread_id", sortOrder: "asc" } as const;

describe("a long state", () => {
  it("comes back as it was, from a run's end, an update and a copy", async () => {
    const stores = await openSqlStores();
    const { threads, runs } = stores;
    const [ended, updated, copied] = [longState("ended"), longState("updated"), longState("copied")];
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    expect(await runs.finish(lease, outcome({ projection: projection({ valuesJson: ended }) }))).toBe(true);
    expect((await threads.get("t1"))?.valuesJson === ended).toBe(true);
    await threads.saveProjection("t1", projection({ valuesJson: updated }));
    expect((await threads.get("t1"))?.valuesJson === updated).toBe(true);
    await threads.prepare(newThread({ threadId: "t2" }), { owner: "x", leaseMs: 1_000 });
    expect(await threads.reveal("t2", "x", projection({ valuesJson: copied }))).toBe(true);
    const { rows } = await threads.search({}, EVERY_THREAD, { withValues: true });
    expect(rows.map(({ valuesJson }) => valuesJson === updated || valuesJson === copied)).toEqual([true, true]);
  });

  it("is found by what is in it, and counts with all its bytes", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await threads.create(newThread());
    await threads.saveProjection("t1", projection({ valuesJson: `{"deep":{"in":1},${longState("found").slice(1)}` }));
    expect(await threads.count({ values: { mark: "found" } })).toBe(1);
    expect(await threads.count({ values: { deep: { in: 1 } } })).toBe(1);
    expect(await threads.count({ values: { deep: { in: 2 } } })).toBe(0);
    const tooLong = threads.search({}, { ...EVERY_THREAD, maxBytes: 2 * LONG_STATE_CHARS }, { withValues: true });
    expect((await tooLong).rows).toHaveLength(1); // a page has one, whatever it takes
    await threads.create(newThread({ threadId: "t2" }));
    await expect(
      threads.search({}, { ...EVERY_THREAD, maxBytes: LONG_STATE_CHARS }, { withValues: true }),
    ).rejects.toThrow(/take 8\d{6} bytes/);
  });

  it("shows again what it shows already, and what it shows no more", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await threads.create(newThread());
    const shown = longState("shown");
    await threads.catchUp("t1", projection({ valuesJson: shown }));
    const [before] = await stores.rows("SELECT * FROM thread_values");
    await threads.catchUp("t1", projection({ valuesJson: shown }));
    expect(await stores.rows("SELECT * FROM thread_values")).toEqual([before]);
    await threads.catchUp("t1", projection({ valuesJson: '{"short":1}' }));
    expect((await threads.get("t1"))?.valuesJson).toBe('{"short":1}');
  });

  onSqlite("is in pieces, of which none is left when another follows, or when its thread goes", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await threads.create(newThread());
    const many = Math.ceil(longState("first").length / (LONG_STATE_CHARS / 4));
    await threads.saveProjection("t1", projection({ valuesJson: longState("first") }));
    expect(await pieces(stores)).toBe(many);
    await threads.saveProjection("t1", projection({ valuesJson: longState("second") }));
    expect(await pieces(stores)).toBe(many);
    await threads.saveProjection("t1", projection());
    expect(await pieces(stores)).toBe(0);
    await threads.saveProjection("t1", projection({ valuesJson: longState("third") }));
    await threads.saveProjection("t1", projection({ valuesJson: null }));
    expect(await pieces(stores)).toBe(0);
    await threads.saveProjection("t1", projection({ valuesJson: longState("fourth") }));
    await threads.markDeleting("t1");
    await threads.remove("t1");
    expect(await pieces(stores)).toBe(0);
  });

  onSqlite("leaves nothing where it was not shown", async () => {
    const stores = await openSqlStores();
    const { threads, runs } = stores;
    const lease = leaseOf(await admitAndClaim(stores, "r1"));
    const late = outcome({ projection: projection({ valuesJson: longState("late") }) });
    expect(await runs.finish({ ...lease, fence: lease.fence + 1 }, late)).toBe(false);
    expect(await pieces(stores)).toBe(0);
    expect((await threads.get("t1"))?.valuesJson).toBeNull();
    expect(await threads.saveProjection("nowhere", projection({ valuesJson: longState("lost") }))).toBe(true);
    expect(await pieces(stores)).toBe(0);
    const end = await stores.refuse("INSERT", "thread_values");
    await expect(threads.saveProjection("t1", projection({ valuesJson: longState("refused") }))).rejects.toThrow(
      "disk",
    );
    await end();
    expect(await pieces(stores)).toBe(0);
  });

  onSqlite("of a process that died before it was shown goes with the next start, what is shown stays", async () => {
    const stores = await openSqlStores();
    const { threads } = stores;
    await threads.create(newThread());
    const shown = longState("shown");
    await threads.saveProjection("t1", projection({ valuesJson: shown }));
    await stores.rows("INSERT INTO thread_value_parts VALUES ('left', 0, 't1', 'by a process')");
    await dropUnshown(stores.database);
    expect(await stores.column("SELECT count(*) FROM thread_value_parts WHERE version = 'left'")).toEqual([0]);
    expect((await threads.get("t1"))?.valuesJson === shown).toBe(true);
  });

  it("is never seen half, nor mixed with the one that follows", async () => {
    const { threads } = await openSqlStores();
    await threads.create(newThread());
    const states = Array.from({ length: 6 }, (_, index) => longState(String(index)));
    await threads.saveProjection("t1", projection({ valuesJson: states[0] ?? null }));
    let isWritten = false;
    const writing = (async () => {
      for (const valuesJson of states) await threads.saveProjection("t1", projection({ valuesJson }));
      isWritten = true;
    })();
    let seen = 0;
    while (!isWritten) {
      const valuesJson = (await threads.get("t1"))?.valuesJson;
      expect(states.includes(valuesJson ?? "")).toBe(true);
      seen++;
    }
    await writing;
    expect(seen).toBeGreaterThan(1);
  });

  onSqlite("gives others their turn while it is written and while it is read", async () => {
    const { threads } = await openSqlStores();
    await threads.create(newThread());
    const count = longState("", 4).length / (LONG_STATE_CHARS / 4);
    expect(
      await turnsDuring(() => threads.saveProjection("t1", projection({ valuesJson: longState("", 4) }))),
    ).toBeGreaterThan(count);
    expect(await turnsDuring(() => threads.get("t1"))).toBeGreaterThan(count);
  });
});

describe("a state that is not long", () => {
  it("is in its row", async () => {
    const stores = await openSqlStores();
    await stores.threads.create(newThread());
    const valuesJson = `{"text":"${"x".repeat(LONG_STATE_CHARS - 100)}"}`;
    await stores.threads.saveProjection("t1", projection({ valuesJson }));
    expect(await stores.column("SELECT version FROM thread_values")).toEqual([null]);
    if (!ON_POSTGRES) expect(await pieces(stores)).toBe(0);
  });
});

/** How often the event loop turned. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  isOver = true;
  return turns;
}
