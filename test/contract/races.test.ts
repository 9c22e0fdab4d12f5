/**
 * Several processes over one PostgreSQL at the same moment: each has connections of its own, and none knows of the others.
 * What one process with SQLite keeps, because its transactions follow each other, holds here, too.
 */
import { sql } from "kysely";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { conflict } from "../../src/core/errors.js";
import { silentLog } from "../../src/core/log.js";
import type { Run } from "../../src/core/model.js";
import { SqlAssistantStore } from "../../src/storage/assistants.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { SqlCronStore } from "../../src/storage/crons.js";
import { SqlStore } from "../../src/storage/items.js";
import { isMigrated } from "../../src/storage/migrations.js";
import type { CronTick } from "../../src/storage/ports/crons.js";
import type { AdmitRequest } from "../../src/storage/ports/runs.js";
import { migrateServer, openPostgres } from "../../src/storage/postgres.js";
import { SqlRunLedger } from "../../src/storage/run-ledger.js";
import { SqlRunStore } from "../../src/storage/runs.js";
import { SqlThreadStore } from "../../src/storage/threads.js";
import { SqlWebhookOutbox } from "../../src/storage/webhook-outbox.js";
import { createFakeClock } from "../support/fake-clock.js";
import { openTestPostgres } from "../support/postgres.js";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";
import {
  admission,
  LEASE_MS,
  leaseOf,
  newAssistant,
  newCron,
  newRun,
  newThread,
  outcome,
  PAYLOAD,
  projection,
  reservation,
} from "../support/sql-stores.js";

const PROCESSES = 4;

type Process = ReturnType<typeof storesOf>;

let clock = createFakeClock();
let processes: readonly Process[] = [];
let first: Process;

function storesOf({ database, changes }: Awaited<ReturnType<typeof openTestPostgres>>) {
  const commits = createCommitGroup(database);
  const deps = { database, commits, clock };
  const ttl = { defaultTtlMinutes: null, refreshOnRead: false, sweepIntervalMinutes: 60 };
  return {
    database,
    changes,
    threads: new SqlThreadStore(deps),
    runs: new SqlRunStore(deps),
    crons: new SqlCronStore(deps),
    ledger: new SqlRunLedger(deps),
    outbox: new SqlWebhookOutbox(deps),
    assistants: new SqlAssistantStore(deps),
    items: new SqlStore({ database, clock, log: silentLog, ttl, maxBytesPerBatch: 1e9, index: null }),
  };
}

/** `times` calls at once, by all processes in turn; those that fail are told. */
async function atOnce<T>(times: number, call: (process: Process, index: number) => Promise<T>) {
  const calls = Array.from({ length: times }, (_, index) => call(processes[index % PROCESSES] ?? first, index));
  const settled = await Promise.allSettled(calls);
  return {
    answers: settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : [])),
    failures: settled.flatMap((each) => (each.status === "rejected" ? [each.reason as unknown] : [])),
  };
}

/** Admits unless something of its thread is in flight. */
function rejecting(runId: string, threadId = "t1"): AdmitRequest {
  const run = newRun({ runId, threadId });
  return {
    ...admission({ runId, threadId }),
    decide: (_, inFlight) =>
      inFlight.length > 0 ? { kind: "refuse", error: conflict("busy") } : { kind: "insert", run, cancelInFlight: null },
  };
}

/** Lets nobody go on before so many have come. */
function gate(count: number): () => Promise<void> {
  let missing = count;
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return () => {
    if (--missing === 0) open();
    return opened;
  };
}

const failuresOf = (failures: readonly unknown[]) => failures.map((error) => (error as { code?: unknown }).code);

describe.skipIf(POSTGRES_MISSING !== undefined)("several processes at once", () => {
  beforeEach(async () => {
    clock = createFakeClock();
    const opened = await openTestPostgres(clock);
    const others = await Promise.all(
      Array.from({ length: PROCESSES - 1 }, () => openTestPostgres(clock, { url: opened.url })),
    );
    processes = [opened, ...others].map(storesOf);
    first = processes[0] as Process; // there are several
    onTestFinished(async () => {
      for (const { close } of [...others, opened]) await close();
    });
  });

  it("start with one schema, whoever makes it", async () => {
    const url = await makeDatabase();
    await Promise.all(Array.from({ length: 6 }, () => migrateServer(url, silentLog)));
    const { database } = openPostgres({ url, poolSize: 1, timeoutMs: 10_000 }, silentLog);
    expect(await isMigrated(database)).toBe(true);
    await database.destroy();
  });

  it("admit exactly one of many runs that reject a busy thread, also where the first makes the thread", async () => {
    const { answers, failures } = await atOnce(40, ({ runs }, index) => runs.admit(rejecting(`r${index}`)));
    expect(answers).toHaveLength(1);
    expect(new Set(failuresOf(failures))).toEqual(new Set(["conflict"]));
    expect(await first.runs.listIds("t1")).toHaveLength(1);
  });

  it("admit all that queue, each once, and claim them one after the other", async () => {
    const { failures } = await atOnce(24, ({ runs }, index) => runs.admit(admission({ runId: `r${index}` })));
    expect(failures).toEqual([]);
    const numbers: (number | null)[] = [];
    for (let left = 24; left > 0; left--) {
      const { answers } = await atOnce(8, ({ runs }, index) => runs.claim(`w${index}`, LEASE_MS));
      const won = answers.filter((run) => run !== undefined);
      expect(won).toHaveLength(1);
      for (const run of won) {
        numbers.push(run.firstClaim);
        await first.runs.finish({ ...leaseOf(run), workerId: await workerOf(run.runId) }, outcome());
      }
    }
    expect(numbers).toEqual(Array.from({ length: 24 }, (_, index) => index + 1));
  });

  const workerOf = async (runId: string) =>
    (await first.database.selectFrom("runs").select("worker_id").where("run_id", "=", runId).executeTakeFirstOrThrow())
      .worker_id ?? "";

  it("claim each run once, and of a thread one at a time, until none is left", async () => {
    const threads = Array.from({ length: 12 }, (_, index) => `t${index}`);
    for (const threadId of threads) {
      for (const n of [1, 2, 3]) await first.runs.admit(admission({ runId: `${threadId}-${n}`, threadId }));
    }
    const started: string[] = [];
    const { failures } = await atOnce(12, async ({ runs }, index) => {
      const workerId = `w${index}`;
      for (;;) {
        const run = await runs.claim(workerId, LEASE_MS);
        if (run === undefined) {
          if ((await first.runs.listInFlight({})).length === 0) return;
          continue; // others hold what is left
        }
        started.push(run.runId);
        expect(await runs.finish(leaseOf(run, workerId), outcome())).toBe(true);
      }
    });
    expect(failures).toEqual([]);
    expect(started).toHaveLength(36);
    expect(new Set(started).size).toBe(36);
    for (const threadId of threads) {
      const ofThread = started.filter((runId) => runId.startsWith(`${threadId}-`));
      expect(ofThread).toEqual([1, 2, 3].map((n) => `${threadId}-${n}`)); // in the order of their admissions
      expect((await first.threads.get(threadId))?.status).toBe("idle");
    }
  });

  it("admit nothing to a thread that goes, and leave nothing of one that went", async () => {
    for (let round = 0; round < 10; round++) {
      const threadId = `t${round}`;
      await first.threads.create(newThread({ threadId }));
      const { failures } = await atOnce(8, async ({ runs, threads }, index) => {
        if (index !== 3)
          return void (await runs.admit({
            ...admission({ runId: `${threadId}-${index}`, threadId }),
            createThread: null,
          }));
        expect(await threads.markDeleting(threadId)).toBe(true);
        await threads.remove(threadId);
      });
      expect(failuresOf(failures).filter((code) => code !== "conflict")).toEqual([]);
      expect(await first.runs.listIds(threadId)).toEqual([]);
      expect(await first.threads.get(threadId)).toBeUndefined();
    }
  });

  it("reserve a thread, or admit to it, but not both", async () => {
    for (let round = 0; round < 10; round++) {
      const threadId = `t${round}`;
      await first.threads.create(newThread({ threadId }));
      const { answers } = await atOnce(8, async ({ runs, threads }, index) => {
        if (index % 2 === 0) return threads.reserve(threadId, reservation(`o${index}`));
        const claim = { workerId: "w", leaseMs: LEASE_MS };
        return (await runs.admit({ ...admission({ runId: `${threadId}-${index}`, threadId }), claim })).run.status;
      });
      const reserved = answers.filter((answer) => answer === "reserved").length;
      const running = answers.filter((answer) => answer === "running").length;
      expect(reserved + running).toBe(1);
    }
  });

  it("give an assistant versions without holes or doubles", async () => {
    await first.assistants.create(newAssistant());
    const { answers, failures } = await atOnce(20, ({ assistants }, index) =>
      assistants.patch("a1", { metadata: { [`m${index}`]: index } }),
    );
    expect(failures).toEqual([]);
    const versions = answers.map((assistant) => assistant?.version ?? 0).sort((a, b) => a - b);
    expect(versions).toEqual(Array.from({ length: 20 }, (_, index) => index + 2));
    expect(Object.keys((await first.assistants.get("a1"))?.metadata ?? {})).toHaveLength(20);
  });

  it("make of one tick one run", async () => {
    await first.assistants.create(newAssistant());
    for (let tick = 1; tick <= 5; tick++) {
      const at = clock.now();
      if (tick === 1) await first.crons.create(newCron({ nextRunAt: at }), 10);
      const due: CronTick = { cronId: "c1", at, dueAt: at, nextRunAt: at + 60_000 };
      const { answers, failures } = await atOnce(8, ({ runs }, index) =>
        runs.fire(due, admission({ runId: `tick-${tick}-${index}`, threadId: `t-${tick}-${index}` })),
      );
      expect(failures).toEqual([]);
      expect(answers.filter((answer) => answer !== undefined)).toHaveLength(1);
      clock.advance(60_000);
    }
    expect(await first.runs.listInFlight({})).toHaveLength(5);
  });

  it("make no more crons than there may be", async () => {
    await first.assistants.create(newAssistant());
    const { answers, failures } = await atOnce(16, ({ crons }, index) =>
      crons.create(newCron({ cronId: `c${index}` }), 5),
    );
    expect(failures).toEqual([]);
    expect(answers.filter((answer) => answer !== "full")).toHaveLength(5);
    expect(await first.crons.count({})).toBe(5);
  });

  it("give nobody more runs in flight than they may have", async () => {
    const user = { identity: "ada", permissions: [], display_name: "Ada", is_authenticated: true };
    const payload = { ...PAYLOAD, user };
    const ownerLimits = { owner: "ada", inFlight: 6, pending: null };
    const { answers, failures } = await atOnce(20, ({ runs }, index) =>
      runs.admit(admission({ runId: `r${index}`, threadId: `t${index}`, payload }, { ownerLimits })),
    );
    expect(answers).toHaveLength(6);
    expect(new Set(failuresOf(failures))).toEqual(new Set(["too_many_requests"]));
    expect(await first.threads.count({})).toBe(6);
  });

  it("make one run of one Idempotency-Key, whatever thread each would make", async () => {
    const idempotency = { owner: "ada", key: "k", requestHash: "h" };
    const { answers, failures } = await atOnce(16, ({ runs }, index) =>
      runs.admit(admission({ runId: `r${index}`, threadId: `t${index}` }, { idempotency })),
    );
    expect(failures).toEqual([]);
    expect(answers.filter(({ kind }) => kind === "admitted")).toHaveLength(1);
    expect(new Set(answers.map(({ run }) => run.runId)).size).toBe(1);
    expect(await first.threads.count({})).toBe(1);
  });

  it("wait for nobody's expired Idempotency-Key", async () => {
    await first.runs.admit(admission({ runId: "r0" }, { idempotency: { owner: "bob", key: "k", requestHash: "h" } }));
    clock.advance(25 * 60 * 60_000);
    await first.database.transaction().execute(async (transaction) => {
      await transaction.deleteFrom("idempotency_keys").execute(); // as a sweep that has not committed yet
      const other = processes[1] ?? first;
      await sql`set lock_timeout = '1ms'`.execute(other.database); // who would wait says so
      const idempotency = { owner: "ada", key: "k", requestHash: "h" };
      const { kind } = await other.runs.admit(admission({ runId: "r1", threadId: "t2" }, { idempotency }));
      expect(kind).toBe("admitted");
    });
  });

  it("take each webhook once", async () => {
    const payload = { ...PAYLOAD, webhook: "https://hooks.example/a" };
    for (let index = 0; index < 20; index++) {
      const claim = { workerId: "w", leaseMs: LEASE_MS };
      const { run } = await first.runs.admit(
        admission({ runId: `r${index}`, threadId: `t${index}`, payload }, { claim }),
      );
      await first.runs.finish(leaseOf(run, "w"), outcome());
    }
    const { answers, failures } = await atOnce(8, ({ outbox }) =>
      outbox.claim(30_000, { limit: 5, roomOf: () => 100 }),
    );
    expect(failures).toEqual([]);
    const taken = answers.flat().map(({ ended }) => ended.run.runId);
    expect(taken).toHaveLength(20);
    expect(new Set(taken).size).toBe(20);
  });

  it("put items over each other, and each process keeps the order of its own", async () => {
    const { failures } = await atOnce(40, ({ items }, index) =>
      items.batch([
        { namespace: ["n"], key: index % 2 === 0 ? "a" : "b", value: { index } },
        { namespace: ["n"], key: index % 2 === 0 ? "b" : "a", value: { index } },
      ]),
    );
    expect(failures).toEqual([]);
    for (let index = 0; index < 30; index++) void first.items.put(["own"], "k", { index });
    await first.items.put(["own"], "k", { index: "last" });
    expect((await first.items.get(["own"], "k"))?.value).toEqual({ index: "last" });
  });

  it("number the segments of a run one after the other", async () => {
    await first.runs.admit(admission({ runId: "r1" }));
    await first.runs.claim("w1", LEASE_MS);
    await atOnce(20, ({ ledger }, index) =>
      ledger.append([{ runId: "r1", fence: 1, firstSeq: index + 1, lastSeq: index + 1, events: "[]" }]),
    );
    const rows = await first.database.selectFrom("run_events").select("segment").orderBy("segment").execute();
    expect(rows.map(({ segment }) => segment)).toEqual(rows.map((_, index) => index + 1));
  });

  it("end a run once, whoever ends, cancels or deletes it meanwhile", async () => {
    for (let round = 0; round < 10; round++) {
      const threadId = `t${round}`;
      const claim = { workerId: "w", leaseMs: LEASE_MS };
      const { run } = await first.runs.admit(admission({ runId: `r${round}`, threadId }, { claim }));
      const { answers, failures } = await atOnce(8, async ({ runs, threads }, index) => {
        if (index === 5) return runs.requestCancel(null, run.runId, "interrupt");
        if (index === 6) return threads.patch(threadId, { metadata: { seen: true } });
        if (index === 7) return runs.renew(leaseOf(run, "w"), LEASE_MS);
        return runs.finish(leaseOf(run, "w"), outcome({ projection: projection({ valuesJson: `{"n":${index}}` }) }));
      });
      expect(failures).toEqual([]);
      const ends = answers.filter((answer) => answer === true).length;
      const cancelled = answers.includes("requested");
      expect(ends).toBe(cancelled ? 0 : 1);
      expect((await first.threads.get(threadId))?.status).toBe(cancelled ? "busy" : "idle");
    }
  });

  it("let the first cancel of a run decide, and take each run that is being rolled back over once", async () => {
    for (let round = 0; round < 10; round++) {
      const claim = { workerId: "w", leaseMs: LEASE_MS };
      const threadId = `t${round}`;
      const { run } = await first.runs.admit(admission({ runId: `r${round}`, threadId }, { claim }));
      const { answers, failures } = await atOnce(8, ({ runs }, index) =>
        runs.requestCancel(threadId, run.runId, index % 2 === 0 ? "interrupt" : "rollback"),
      );
      expect(failures).toEqual([]);
      expect(answers).toEqual(Array.from({ length: 8 }, () => "requested"));
      const lease = leaseOf(run, "w");
      const asked = (await first.runs.renew(lease, LEASE_MS)).cancel;
      expect(["interrupt", "rollback"]).toContain(asked);
      await first.runs.requestCancel(threadId, run.runId, asked === "interrupt" ? "rollback" : "interrupt");
      expect((await first.runs.renew(lease, LEASE_MS)).cancel).toBe(asked);
      expect(await first.runs.markRollingBack(lease)).toBe(true);
    }
    clock.advance(LEASE_MS + 1);
    const { answers, failures } = await atOnce(8, ({ runs }, index) => runs.takeRollbacks(`s${index}`, LEASE_MS));
    expect(failures).toEqual([]);
    const taken = answers.flat().map(({ runId }) => runId);
    expect(taken.sort()).toEqual(Array.from({ length: 10 }, (_, index) => `r${index}`));
    const removed = await atOnce(40, ({ runs }, index) =>
      runs.removeRolledBack({ runId: `r${index % 10}`, threadId: `t${index % 10}` }),
    );
    expect(removed.failures).toEqual([]);
    expect(await first.runs.listInFlight({})).toEqual([]);
    for (let round = 0; round < 10; round++) expect((await first.threads.get(`t${round}`))?.status).toBe("idle");
  });

  it("change the metadata of a thread and lose nothing of each other, whoever runs on it", async () => {
    await first.threads.create(newThread());
    const { failures } = await atOnce(32, async ({ threads, runs }, index) => {
      if (index % 8 === 0) return void (await runs.admit(admission({ runId: `r${index}` })));
      if (index % 8 === 1) return threads.catchUp("t1", projection({ valuesJson: `{"n":${index}}` }));
      expect(await threads.patch("t1", { metadata: { [`m${index}`]: index } })).toBeDefined();
    });
    expect(failures).toEqual([]);
    const thread = await first.threads.get("t1");
    const patched = Array.from({ length: 32 }, (_, index) => index).filter((index) => index % 8 > 1);
    expect(thread?.metadata).toEqual({
      ...Object.fromEntries(patched.map((index) => [`m${index}`, index])),
      graph_id: "g1",
      assistant_id: "a1",
    });
    expect(thread?.status).toBe("busy");
    for (const index of patched) expect(await first.threads.count({ metadata: { [`m${index}`]: index } })).toBe(1);
  });

  it("try again what others were in the way of, when both wait for each other", async () => {
    for (const threadId of ["t1", "t2"]) await first.threads.create(newThread({ threadId }));
    const other = processes[1] ?? first;
    const touch = (database: Process["database"], threadId: string) =>
      database.updateTable("threads").set({ updated_at: 7 }).where("thread_id", "=", threadId).execute();
    let tries = 0;
    const both = gate(2);
    const crosswise = ({ database }: Process, order: readonly [string, string]) =>
      createCommitGroup(database).run(async (transaction) => {
        tries++;
        await touch(transaction, order[0]);
        if (tries <= 2) await both();
        await touch(transaction, order[1]);
      });
    await Promise.all([crosswise(first, ["t1", "t2"]), crosswise(other, ["t2", "t1"])]);
    expect(tries).toBe(3); // one of them was told of a deadlock
  });

  it("sweep what has expired once, and nothing that is in use", async () => {
    const ttl = { strategy: "delete", ttlMinutes: 1 } as const;
    for (let index = 0; index < 20; index++) await first.threads.create(newThread({ threadId: `t${index}`, ttl }));
    clock.advance(2 * 60_000);
    const admitted: string[] = [];
    const { answers, failures } = await atOnce(12, async ({ threads, runs }, index) => {
      if (index % 3 !== 0) return threads.markExpired(10);
      const threadId = `t${index}`;
      await runs.admit({ ...admission({ runId: `r${index}`, threadId }), createThread: null });
      admitted.push(threadId);
      return [];
    });
    expect(failuresOf(failures).filter((code) => code !== "conflict")).toEqual([]);
    const marked = answers.flat();
    expect(new Set(marked).size).toBe(marked.length);
    expect(marked.filter((threadId) => admitted.includes(threadId))).toEqual([]);
    while ((await first.threads.markExpired(10)).length > 0); // the rest
    expect(await first.threads.count({})).toBe(admitted.length);
  });

  it("hear of a thread that they changed when the change can be seen, and not before", async () => {
    await first.threads.create(newThread());
    const seen: Promise<unknown>[] = [];
    const stop = first.changes.on((threadId) => seen.push(first.threads.get(threadId)));
    await first.threads.patch("t1", { metadata: { a: 1 } });
    await expect(
      first.runs.admit({ ...admission({ runId: "r1" }), decide: () => ({ kind: "refuse", error: conflict("no") }) }),
    ).rejects.toThrow("no");
    expect(await Promise.all(seen)).toEqual([expect.objectContaining({ metadata: { a: 1 } })]);
    stop();
    await first.threads.patch("t1", { metadata: { b: 1 } });
    expect(seen).toHaveLength(1);
  });
});

/** The time of a database that asks for it where a claim has looked at the runs, and has not taken the thread yet. */
const GATED_NOW = `create or replace function heddle_now() returns bigint language plpgsql volatile as $$ begin
  if current_setting('heddle.waits', true) = 'yes' then perform pg_advisory_xact_lock_shared(1); end if;
  return current_setting('heddle.now')::bigint;
end $$`;

describe.skipIf(POSTGRES_MISSING !== undefined)("a claim that stands still before it takes the thread", () => {
  /** Two processes; the claims of one wait after they have looked, until `open` is called. */
  async function openGated() {
    clock = createFakeClock();
    const url = await makeDatabase();
    await migrateServer(url, silentLog);
    const fast = await openTestPostgres(clock, { url });
    await fast.execute(GATED_NOW);
    const slow = await openTestPostgres(clock, { url: `${url}?options=-c%20heddle.waits=yes`, poolSize: 1 });
    const gate = await fast.pool.connect();
    await gate.query("select pg_advisory_lock(1)");
    onTestFinished(async () => {
      gate.release(true);
      await slow.close();
      await fast.close();
    });
    return {
      fast: storesOf(fast),
      slow: storesOf(slow),
      async isWaiting(): Promise<boolean> {
        const { rows } = await gate.query("select 1 from pg_locks where locktype = 'advisory' and not granted");
        return rows.length === 1;
      },
      open: () => gate.query("select pg_advisory_unlock(1)"),
    };
  }

  const meanwhile = {
    "was rolled back": async ({ runs }: Process, run: Run) => {
      expect(await runs.markRollingBack(leaseOf(run, "fast"))).toBe(true);
      await runs.removeRolledBack(run);
    },
    "was given back": async ({ runs }: Process, run: Run) => {
      expect(await runs.release(leaseOf(run, "fast"))).toBe(true);
    },
    ended: async ({ runs }: Process, run: Run) => {
      expect(await runs.finish(leaseOf(run, "fast"), outcome())).toBe(true);
    },
  };

  // It comes before the one that was seen as the next, because the clock was set back.
  it.each(Object.keys(meanwhile) as (keyof typeof meanwhile)[])(
    "repeats no number, and goes ahead of nobody, when another run was claimed meanwhile and %s",
    async (how) => {
      const { fast, slow, isWaiting, open } = await openGated();
      await fast.runs.admit(admission({ runId: "seen", runAfter: clock.now() }));
      const claiming = slow.runs.claim("slow", LEASE_MS);
      await expect.poll(isWaiting).toBe(true);
      await fast.runs.admit(admission({ runId: "meanwhile", runAfter: clock.now() - 1_000 }));
      const other = await fast.runs.claim("fast", LEASE_MS);
      if (other === undefined) throw new Error("expected a claimable run");
      expect(other).toMatchObject({ runId: "meanwhile", firstClaim: 1 });
      await meanwhile[how](fast, other);
      await open();
      const next = (await claiming) ?? (await slow.runs.claim("slow", LEASE_MS));
      expect(next).toMatchObject(
        how === "was given back"
          ? { runId: "meanwhile", firstClaim: 1, fence: 2 }
          : { runId: "seen", firstClaim: 2, fence: 1 },
      );
    },
  );
});
