/** Threads whose ttl is over: who takes them, and who never does. */
import { describe, expect, it, vi } from "vitest";
import { notFound } from "../../src/core/errors.js";
import type { NewThread } from "../../src/storage/ports/threads.js";
import {
  admission,
  admitAndClaim,
  LEASE_MS,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  projection,
  reservation,
  type SqlStores,
} from "../support/sql-stores.js";
import { onSqlite } from "../support/test-database.js";

const MINUTE_MS = 60_000;
const DELETE = { strategy: "delete", ttlMinutes: 10 } as const;
const KEEP = { strategy: "keep_latest", ttlMinutes: 10 } as const;

async function create({ threads }: SqlStores, threadId: string, ttl: NewThread["ttl"]): Promise<void> {
  await threads.create(newThread({ threadId, ttl }));
}

const expiryOf = async ({ threads }: SqlStores, threadId = "t1") => (await threads.get(threadId))?.ttl?.expiresAt;

describe("marking expired threads for deletion", () => {
  it("takes those whose time is over, to the millisecond, and no other one", async () => {
    const stores = await openSqlStores();
    await create(stores, "over", DELETE);
    await create(stores, "longer", { ...DELETE, ttlMinutes: 11 });
    await create(stores, "kept", KEEP);
    await create(stores, "for ever", null);
    stores.clock.advance(10 * MINUTE_MS - 1);
    expect(await stores.threads.markExpired(10)).toEqual([]);
    stores.clock.advance(1);

    expect(await stores.threads.markExpired(10)).toEqual(["over"]);

    expect(await stores.threads.get("over")).toBeUndefined();
    expect(await stores.threads.listDeleting()).toEqual(["over"]);
    expect(await stores.threads.count({})).toBe(3);
  });

  it("takes the longest expired ones first, and no more than it is asked for", async () => {
    const stores = await openSqlStores();
    for (const [threadId, ttlMinutes] of [
      ["c", 3],
      ["a", 1],
      ["b", 2],
    ] as const) {
      await create(stores, threadId, { ...DELETE, ttlMinutes });
    }
    stores.clock.advance(10 * MINUTE_MS);

    expect((await stores.threads.markExpired(2)).toSorted()).toEqual(["a", "b"]);
    expect(await stores.threads.markExpired(2)).toEqual(["c"]);
  });

  it("leaves alone what is in use: a run that waits, executes or is delayed, a write outside of runs", async () => {
    const stores = await openSqlStores();
    const { threads, runs, clock } = stores;
    for (const threadId of ["waiting", "executing", "delayed", "reserved", "idle"]) {
      await create(stores, threadId, { ...DELETE, ttlMinutes: 0.001 });
    }
    await runs.admit(
      admission({ runId: "r1", threadId: "executing" }, { claim: { workerId: "w1", leaseMs: LEASE_MS } }),
    );
    await runs.admit(admission({ runId: "r2", threadId: "waiting" }));
    await runs.admit(admission({ runId: "r3", threadId: "delayed", runAfter: clock.now() + 1_000 * MINUTE_MS }));
    await threads.reserve("reserved", reservation("me"));
    clock.advance(MINUTE_MS);

    expect(await threads.markExpired(10)).toEqual(["idle"]);

    await threads.release("reserved", "me");
    expect(await threads.markExpired(10)).toEqual(["reserved"]);
  });

  it("is done once by two who do it at once", async () => {
    const stores = await openSqlStores();
    const ids = Array.from({ length: 30 }, (_, n) => `t${n}`).toSorted();
    for (const threadId of ids) await create(stores, threadId, DELETE);
    stores.clock.advance(10 * MINUTE_MS);

    const [one, other] = await Promise.all([stores.threads.markExpired(20), stores.threads.markExpired(20)]);

    expect([...one, ...other].toSorted()).toEqual(ids);
  });

  it("lets no run in afterwards, and a run that came before keeps its thread", async () => {
    const stores = await openSqlStores();
    const refusing = admission({ runId: "r1", threadId: "first" }, { createThread: null });
    const onThread = { ...refusing, decide: () => ({ kind: "refuse", error: notFound("thread", "first") }) as const };
    await create(stores, "first", DELETE);
    await create(stores, "second", DELETE);
    stores.clock.advance(10 * MINUTE_MS);

    expect(await stores.threads.markExpired(1)).toEqual(["first"]);
    await expect(stores.runs.admit(onThread)).rejects.toMatchObject({ code: "not_found" });
    await stores.runs.admit(admission({ runId: "r2", threadId: "second" }));
    expect(await stores.threads.markExpired(1)).toEqual([]);
    expect(await stores.threads.get("second")).toMatchObject({ status: "busy" });
  });

  it("and a run at the same moment: one of them has the thread, and the other is told", async () => {
    const stores = await openSqlStores();
    const ids = Array.from({ length: 20 }, (_, n) => `t${n}`);
    for (const threadId of ids) await create(stores, threadId, DELETE);
    stores.clock.advance(10 * MINUTE_MS);

    const [marked, ...admitted] = await Promise.all([
      stores.threads.markExpired(20),
      ...ids.map((threadId) =>
        stores.runs.admit(admission({ runId: `run of ${threadId}`, threadId })).then(
          ({ run }) => [run.threadId],
          (error) => {
            expect(error).toMatchObject({ code: "conflict" });
            return [];
          },
        ),
      ),
    ]);
    expect([...marked, ...admitted.flat()].toSorted()).toEqual(ids.toSorted());
  });

  it("is refused for a thread in use, whoever asks, and lets no run in once it is done", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", null);
    await stores.runs.admit(admission({ runId: "r1" }));
    expect(await stores.threads.markUnoccupied("t1")).toBe(false);
    await stores.runs.requestCancel("t1", "r1", "interrupt");
    expect(await stores.threads.markUnoccupied("t1")).toBe(true);
    expect(await stores.threads.markUnoccupied("t1")).toBe(false);
    await expect(stores.runs.admit(admission({ runId: "r2" }))).rejects.toMatchObject({ code: "conflict" });
  });

  it("takes the thread's crons along, which could make no run any more", async () => {
    const stores = await openSqlStores();
    for (const threadId of ["over", "unused", "stays"])
      await create(stores, threadId, threadId === "over" ? DELETE : null);
    await stores.execute(`INSERT INTO assistants VALUES ('a1', 1, 0, 0);
      INSERT INTO crons (cron_id, assistant_id, thread_id, schedule, enabled, payload, metadata, created_at, updated_at)
        SELECT 'cron of ' || thread_id, 'a1', thread_id, '* * * * *', 1, '{}', '{}', 0, 0 FROM threads`);
    stores.clock.advance(10 * MINUTE_MS);
    await stores.threads.markExpired(10);
    await stores.threads.markUnoccupied("unused");
    expect(await stores.column("SELECT cron_id FROM crons")).toEqual(["cron of stays"]);
  });

  onSqlite("costs what has expired, not what there is", async () => {
    const stores = await openSqlStores();
    const statements = await stores.statementsOf(async () => {
      await stores.threads.markExpired(10);
      await stores.threads.listOutgrown(10);
    });
    expect(statements).toHaveLength(2);
    for (const statement of statements) {
      expect(stores.plan(statement)).toContain("SEARCH threads USING INDEX threads_expiring (expires_at<?)");
    }
  });
});

describe("pruning threads to their latest state", () => {
  it("begins the ttl anew, once", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", KEEP);
    await create(stores, "t2", DELETE);
    stores.clock.advance(10 * MINUTE_MS);
    const prune = vi.fn();

    expect(await stores.threads.listOutgrown(10)).toEqual(["t1"]);
    const done = await Promise.all([
      stores.threads.pruneOutgrown("t1", prune),
      stores.threads.pruneOutgrown("t1", prune),
      stores.threads.pruneOutgrown("t2", prune),
    ]);

    expect(done).toEqual([true, false, false]);
    expect(prune).toHaveBeenCalledTimes(1);
    expect(await expiryOf(stores)).toBe(stores.clock.now() + 10 * MINUTE_MS);
    expect(await stores.threads.listOutgrown(10)).toEqual([]);
  });

  it("leaves alone a thread that a run was admitted to meanwhile", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", KEEP);
    stores.clock.advance(10 * MINUTE_MS);
    expect(await stores.threads.listOutgrown(10)).toEqual(["t1"]);
    await stores.runs.admit(admission({ runId: "r1" }));
    const prune = vi.fn();

    expect(await stores.threads.pruneOutgrown("t1", prune)).toBe(false);
    expect(prune).not.toHaveBeenCalled();
  });

  it("that fails leaves the thread as it was", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", KEEP);
    stores.clock.advance(10 * MINUTE_MS);
    const before = await stores.dumpThread("t1");
    const fail = (): void => {
      throw new Error("the disk is full");
    };

    await expect(stores.threads.pruneOutgrown("t1", fail)).rejects.toThrow("the disk is full");
    expect(await stores.dumpThread("t1")).toBe(before);
  });
});

describe("the time of a thread", () => {
  const uses: Record<string, (stores: SqlStores) => Promise<unknown>> = {
    "a run that is admitted": ({ runs }) => runs.admit(admission({ runId: "r2" })),
    "a write to its state": ({ threads }) => threads.saveProjection("t1", projection()),
    "a new ttl": ({ threads }) => threads.patch("t1", { ttl: DELETE }),
  };
  it.each(Object.entries(uses))("begins anew with %s", async (_, use) => {
    const stores = await openSqlStores();
    await create(stores, "t1", DELETE);
    stores.clock.advance(7 * MINUTE_MS);
    await use(stores);
    expect(await expiryOf(stores)).toBe(stores.clock.now() + 10 * MINUTE_MS);
  });

  it("begins anew when a run ends, however it ends", async () => {
    for (const status of ["success", "error", "interrupted", "timeout"] as const) {
      const stores = await openSqlStores();
      await create(stores, "t1", KEEP);
      const run = await admitAndClaim(stores, "r1");
      stores.clock.advance(60 * MINUTE_MS);
      expect(await stores.runs.finish(leaseOf(run), outcome({ status }))).toBe(true);
      expect(await expiryOf(stores)).toBe(stores.clock.now() + 10 * MINUTE_MS);
    }
  });

  it("is not moved by who only looks, or labels it", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", DELETE);
    const expiresAt = stores.clock.now() + 10 * MINUTE_MS;
    stores.clock.advance(MINUTE_MS);
    await stores.threads.patch("t1", { metadata: { label: "x" } });
    await stores.threads.search(
      {},
      { limit: 1, offset: 0, maxBytes: 1e9, sortBy: "thread_id", sortOrder: "asc" },
      { withValues: true },
    );
    expect(await expiryOf(stores)).toBe(expiresAt);
  });

  it("stays where a run that was rolled back had put it: the thread was used", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", DELETE);
    stores.clock.advance(9 * MINUTE_MS);
    await stores.runs.admit(admission({ runId: "r1" }));
    await stores.runs.requestCancel("t1", "r1", "rollback");
    expect(await expiryOf(stores)).toBe(stores.clock.now() + 10 * MINUTE_MS);
  });

  it("of a thread without a ttl never begins", async () => {
    const stores = await openSqlStores();
    await create(stores, "t1", null);
    await stores.runs.admit(admission({ runId: "r1" }));
    expect(await stores.column("SELECT expires_at FROM threads")).toEqual([null]);
  });
});
