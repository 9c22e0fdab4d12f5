/** The numbers that a thread gives to the claims of its runs: the order of what its runs say. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Run } from "../../src/core/model.js";
import { isUniqueViolation } from "../../src/storage/database.js";
import {
  admission,
  admitAndClaim,
  claim,
  LEASE_MS,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  reservation,
  type SqlStores,
} from "../support/sql-stores.js";
import { onPostgres, onSqlite } from "../support/test-database.js";

let stores: SqlStores;
beforeEach(async () => {
  stores = await openSqlStores();
});

const CLAIM = { workerId: "w1", leaseMs: LEASE_MS };

async function admitClaimed(runId: string, threadId = "t1"): Promise<Run> {
  const { run } = await stores.runs.admit(admission({ runId, threadId }, { claim: CLAIM }));
  return run;
}

async function finish(run: Run): Promise<void> {
  expect(await stores.runs.finish(leaseOf(run), outcome())).toBe(true);
}

async function rollBack(run: Run): Promise<void> {
  expect(await stores.runs.markRollingBack(leaseOf(run))).toBe(true);
  await stores.runs.removeRolledBack(run);
}

/** Of a run that is claimed. */
function numberOf({ firstClaim, fence }: Run): number {
  if (firstClaim === null) throw new Error("expected a run that was claimed");
  return firstClaim + fence - 1;
}

async function claimsOf(threadId: string): Promise<unknown> {
  return (await stores.column("SELECT claims FROM threads WHERE thread_id = ?", threadId))[0];
}

describe("claims of a thread", () => {
  it("are numbered in the order in which they happen, by an admission or from the queue", async () => {
    const first = await admitClaimed("r1");
    await stores.runs.admit(admission({ runId: "r2" }));
    await finish(first);
    const second = await claim(stores);
    await finish(second);
    const third = await admitClaimed("r3");
    expect([first, second, third].map(({ runId, firstClaim }) => [runId, firstClaim])).toEqual([
      ["r1", 1],
      ["r2", 2],
      ["r3", 3],
    ]);
    expect(await stores.runs.get("t1", "r3")).toEqual(third);
    expect(await claimsOf("t1")).toBe(3);
  });

  it("are numbered as they start, not as they were admitted", async () => {
    const { runs, clock } = stores;
    await runs.admit(admission({ runId: "delayed", runAfter: clock.now() + 1_000 }));
    await runs.admit(admission({ runId: "now", runAfter: clock.now() }));
    await finish(await claim(stores));
    clock.advance(1_000);
    expect(await claim(stores)).toMatchObject({ runId: "delayed", firstClaim: 2 });
  });

  it("are numbered for themselves on each thread", async () => {
    await admitClaimed("a1", "a");
    expect(await admitClaimed("b1", "b")).toMatchObject({ firstClaim: 1 });
  });

  it("take no number while they wait, and none when they are cancelled before they start", async () => {
    const { runs } = stores;
    const first = await admitClaimed("r1");
    await runs.admit(admission({ runId: "r2" }));
    await runs.admit(admission({ runId: "r3" }));
    expect((await runs.get("t1", "r2"))?.firstClaim).toBeNull();
    await runs.requestCancel("t1", "r2", "interrupt");
    await runs.requestCancel("t1", "r3", "rollback");
    await finish(first);
    expect((await runs.get("t1", "r2"))?.firstClaim).toBeNull();
    expect(await admitClaimed("r4")).toMatchObject({ firstClaim: 2 });
  });

  it("take no number when the claim, or the admission with it, did not happen", async () => {
    const { runs } = stores;
    await admitClaimed("r1");
    expect(await runs.claim("w2", LEASE_MS)).toBeUndefined();
    const refused = { kind: "refuse", error: new Error("no") } as const;
    await expect(runs.admit(admission({ runId: "r2" }, { claim: CLAIM, decide: () => refused }))).rejects.toThrow("no");
    expect(await claimsOf("t1")).toBe(1);
  });
});

describe("a number is never given twice", () => {
  it("also after a rollback", async () => {
    await finish(await admitClaimed("r1"));
    const before = await stores.dumpThread("t1");
    await rollBack(await admitClaimed("r2"));
    expect(await stores.dumpThread("t1")).toBe(before);
    expect(await claimsOf("t1")).toBe(2);
    expect(await admitClaimed("r3")).toMatchObject({ firstClaim: 3 });
  });

  it("also by a run that rolls others back", async () => {
    const { runs } = stores;
    const first = await admitClaimed("r1");
    await runs.admit(admission({ runId: "r2" }, { cancelInFlight: "rollback", claim: CLAIM }));
    await rollBack(first);
    expect(await claim(stores)).toMatchObject({ runId: "r2", firstClaim: 2 });
  });

  it("also when the newest run was deleted", async () => {
    await finish(await admitClaimed("r1"));
    expect(await stores.runs.remove("t1", "r1")).toBe(true);
    expect(await admitClaimed("r2")).toMatchObject({ firstClaim: 2 });
  });

  it("whoever writes it", async () => {
    await finish(await admitClaimed("r1"));
    await finish(await admitClaimed("r2"));
    const force = stores.rows("UPDATE runs SET first_claim = 1 WHERE run_id = 'r2'");
    await expect(force).rejects.toSatisfy(isUniqueViolation);
  });
});

describe("a run that is claimed again goes on right behind itself", () => {
  const giveBack = {
    "was released": async (run: Run) => void (await stores.runs.release(leaseOf(run))),
    crashed: async () => void (await stores.runs.recoverOrphans()),
    "crashed with a cancel on it": async (run: Run) => {
      await stores.runs.requestCancel("t1", run.runId, "interrupt");
      await stores.runs.recoverOrphans();
    },
  };
  const cases = Object.keys(giveBack) as (keyof typeof giveBack)[];

  it.each(cases)("when it %s, whatever waits behind it", async (how) => {
    await finish(await admitClaimed("r0"));
    const first = await admitClaimed("r1");
    await stores.runs.admit(admission({ runId: "r2" }));
    await giveBack[how](first);
    const again = await claim(stores);
    expect(again).toMatchObject({ runId: "r1", fence: 2, firstClaim: 2 });
    await finishAsAsked(again);
    const next = await claim(stores);
    expect([first, again, next].map(numberOf)).toEqual([2, 3, 4]);
  });

  it.each(cases)("when it %s, also where the clock was set back and others are due before it", async (how) => {
    const { runs, clock } = stores;
    await runs.admit(admission({ runId: "r1", runAfter: clock.now() }));
    const first = await claim(stores);
    await runs.admit(admission({ runId: "r2", runAfter: clock.now() - 500 }));
    await giveBack[how](first);
    expect(await runs.nextDueAt()).toBe(first.runAfter);
    const again = await claim(stores);
    expect(again).toMatchObject({ runId: "r1", firstClaim: 1 });
    await finishAsAsked(again);
    const next = await claim(stores);
    expect([first, again, next].map(numberOf)).toEqual([1, 2, 3]);
  });

  async function finishAsAsked(run: Run): Promise<void> {
    const status = run.cancelAction === null ? "success" : "interrupted";
    expect(await stores.runs.finish(leaseOf(run), outcome({ status }))).toBe(true);
  }

  it("is due when it was, and until then its thread waits for it", async () => {
    const { runs, clock } = stores;
    await runs.admit(admission({ runId: "r1", runAfter: clock.now() }));
    const first = await claim(stores);
    await stores.rows("UPDATE runs SET run_after = run_after + 500"); // as after setting the clock back
    await runs.admit(admission({ runId: "r2", runAfter: clock.now() }));
    await runs.release(leaseOf(first));
    expect(await runs.claim("w1", LEASE_MS)).toBeUndefined();
    expect(await runs.nextDueAt()).toBe(clock.now() + 500);
    clock.advance(500);
    expect(await claim(stores)).toMatchObject({ runId: "r1" });
  });
});

describe("the runs of a thread that have started", () => {
  it("are found one behind the other, over the numbers of claims again and of runs that are gone", async () => {
    const { runs } = stores;
    await runs.release(leaseOf(await admitClaimed("r1")));
    await finish(await claim(stores));
    await rollBack(await admitClaimed("r2"));
    const running = await admitClaimed("r3");
    await runs.admit(admission({ runId: "r4" }));
    await admitClaimed("other", "t2");
    const next = async (after: number) => {
      const run = await runs.nextStarted("t1", after);
      return run === undefined ? undefined : [run.runId, run.firstClaim];
    };
    expect(await next(0)).toEqual(["r1", 1]);
    expect(await next(1)).toEqual(["r3", 4]);
    expect(await next(3)).toEqual(["r3", 4]);
    expect(await next(4)).toBeUndefined();
    expect(await runs.nextStarted("t3", 0)).toBeUndefined();
    expect(await runs.newestStarted("t1")).toEqual(running);
  });

  it("are none while nothing has started", async () => {
    const { runs, threads } = stores;
    await threads.create(newThread());
    await threads.reserve("t1", reservation("x"));
    await runs.admit(admission({ runId: "r1" }));
    expect(await runs.newestStarted("t1")).toBeUndefined();
    expect(await runs.nextStarted("t1", 0)).toBeUndefined();
  });

  onSqlite("are found, and numbered, without reading the others", async () => {
    const { runs, plan, statementsOf } = stores;
    const found = await statementsOf(async () => {
      await runs.nextStarted("t1", 0);
      await runs.newestStarted("t1");
    });
    expect(found.map(plan)).toEqual([
      "SEARCH runs USING INDEX runs_started (thread_id=? AND first_claim>?)",
      "SEARCH runs USING INDEX runs_started (thread_id=? AND first_claim>?)",
    ]);
    const claimed = await statementsOf(async () => void (await admitAndClaim(stores, "r1")));
    const plans = claimed.map(plan).join("\n");
    expect(plans).toMatch(/SEARCH o USING INDEX runs_started \(thread_id=\? AND first_claim>\?\)/);
    expect(plans).toMatch(/SEARCH t USING INDEX sqlite_autoindex_threads_1 \(thread_id=\?\)/);
    expect(plans).not.toMatch(/TEMP B-TREE/);
  });
});

/** Triggers note how many rows and entries of indexes an update of runs has read by the time that it has found its row. */
const COUNTING = `create table looked_at (n bigint);
  create function looks() returns bigint language sql as $$
    select sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)) from pg_class
      where oid in ('runs'::regclass, 'threads'::regclass)
      or oid in (select indexrelid from pg_index where indrelid in ('runs'::regclass, 'threads'::regclass)) $$;
  create function note_looks() returns trigger language plpgsql as $$ begin
    insert into looked_at values (case tg_level when 'ROW' then looks() else -looks() end);
    return new;
  end $$;
  create trigger a_begins before update on runs for each statement execute function note_looks();
  create trigger a_finds before update on runs for each row execute function note_looks()`;
const COUNTED = `drop trigger a_begins on runs; drop trigger a_finds on runs; drop function note_looks; drop function looks;
  drop table looked_at`;

for (const known of [0, 3, 300]) {
  onPostgres(`a claim looks at few of the runs that are due, when statistics know of ${known} of 300`, async () => {
    const admit = (of: string) =>
      Promise.all(
        Array.from({ length: 300 }, (_, id) =>
          stores.runs.admit(admission({ runId: `${of} ${id}`, threadId: `t${id}` })),
        ),
      );
    await admit("earlier");
    await stores.execute(`set heddle.now = '0';
      update runs set status = 'success' where seq > (select min(seq) + ${known - 1} from runs)`);
    await stores.execute("vacuum analyze runs, threads");
    if (known < 300) await admit("later");
    await stores.execute(COUNTING);
    try {
      expect(await claim(stores)).toMatchObject({ status: "running" });
      const [looks] = await stores.column("select sum(n) from looked_at");
      expect(Number(looks)).toBeGreaterThan(0);
      expect(Number(looks)).toBeLessThan(30);
    } finally {
      await stores.execute(COUNTED);
    }
  });
}
