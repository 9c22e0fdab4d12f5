/**
 * The tables of checkpoints on PostgreSQL, beside those of threads and runs: what a run writes is compared with its row in
 * the same transaction. They mean what the tables of `checkpoint-schema.ts` mean, with these differences:
 *
 * - Their names are none of LangGraph's own, so that a database in which its saver was used before can be used.
 * - The order in which rows were written is `seq`.
 * - Text is in `value`, bytes are in `bytes`. What queries ask of the metadata has columns: `json` text may hold what
 *   PostgreSQL cannot take apart.
 * - Ids and names compare byte by byte, as in SQLite.
 */
import type { Client, Pool } from "pg";
import { type MigrationState, requireMigrated } from "./migration-state.js";

interface Migration {
  readonly sql: string;
  /** The oldest heddle that works with the tables afterwards, by the number of migrations that it knows. */
  readonly worksFrom: number;
}

/** One that has shipped is never edited; it leaves the release before it, which may still be running, something that works. */
const MIGRATIONS: readonly Migration[] = [
  {
    worksFrom: 1,
    sql: `
    CREATE TABLE state_checkpoints (
      thread_id TEXT COLLATE "C" NOT NULL,
      checkpoint_ns TEXT COLLATE "C" NOT NULL,
      checkpoint_id TEXT COLLATE "C" NOT NULL,
      seq BIGINT GENERATED ALWAYS AS IDENTITY,
      parent_checkpoint_id TEXT COLLATE "C",
      run_id TEXT COLLATE "C" NOT NULL,
      type TEXT NOT NULL,
      checkpoint TEXT NOT NULL,
      metadata_type TEXT NOT NULL,
      metadata TEXT NOT NULL,
      channels TEXT NOT NULL,
      step BIGINT,
      source TEXT,
      parents JSONB NOT NULL,
      delta_counters JSONB NOT NULL,
      PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
    );
    CREATE INDEX state_checkpoints_order ON state_checkpoints (thread_id, checkpoint_ns, seq);
    CREATE INDEX state_checkpoints_run ON state_checkpoints (thread_id, run_id) WHERE run_id <> '';
    CREATE TABLE state_values (
      thread_id TEXT COLLATE "C" NOT NULL,
      checkpoint_ns TEXT COLLATE "C" NOT NULL,
      channel TEXT COLLATE "C" NOT NULL,
      checkpoint_id TEXT COLLATE "C" NOT NULL,
      seq BIGINT GENERATED ALWAYS AS IDENTITY,
      type TEXT NOT NULL,
      value TEXT,
      bytes BYTEA,
      PRIMARY KEY (thread_id, checkpoint_ns, channel, checkpoint_id),
      CHECK (num_nonnulls(value, bytes) = 1)
    );
    CREATE TABLE state_writes (
      thread_id TEXT COLLATE "C" NOT NULL,
      checkpoint_ns TEXT COLLATE "C" NOT NULL,
      checkpoint_id TEXT COLLATE "C" NOT NULL,
      task_id TEXT COLLATE "C" NOT NULL,
      idx INTEGER NOT NULL,
      run_id TEXT COLLATE "C" NOT NULL,
      seq BIGINT GENERATED ALWAYS AS IDENTITY,
      channel TEXT COLLATE "C" NOT NULL,
      type TEXT NOT NULL,
      value TEXT,
      bytes BYTEA,
      PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id),
      CHECK (num_nonnulls(value, bytes) = 1)
    );
    CREATE INDEX state_writes_run ON state_writes (thread_id, run_id) WHERE run_id <> '';
    CREATE TABLE state_probe (id INTEGER PRIMARY KEY, payload BYTEA NOT NULL);
    `,
  },
];

/** Any number, as long as nobody else who uses the database takes the same. */
const LOCK = 4_826_310_575;

/**
 * Brings the tables to the newest version, one process at a time; those that come second find nothing to do. Throws for a
 * later version that this heddle cannot work with, and leaves everything as it is.
 */
export async function migrateCheckpoints(pool: Pool): Promise<void> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query("BEGIN");
    await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
    await client.query(
      "CREATE TABLE IF NOT EXISTS state_migrations (version INTEGER PRIMARY KEY, works_from INTEGER NOT NULL)",
    );
    const { version, worksFrom } = await readVersion(client);
    requireKnown(version, worksFrom);
    for (const [index, { sql, worksFrom }] of MIGRATIONS.entries()) {
      if (index < version) continue;
      await client.query(sql);
      await client.query("INSERT INTO state_migrations (version, works_from) VALUES ($1, $2)", [index + 1, worksFrom]);
    }
    await client.query("COMMIT");
  } catch (error) {
    failure = error as Error; // what pg throws
    throw error;
  } finally {
    client.release(failure); // a connection on which something failed ends, and its transaction with it
  }
}

/** Throws, and changes nothing, unless the tables are there and this heddle can work with them. */
export async function requireCheckpointTables(pool: Pick<Pool | Client, "query">): Promise<void> {
  const { version, worksFrom } = await versionOf(pool);
  requireKnown(version, worksFrom);
  requireMigrated("the tables of checkpoints", stateAt(version));
}

/** Whether they are of this version, or a later one that this heddle can work with; throws for one that it cannot. */
export async function hasAllCheckpointTables(pool: Pick<Pool | Client, "query">): Promise<boolean> {
  const { version, worksFrom } = await versionOf(pool);
  requireKnown(version, worksFrom);
  return version >= MIGRATIONS.length;
}

/** How the tables stand to the versions that this heddle knows; looking changes nothing. */
export async function checkpointServerVersion(pool: Pick<Pool | Client, "query">): Promise<MigrationState> {
  return stateAt((await versionOf(pool)).version);
}

interface Version {
  /** 0: nothing is there. */
  readonly version: number;
  readonly worksFrom: number;
}

async function versionOf(pool: Pick<Pool | Client, "query">): Promise<Version> {
  const { rows } = await pool.query<{ there: boolean }>("SELECT to_regclass('state_migrations') IS NOT NULL AS there");
  return rows[0]?.there === true ? readVersion(pool) : { version: 0, worksFrom: 0 };
}

async function readVersion(client: Pick<Pool | Client, "query">): Promise<Version> {
  const { rows } = await client.query<{ version: number | null; worksFrom: number | null }>(
    `SELECT max(version) AS version, max(works_from) AS "worksFrom" FROM state_migrations`,
  );
  return { version: rows[0]?.version ?? 0, worksFrom: rows[0]?.worksFrom ?? 0 };
}

function requireKnown(version: number, worksFrom: number): void {
  if (worksFrom <= MIGRATIONS.length) return;
  throw new Error(
    `the tables of checkpoints have version ${version}, this heddle knows versions up to ${MIGRATIONS.length}: use a later one`,
  );
}

function stateAt(version: number): MigrationState {
  const nameOf = (number: number): string => `checkpoints ${String(number).padStart(3, "0")}`;
  return {
    pending: MIGRATIONS.slice(version).map((_, index) => nameOf(version + index + 1)),
    unknown: version > MIGRATIONS.length ? [nameOf(version)] : [],
  };
}
