/** On PostgreSQL only who holds a run, or has reserved a thread, writes to it: processes are told apart by their pools. */
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { Kysely, PostgresDialect } from "kysely";
import type pg from "pg";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { migrateCheckpoints } from "../../src/storage/checkpoint-postgres-schema.js";
import { openPostgresCheckpoints, requireDatabaseOfRuns } from "../../src/storage/checkpoints-postgres.js";
import type { Schema } from "../../src/storage/database.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import { OWNER_TABLES } from "../support/checkpoint-drivers.js";
import { sequence, THREAD } from "../support/checkpoint-graphs.js";
import { logOf } from "../support/checkpoint-rows.js";
import { makeDatabase, openTestPool, POSTGRES_MISSING } from "../support/postgres-server.js";

const METADATA = { source: "loop", step: 1, parents: {} } as const;
const TASK = "7a4b3f0e-5f1c-4c55-9d8e-0d5f2b1c6a77";

describe.skipIf(POSTGRES_MISSING !== undefined)("checkpoints on PostgreSQL", () => {
  let url: string;
  let first: pg.Pool;
  let second: pg.Pool;
  /** Of two processes. */
  let zombie: Checkpoints;
  let owner: Checkpoints;

  beforeAll(async () => {
    url = await makeDatabase();
    const pool = openTestPool(url);
    await pool.query(OWNER_TABLES);
    await migrateCheckpoints(pool);
    await pool.end();
  });

  beforeEach(async () => {
    first = openTestPool(url, { max: 3 });
    second = openTestPool(url, { max: 3 });
    zombie = await openPostgresCheckpoints(first);
    owner = await openPostgresCheckpoints(second);
    await second.query("TRUNCATE runs, threads, state_checkpoints, state_values, state_writes");
    await second.query("INSERT INTO threads (thread_id) VALUES ('thread')");
    await second.query("INSERT INTO runs (run_id, fence) VALUES ('r1', 1)");
  });

  afterEach(async () => {
    await Promise.all([first.end(), second.end()]);
  });

  const claim = (fence: number) => ({ threadId: "thread", runId: "r1", fence });
  const takeOver = () => second.query("UPDATE runs SET fence = 2 WHERE run_id = 'r1'");
  const rows = async () => {
    const all = ["state_checkpoints", "state_values", "state_writes"].map(
      async (table) => (await second.query<object>(`SELECT * FROM ${table} ORDER BY seq`)).rows,
    );
    return Promise.all(all);
  };

  describe("a run that was taken over", () => {
    it("can store nothing more, and changes nothing by trying", async () => {
      const { saver } = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
      await sequence(saver).invoke({ log: ["long ".repeat(1_000)] }, THREAD);
      await takeOver();
      const before = await rows();
      const head = await saver.getTuple(THREAD);
      const config = head?.config ?? {};
      const late = {
        ...emptyCheckpoint(),
        id: uuid6(9),
        channel_values: { x: "y".repeat(1_000) },
        channel_versions: { x: 9 },
      };
      const attempts = [
        () => zombie.forRun({ ...claim(1), durability: "sync" }, hostKit).saver.put(config, late, METADATA, { x: 9 }),
        () =>
          zombie
            .forRun({ ...claim(1), durability: "sync" }, hostKit)
            .saver.putWrites(config, [["log", ["late"]]], TASK),
        () => zombie.forRun({ ...claim(1), durability: "sync" }, hostKit).saver.deleteThread("thread"),
        () => zombie.stepBack(claim(1), { root: true }),
        () => zombie.deleteRun(claim(1)),
      ];
      for (const attempt of attempts) {
        await expect(attempt()).rejects.toThrow("run r1 is no longer executed under claim 1");
        expect(await rows()).toEqual(before);
      }
      await expect(sequence(saver).invoke({ log: ["late"] }, THREAD)).rejects.toThrow("no longer executed");
      expect(await rows()).toEqual(before);
    });

    it("is gone on with by its new owner", async () => {
      await sequence(zombie.forRun({ ...claim(1), durability: "sync" }, hostKit).saver).invoke({ log: ["in"] }, THREAD);
      await takeOver();
      const { saver } = owner.forRun({ ...claim(2), durability: "sync" }, hostKit);
      await sequence(saver).invoke({ log: ["again"] }, THREAD);
      expect(await logOf(saver)).toEqual(["in", "a", "b", "again", "a", "b"]);
    });

    it.each(["success", "pending"])("or ended, stores nothing: %s", async (status) => {
      await second.query("UPDATE runs SET status = $1", [status]);
      const { saver } = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
      await expect(sequence(saver).invoke({ log: ["in"] }, THREAD)).rejects.toThrow("no longer executed");
      expect(await rows()).toEqual([[], [], []]);
    });
  });

  it("a takeover waits for a write that is being committed, and the write is there when it is done", async () => {
    const holding = await second.connect();
    await holding.query("BEGIN");
    await holding.query("UPDATE runs SET fence = 2 WHERE run_id = 'r1'");
    const { saver } = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
    const put = saver.put(THREAD, { ...emptyCheckpoint(), id: uuid6(1) }, METADATA, {});
    const refused = expect(put).rejects.toThrow("no longer executed under claim 1");
    await waitUntil(async () => {
      const { rows: waiting } = await second.query("SELECT 1 FROM pg_locks WHERE NOT granted");
      return waiting.length > 0;
    });
    await holding.query("COMMIT");
    holding.release();
    await refused;
    expect(await rows()).toEqual([[], [], []]);
  });

  it("writes that are on their way arrive in order, and none after one that failed", async () => {
    const run = zombie.forRun({ ...claim(1), durability: "async" }, hostKit);
    let config: Awaited<ReturnType<typeof run.saver.put>> = THREAD;
    for (let step = 0; step < 20; step++) {
      config = await run.saver.put(config, { ...emptyCheckpoint(), id: uuid6(step) }, { ...METADATA, step }, {});
    }
    await run.settled();
    const steps = async () =>
      (await second.query<{ step: string }>("SELECT step FROM state_checkpoints ORDER BY seq")).rows.map((row) =>
        Number(row.step),
      );
    expect(await steps()).toEqual(Array.from({ length: 20 }, (_, step) => step));
    await takeOver();
    await run.saver.put(config, { ...emptyCheckpoint(), id: uuid6(98) }, { ...METADATA, step: 98 }, {});
    await expect(run.settled()).rejects.toThrow("no longer executed");
    await expect(run.saver.put(config, { ...emptyCheckpoint(), id: uuid6(99) }, METADATA, {})).rejects.toThrow(
      "no longer",
    );
    expect(await steps()).toHaveLength(20);
  });

  it("what is written is what the values were at the call", async () => {
    const { saver, settled } = zombie.forRun({ ...claim(1), durability: "async" }, hostKit);
    const value = { list: ["now"] };
    const bytes = Uint8Array.of(1);
    const checkpoint = {
      ...emptyCheckpoint(),
      id: uuid6(1),
      channel_values: { value, bytes },
      channel_versions: { value: 1, bytes: 1 },
    };
    const parent = { configurable: { ...THREAD.configurable, checkpoint_id: uuid6(0) } };
    const put = saver.put(parent, checkpoint, METADATA, { value: 1, bytes: 1 });
    value.list.push("later");
    bytes[0] = 2;
    await put;
    await settled();
    expect((await saver.getTuple(THREAD))?.checkpoint.channel_values).toEqual({
      value: { list: ["now"] },
      bytes: Uint8Array.of(1),
    });
  });

  describe("a write outside of runs", () => {
    it("needs the reservation of the thread", async () => {
      const write = (reservation?: string) =>
        sequence(owner.saver(hostKit, { reservation })).updateState(THREAD, { log: ["edited"] }, "b");
      await expect(write()).rejects.toThrow("needs the reservation of its thread");
      await expect(write("mine")).rejects.toThrow("thread thread is no longer reserved");
      await second.query("UPDATE threads SET reserved_by = 'mine'");
      await write("mine");
      await second.query("UPDATE threads SET reserved_by = 'another'");
      const before = await rows();
      await expect(write("mine")).rejects.toThrow("no longer reserved");
      await expect(owner.pruneToLatest("thread", { kind: "reservation", owner: "mine" })).rejects.toThrow(
        "no longer reserved",
      );
      expect(await rows()).toEqual(before);
    });

    it("copies only to a thread that is still being prepared by the same", async () => {
      await second.query("UPDATE threads SET reserved_by = 'mine'");
      const hold = { kind: "reservation", owner: "mine" } as const;
      const copy = () => owner.copyThread({ from: "thread", to: "copy", preparedBy: "me, too", hold });
      await expect(copy()).rejects.toThrow("thread copy is no longer being prepared");
      await second.query("INSERT INTO threads (thread_id, reserved_by, deleting) VALUES ('copy', 'another', 1)");
      await expect(copy()).rejects.toThrow("thread copy is no longer being prepared");
      await second.query("UPDATE threads SET reserved_by = 'me, too' WHERE thread_id = 'copy'");
      await copy();
    });
  });

  it("a pruning is a part of the transaction that holds its thread", async () => {
    await sequence(zombie.forRun({ ...claim(1), durability: "sync" }, hostKit).saver).invoke({ log: ["in"] }, THREAD);
    const { values } = await sequence(owner.saver(hostKit)).getState(THREAD);
    const before = await rows();
    const database = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: first }) });
    const prune = (end: "commit" | "undo") =>
      database.transaction().execute(async (transaction) => {
        await transaction.selectFrom("threads").selectAll().where("thread_id", "=", "thread").forUpdate().execute();
        await owner.pruneToLatest("thread", { kind: "transaction", transaction });
        if (end === "undo") throw new Error("undone");
      });
    await expect(prune("undo")).rejects.toThrow("undone");
    expect(await rows()).toEqual(before);
    await prune("commit");
    expect((await rows())[0]).toHaveLength(1);
    expect((await sequence(owner.saver(hostKit)).getState(THREAD)).values).toEqual(values);
  });

  it("a thread that is not being deleted keeps its checkpoints, and one that is made anew has its own", async () => {
    await sequence(zombie.forRun({ ...claim(1), durability: "sync" }, hostKit).saver).invoke({ log: ["in"] }, THREAD);
    await expect(zombie.deleteThread("thread")).rejects.toThrow("thread thread is not being deleted");
    await second.query("UPDATE threads SET deleting = 1");
    await owner.deleteThread("thread");
    expect(await rows()).toEqual([[], [], []]);
    await second.query("DELETE FROM threads");
    await owner.deleteThread("thread"); // again, by who does not know that it was done
  });

  it("a run that is being rolled back loses its checkpoints to whoever finds it, and gets no more", async () => {
    const run = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
    await sequence(run.saver).invoke({ log: ["in"] }, THREAD);
    await second.query("UPDATE runs SET rolling_back = 1, fence = 7");
    await owner.deleteRun(claim(3));
    expect(await rows()).toEqual([[], [], []]);
    await expect(sequence(run.saver).invoke({ log: ["in"] }, THREAD)).rejects.toThrow("no longer executed");
    await second.query("DELETE FROM runs");
    await owner.deleteRun(claim(3)); // again
  });

  it("a write whose connection breaks is tried again", async () => {
    const { saver } = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
    await saver.put(THREAD, { ...emptyCheckpoint(), id: uuid6(1) }, METADATA, {});
    const others =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";
    const holding = await second.connect();
    await holding.query("BEGIN");
    await holding.query("SELECT 1 FROM runs FOR UPDATE"); // so that the write is under way when its connection ends
    const id = uuid6(2);
    const put = saver.put(THREAD, { ...emptyCheckpoint(), id }, METADATA, {});
    await waitUntil(async () => (await holding.query("SELECT 1 FROM pg_locks WHERE NOT granted")).rows.length > 0);
    await holding.query(others);
    await holding.query("COMMIT");
    holding.release();
    await put;
    expect((await saver.getTuple(THREAD))?.checkpoint.id).toBe(id);
  });

  it("names that PostgreSQL cannot hold are refused, or not found", async () => {
    const { saver } = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
    const channel = "no\0";
    const checkpoint = {
      ...emptyCheckpoint(),
      id: uuid6(1),
      channel_values: { [channel]: 1 },
      channel_versions: { [channel]: 1 },
    };
    await expect(saver.put(THREAD, checkpoint, METADATA, { [channel]: 1 })).rejects.toThrow("cannot be stored");
    expect(await owner.has("thread", "a\0b", "c")).toBe(false);
    const nowhere = { configurable: { thread_id: "thread", checkpoint_ns: "\ud800" } };
    expect(await owner.saver(hostKit).getTuple(nowhere)).toBeUndefined();
  });

  it("values that are no text of PostgreSQL's come back as they were", async () => {
    const { saver } = zombie.forRun({ ...claim(1), durability: "sync" }, hostKit);
    const channel_values = { nul: "a\0b", half: "\ud800", last: "\u{10FFFF}0041", long: "\0".repeat(1_000) };
    const channel_versions = { nul: 1, half: 1, last: 1, long: 1 };
    const checkpoint = { ...emptyCheckpoint(), id: uuid6(1), channel_values, channel_versions };
    const metadata = { ...METADATA, note: "\0\ud800" };
    const config = await saver.put(THREAD, checkpoint, metadata, channel_versions);
    await saver.putWrites(config, [["nul", "a\0b"]], TASK);
    const tuple = await saver.getTuple(THREAD);
    expect(tuple?.checkpoint.channel_values).toEqual(channel_values);
    expect(tuple?.metadata).toEqual(metadata);
    expect(tuple?.pendingWrites).toEqual([[TASK, "nul", "a\0b"]]);
    await zombie.deleteRun(claim(1)); // which takes apart what checkpoints refer to
    expect(await rows()).toEqual([[], [], []]);
  });

  it("a checkpointer's database that is not that of the runs is refused", async () => {
    const database = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: first }) });
    await requireDatabaseOfRuns(second, database);
    const elsewhere = openTestPool(await makeDatabase(), { max: 1 });
    await expect(requireDatabaseOfRuns(elsewhere, database)).rejects.toThrow(
      "checkpointer.url leads to another database",
    );
    const schema = openTestPool(url, { options: "-c search_path=pg_catalog", max: 1 });
    await expect(requireDatabaseOfRuns(schema, database)).rejects.toThrow("checkpointer.url leads to another database");
    await Promise.all([elsewhere.end(), schema.end()]);
  });

  it("two processes that start at once make the tables once, and one that is too old for them is refused", async () => {
    const pools = Array.from({ length: 4 }, () => openTestPool(url, { max: 1 }));
    await second.query("DROP TABLE state_checkpoints, state_values, state_writes, state_probe, state_migrations");
    await expect(openPostgresCheckpoints(second)).rejects.toThrow("checkpoints 001");
    await Promise.all(pools.map((pool) => migrateCheckpoints(pool)));
    expect((await second.query("SELECT version FROM state_migrations")).rows).toEqual([{ version: 1 }]);
    await second.query("INSERT INTO state_migrations (version, works_from) VALUES (98, 1)");
    await migrateCheckpoints(second); // works beside a later one
    await openPostgresCheckpoints(second);
    await second.query("INSERT INTO state_migrations (version, works_from) VALUES (99, 99)");
    await expect(migrateCheckpoints(second)).rejects.toThrow("the tables of checkpoints have version 99");
    await expect(openPostgresCheckpoints(second)).rejects.toThrow("the tables of checkpoints have version 99");
    await second.query("DELETE FROM state_migrations WHERE version > 1");
    await Promise.all(pools.map((pool) => pool.end()));
  });
});

/** Turns of the event loop, each with a question to the server, until it says so. */
async function waitUntil(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo()));
}
