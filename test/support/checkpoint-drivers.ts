/**
 * Checkpoints on every database, for contracts that have one body.
 *
 * Contracts are about what is stored. What gives the right to store it, the rows of runs and threads, is laid out here
 * before it is needed; `checkpoint-fence.test.ts` is about the rest.
 */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import type pg from "pg";
import { hostKit } from "../../src/core/kit.js";
import { migrateCheckpoints } from "../../src/storage/checkpoint-postgres-schema.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { openPostgresCheckpoints } from "../../src/storage/checkpoints-postgres.js";
import type { Checkpoints, ClaimedRun } from "../../src/storage/ports/checkpoints.js";
import { type Dump, dumpOf } from "./checkpoint-rows.js";
import { makeDatabase, openTestPool, POSTGRES_MISSING } from "./postgres-server.js";

export interface OpenedCheckpoints {
  readonly checkpoints: Checkpoints;
  /** Every row of every table, in an order that depends on nothing but the rows. */
  dump(): Promise<Dump>;
  close(): Promise<void>;
}

export interface CheckpointDriver {
  readonly name: string;
  /** Why it cannot be had. */
  readonly missing: string | undefined;
  open(): Promise<OpenedCheckpoints>;
}

export const CHECKPOINT_DRIVERS: readonly CheckpointDriver[] = [
  { name: "SQLite", missing: undefined, open: openOnSqlite },
  { name: "PostgreSQL", missing: POSTGRES_MISSING, open: openOnPostgres },
];

async function openOnSqlite(): Promise<OpenedCheckpoints> {
  const checkpoints = openCheckpoints(":memory:");
  const saver = checkpoints.saver(hostKit);
  if (!(saver instanceof SqliteSaver)) throw new Error("the saver is no SqliteSaver");
  return {
    checkpoints,
    dump: async () => {
      const rows = (table: string) => saver.db.prepare(`SELECT * FROM ${table}`).all();
      return dumpOf(rows("checkpoints"), rows("channel_values"), rows("writes"));
    },
    close: async () => checkpoints.close(),
  };
}

/** What the gateway's own tables have that the right to write is read from. */
export const OWNER_TABLES = `
  CREATE TABLE runs (run_id TEXT PRIMARY KEY, fence INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'running',
    rolling_back INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE threads (thread_id TEXT PRIMARY KEY, reserved_by TEXT, deleting INTEGER NOT NULL DEFAULT 0);`;

let shared: Promise<pg.Pool> | undefined;

/** One database for all tests of a file. */
async function sharedPool(): Promise<pg.Pool> {
  const pool = openTestPool(await makeDatabase(), { max: 5 });
  await pool.query(OWNER_TABLES);
  await migrateCheckpoints(pool);
  return pool;
}

async function openOnPostgres(): Promise<OpenedCheckpoints> {
  shared ??= sharedPool();
  const pool = await shared;
  const checkpoints = await openPostgresCheckpoints(pool);
  await pool.query("TRUNCATE runs, threads, state_checkpoints, state_values, state_writes");
  const rows = async (table: string) => (await pool.query<object>(`SELECT * FROM ${table}`)).rows;
  return {
    checkpoints: entitled(checkpoints, pool),
    dump: async () => dumpOf(await rows("state_checkpoints"), await rows("state_values"), await rows("state_writes")),
    close: async () => {},
  };
}

const OWNER = "the test";
const HOLD = { kind: "reservation", owner: OWNER } as const;

/** Whoever writes has the right to. */
function entitled(checkpoints: Checkpoints, pool: pg.Pool): Checkpoints {
  const known = new Set<string>();
  let giving: Promise<unknown> = Promise.resolve();
  function give(key: string, text: string, values: readonly unknown[]): Promise<void> {
    const given = pool.query(text, [...values]).then(() => void known.add(key));
    giving = Promise.all([giving, given]);
    giving.catch(() => {}); // whoever asked for it hears of it
    return given;
  }
  const giveRun = ({ runId, fence }: ClaimedRun) =>
    give(runId, "INSERT INTO runs (run_id, fence) VALUES ($1, $2) ON CONFLICT DO NOTHING", [runId, fence]);
  const giveThread = (threadId: string) =>
    give(threadId, "INSERT INTO threads (thread_id, reserved_by) VALUES ($1, $2) ON CONFLICT DO NOTHING", [
      threadId,
      OWNER,
    ]);
  const setDeleting = (threadId: string, deleting: 0 | 1) =>
    pool.query(
      `INSERT INTO threads (thread_id, reserved_by, deleting) VALUES ($1, $2, $3)
       ON CONFLICT (thread_id) DO UPDATE SET deleting = excluded.deleting`,
      [threadId, OWNER, deleting],
    );

  /** Calls at once where the right is there already: the order of calls is what is tested. */
  function prepared(
    saver: BaseCheckpointSaver,
    keyOf: (threadId: string) => string,
    give: (threadId: string) => Promise<void>,
  ) {
    const { put, putWrites, deleteThread } = saver;
    const first = <T>(threadId: string, call: () => Promise<T>): Promise<T> =>
      known.has(keyOf(threadId)) ? call() : give(threadId).then(call);
    saver.put = (config, ...args) => first(config.configurable?.thread_id, () => put.call(saver, config, ...args));
    saver.putWrites = (config, ...args) =>
      first(config.configurable?.thread_id, () => putWrites.call(saver, config, ...args));
    saver.deleteThread = (threadId) => first(threadId, () => deleteThread.call(saver, threadId));
  }

  return {
    ...checkpoints,
    forRun(run, kit) {
      const opened = checkpoints.forRun({ durability: "sync", ...run }, kit); // others look at once at what was written
      prepared(
        opened.saver,
        () => run.runId,
        () => giveRun(run),
      );
      return {
        ...opened,
        async settled() {
          await giving;
          await opened.settled();
        },
      };
    },
    saver(kit, options) {
      const saver = checkpoints.saver(kit, { ...options, reservation: OWNER });
      prepared(saver, (threadId) => threadId, giveThread);
      return saver;
    },
    async stepBack(run, options) {
      await giveRun(run);
      await checkpoints.stepBack(run, options);
    },
    async deleteRun(run) {
      await giveRun(run);
      await checkpoints.deleteRun(run);
    },
    async deleteThread(threadId) {
      await setDeleting(threadId, 1);
      await checkpoints.deleteThread(threadId);
    },
    async copyThread({ from, to }) {
      await giveThread(from);
      await setDeleting(to, 1);
      await checkpoints.copyThread({ from, to, hold: HOLD, preparedBy: OWNER });
      await setDeleting(to, 0);
    },
    async pruneToLatest(threadId) {
      await giveThread(threadId);
      await checkpoints.pruneToLatest(threadId, HOLD);
    },
  };
}
