/** How runs come to exist: what `SqlRunStore.admit` promises to the run manager. */

import { describe, expect, it, onTestFinished } from "vitest";
import { conflict } from "../../src/core/errors.js";
import { silentLog } from "../../src/core/log.js";
import { KEY_SWEEP } from "../../src/storage/idempotency-keys.js";
import { startAgeSweeper } from "../../src/storage/sweeper.js";
import { settle } from "../support/run-kit.js";
import { admission, HOSTILE_STRINGS, newRun, newThread, openSqlStores, PAYLOAD } from "../support/sql-stores.js";

const HOUR_MS = 3_600_000;

const rejectWhenBusy = (runId: string) =>
  admission(
    { runId },
    {
      decide: (_thread, inFlight) =>
        inFlight.length === 0
          ? { kind: "insert", run: newRun({ runId }), cancelInFlight: null }
          : { kind: "refuse", error: conflict("busy") },
    },
  );

describe("admission", () => {
  it("admits exactly one of 300 concurrent runs that reject a busy thread", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    const answers = await Promise.allSettled(
      Array.from({ length: 300 }, (_, index) => runs.admit(rejectWhenBusy(`r${index}`))),
    );
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await stores.column("SELECT count(*) FROM runs")).toEqual([1]);
  });

  it("stores the run whole and shows it on its thread", async () => {
    const { runs, threads, clock } = await openSqlStores();
    const draft = newRun({
      runId: "r1",
      metadata: { source: "test" },
      multitaskStrategy: "interrupt",
      payload: { ...PAYLOAD, input: { text: "hi" }, context: { user: 1 } },
      runAfter: 7,
    });
    const admitted = await runs.admit(
      admission({ runId: "r1" }, { decide: () => ({ kind: "insert", run: draft, cancelInFlight: null }) }),
    );
    const expected = {
      ...draft,
      status: "pending",
      attempt: 0,
      fence: 0,
      firstClaim: null,
      cancelAction: null,
      error: null,
      createdAt: clock.now(),
      updatedAt: clock.now(),
    };
    expect(admitted).toEqual({ kind: "admitted", run: expected, cancelled: [] });
    expect(await runs.get("t1", "r1")).toEqual(expected);
    expect(await threads.get("t1")).toMatchObject({
      status: "busy",
      metadata: { graph_id: "g1", assistant_id: "a1" },
    });
  });

  it("writes nothing when it is refused, not even the thread that it would have made", async () => {
    const stores = await openSqlStores();
    const { runs, threads } = stores;
    const refused = runs.admit(
      admission(
        { runId: "r1" },
        {
          createThread: newThread({ metadata: { a: 1 } }),
          idempotency: { owner: "", key: "k", requestHash: "h" },
          decide: () => ({ kind: "refuse", error: conflict("no") }),
        },
      ),
    );
    await expect(refused).rejects.toThrow("no");
    expect(await threads.get("t1")).toBeUndefined();
    for (const table of ["threads", "thread_terms", "runs", "idempotency_keys"]) {
      expect(await stores.column(`SELECT count(*) FROM ${table}`)).toEqual([0]);
    }
  });

  it("shows the decision no thread when it is missing or being deleted", async () => {
    const { runs, threads } = await openSqlStores();
    const seen: unknown[] = [];
    const ask = () =>
      runs.admit({
        threadId: "t1",
        createThread: null,
        idempotency: null,
        ownerLimits: null,
        claim: null,
        decide: (thread, inFlight) => {
          seen.push(thread, inFlight);
          return { kind: "refuse", error: conflict("asked") };
        },
      });
    await expect(ask()).rejects.toThrow("asked");
    await threads.create(newThread());
    await threads.markDeleting("t1");
    await expect(ask()).rejects.toThrow("asked");
    expect(seen).toEqual([undefined, [], undefined, []]);
  });

  it("does not make a thread under an id that is being deleted", async () => {
    const { runs, threads } = await openSqlStores();
    await threads.create(newThread());
    await threads.markDeleting("t1");
    await expect(runs.admit(admission({ runId: "r1" }))).rejects.toMatchObject({ code: "conflict" });
  });

  it("shows the decision the runs in flight by due time, then creation", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(admission({ runId: "late", runAfter: 20 }));
    await runs.admit(admission({ runId: "first", runAfter: 10 }));
    await runs.admit(admission({ runId: "second", runAfter: 10 }));
    const seen: string[] = [];
    await runs.admit(
      admission(
        { runId: "r4" },
        {
          decide: (_thread, inFlight) => {
            seen.push(...inFlight.map((run) => run.runId));
            return { kind: "insert", run: newRun({ runId: "r4", runAfter: 30 }), cancelInFlight: null };
          },
        },
      ),
    );
    expect(seen).toEqual(["first", "second", "late"]);
  });

  it("merges graph and assistant into the thread's metadata, and the search index follows", async () => {
    const { runs, threads } = await openSqlStores();
    await threads.create(newThread({ metadata: { owner: "me", graph_id: "old" } }));
    await runs.admit(admission({ runId: "r1", graphId: "new" }));
    const find = (graph_id: string) => threads.count({ metadata: { graph_id, owner: "me" } });
    expect(await find("new")).toBe(1);
    expect(await find("old")).toBe(0);
  });

  it("keeps any text in input and metadata", async () => {
    const { runs } = await openSqlStores();
    for (const [index, text] of HOSTILE_STRINGS.entries()) {
      const value = JSON.parse(`{${JSON.stringify(text)}:${JSON.stringify(text)}}`);
      const runId = `r${index}`;
      await runs.admit(admission({ runId, metadata: value, payload: { ...PAYLOAD, input: value } }));
      const run = await runs.get(null, runId);
      expect(JSON.stringify([run?.metadata, run?.payload.input])).toBe(JSON.stringify([value, value]));
    }
  });
});

describe("an idempotency key", () => {
  const keyed = (runId: string, requestHash = "h") =>
    admission({ runId }, { idempotency: { owner: "", key: "k", requestHash } });

  it("makes one run, however often it is sent", async () => {
    const stores = await openSqlStores();
    const { runs } = stores;
    const answers = await Promise.all(["r1", "r2", "r3"].map((runId) => runs.admit(keyed(runId))));
    const kinds = answers.map(({ kind }) => kind).sort();
    expect(kinds).toEqual(["admitted", "repeated", "repeated"]);
    expect(new Set(answers.map(({ run }) => run.runId)).size).toBe(1);
    expect(await stores.column("SELECT count(*) FROM runs")).toEqual([1]);
  });

  it("answers with the run even when the thread would now refuse", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(keyed("r1"));
    const again = await runs.admit({ ...keyed("r2"), decide: () => ({ kind: "refuse", error: conflict("busy") }) });
    expect(again).toMatchObject({ kind: "repeated", run: { runId: "r1", status: "pending" } });
  });

  it("refuses another request under the same key", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(keyed("r1"));
    await expect(runs.admit(keyed("r2", "other"))).rejects.toMatchObject({ code: "conflict" });
  });

  it("never executes a request again whose run is gone", async () => {
    const { runs } = await openSqlStores();
    await runs.admit(keyed("r1"));
    await runs.requestCancel("t1", "r1", "rollback");
    await expect(runs.admit(keyed("r2"))).rejects.toMatchObject({ code: "conflict" });
  });

  it("outlives its thread, and goes after a day although nobody sends another", async () => {
    const stores = await openSqlStores();
    const { runs, threads, commits, clock } = stores;
    const sweeper = startAgeSweeper({ commits, clock, log: silentLog }, KEY_SWEEP);
    onTestFinished(() => sweeper.stop());
    const keys = () => stores.column("SELECT key FROM idempotency_keys");
    await runs.admit(keyed("r1"));
    await threads.remove("t1");
    await expect(runs.admit(keyed("r2"))).rejects.toMatchObject({ code: "conflict" });
    clock.advance(23 * HOUR_MS);
    await settle();
    expect(await keys()).toEqual(["k"]);
    clock.advance(HOUR_MS);
    await expect.poll(keys).toEqual([]);
  });

  it("is free again after a day", async () => {
    const { runs, clock } = await openSqlStores();
    await runs.admit(keyed("r1"));
    clock.advance(24 * HOUR_MS - 1);
    expect((await runs.admit(keyed("r2"))).kind).toBe("repeated");
    clock.advance(1);
    expect((await runs.admit(keyed("r2"))).kind).toBe("admitted");
    expect(await runs.admit(keyed("r3"))).toMatchObject({ kind: "repeated", run: { runId: "r2" } });
  });

  it("leaves those of others alone, also when they are over", async () => {
    const stores = await openSqlStores();
    const { runs, clock } = stores;
    await runs.admit(admission({ runId: "r1" }, { idempotency: { owner: "ada", key: "a", requestHash: "h" } }));
    await runs.admit(admission({ runId: "r2" }, { idempotency: { owner: "", key: "b", requestHash: "h" } }));
    clock.advance(25 * HOUR_MS);
    await runs.admit(keyed("r3"));
    expect(await stores.column("SELECT key FROM idempotency_keys ORDER BY key")).toEqual(["a", "b", "k"]);
  });
});
