/**
 * The file of the checkpoints: opened, checked and brought to the newest version.
 *
 * - `checkpoints`: one row per superstep and namespace. `channels` says for each channel with a value its version and the
 *   checkpoint which stored that value, `{"messages": [3, "1ef…"]}`, or a short value: `{"count": [4, null, "json", "1"]}`.
 *   Their order is that in which they were written (`rowid`), never that of their ids, which are made of what the clock said.
 * - `channel_values`: a channel's value, stored only by the checkpoint that changed it and shared by the later ones.
 * - `writes`: what tasks wrote at a checkpoint. The run is part of the key: a resumed task's new interrupt stands beside
 *   the one it replaces, so that taking the run back brings the old one to light again.
 */
import { existsSync } from "node:fs";
import { openDataFile, unusableFile } from "./data-file.js";
import { type MigrationState, PendingMigrationsError, requireMigrated } from "./migration-state.js";
import { openSqliteReader, type SqliteDatabase } from "./sqlite.js";

/** Each entry brings the file to the version after it. One that has shipped is never edited. */
const MIGRATIONS = [
  `
  CREATE TABLE checkpoints (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    run_id TEXT NOT NULL,
    type TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    metadata_type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    channels TEXT NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
  );
  CREATE INDEX checkpoints_run ON checkpoints (thread_id, run_id) WHERE run_id <> '';
  CREATE TABLE channel_values (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    channel TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    type TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, checkpoint_id)
  );
  CREATE TABLE writes (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    type TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
  );
  CREATE INDEX writes_run ON writes (thread_id, run_id) WHERE run_id <> '';
  CREATE TABLE sync_marks (id INTEGER PRIMARY KEY, count INTEGER NOT NULL);
  `,
  "CREATE TABLE write_probe (payload BLOB NOT NULL);",
  "CREATE INDEX checkpoints_order ON checkpoints (thread_id, checkpoint_ns);", // and rowid, as in every index
];

/**
 * Opens `file` (`:memory:` for a throw-away one), making it if it does not exist. Throws `DataFolderError` and leaves the
 * file as it is when it is damaged, made by something else, or by a later heddle.
 */
export function openCheckpointFile(file: string): SqliteDatabase {
  let connection: SqliteDatabase | undefined;
  try {
    connection = openDataFile(file, "NORMAL");
    migrate(connection);
    return connection;
  } catch (error) {
    connection?.close();
    throw unusableFile(file, error);
  }
}

/** How the file stands to the versions that this heddle knows; looking changes nothing. */
export function checkpointVersion(connection: SqliteDatabase): MigrationState {
  const version = versionOf(connection);
  const nameOf = (number: number): string => `checkpoints ${String(number).padStart(3, "0")}`;
  return {
    pending: MIGRATIONS.slice(version).map((_, index) => nameOf(version + index + 1)),
    unknown: version > MIGRATIONS.length ? [nameOf(version)] : [],
  };
}

/** For a gateway that is not to migrate; a file that is not there is made as this heddle needs it. */
export function requireMigratedCheckpoints(file: string): void {
  if (!existsSync(file)) return;
  const reader = openSqliteReader(file);
  try {
    requireMigrated(file, checkpointVersion(reader));
  } catch (error) {
    throw error instanceof PendingMigrationsError ? error : unusableFile(file, error);
  } finally {
    reader.close();
  }
}

function versionOf(connection: SqliteDatabase): number {
  return Number(connection.pragma("user_version", { simple: true }));
}

function migrate(connection: SqliteDatabase): void {
  const version = versionOf(connection);
  if (version > MIGRATIONS.length) {
    throw new Error(`it has version ${version}, this heddle knows versions up to ${MIGRATIONS.length}`);
  }
  const tables = connection.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (version === 0 && tables !== 0) throw new Error("it is a database of something else");
  const upgrade = connection.transaction(() => {
    for (const step of MIGRATIONS.slice(version)) connection.exec(step);
    connection.pragma(`user_version = ${MIGRATIONS.length}`);
  });
  if (version < MIGRATIONS.length) upgrade.exclusive();
}
