/** `heddle migrate`: brings the databases to the version of this heddle, or tells what that would do. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config.js";
import type { Log } from "../core/log.js";
import { checkpointVersion, openCheckpointFile } from "../storage/checkpoint-schema.js";
import { openDataFile, requireRestored, unusableFile } from "../storage/data-file.js";
import { createDatabase } from "../storage/database.js";
import { type MigrationState, migrationState } from "../storage/migration-state.js";
import { migrate } from "../storage/migrations.js";
import { migrateServer, serverState } from "../storage/postgres.js";
import { lockDataFolder, openSqliteReader } from "../storage/sqlite.js";

export interface MigrateDeps {
  readonly config: Pick<Config, "dataDir" | "database">;
  readonly log: Pick<Log, "warn">;
  readonly print: (line: string) => void;
}

/** Changes nothing. */
export async function lookForMigrations({ config, log, print }: MigrateDeps): Promise<void> {
  const { type, url } = config.database;
  if (type === "memory") return print(NOTHING_KEPT);
  const states = url === null ? await statesOf(config.dataDir) : await serverState(url, log);
  for (const [name, state] of states) tell(name, state, print);
  print("nothing was changed");
}

/** A folder that a gateway has is refused: that gateway has migrated it already, or stops first. */
export async function makeMigrations({ config, log, print }: MigrateDeps): Promise<void> {
  const { type, url } = config.database;
  if (type === "memory") return print(NOTHING_KEPT);
  if (url === null) return migrateFolder(config.dataDir, print);
  for (const [name, state] of await serverState(url, log)) tell(name, state, print);
  await migrateServer(url, log);
  print("the database is as this heddle needs it");
}

async function migrateFolder(dataDir: string, print: (line: string) => void): Promise<void> {
  const unlock = lockDataFolder(dataDir);
  try {
    requireRestored(dataDir);
    for (const [name, state] of await statesOf(dataDir)) tell(name, state, print);
    await migrateFiles(dataDir);
  } finally {
    unlock();
  }
  print(`${dataDir} is as this heddle needs it`);
}

/** For whoever has the folder's lock. */
export async function migrateFiles(dataDir: string): Promise<void> {
  const file = join(dataDir, "heddle.db");
  const database = createDatabase(openDataFile(file, "FULL"));
  try {
    await migrate(database);
  } catch (error) {
    throw unusableFile(file, error);
  } finally {
    await database.destroy();
  }
  openCheckpointFile(join(dataDir, "checkpoints.db")).close();
}

const NOTHING_KEPT = "database.type is memory: there is nothing to migrate";

async function statesOf(folder: string): Promise<readonly (readonly [name: string, state: MigrationState])[]> {
  const [database, checkpoints] = [join(folder, "heddle.db"), join(folder, "checkpoints.db")];
  return [
    ["heddle.db", await stateOfDatabase(database)],
    ["checkpoints.db", stateOfCheckpoints(checkpoints)],
  ];
}

async function stateOfDatabase(file: string): Promise<MigrationState> {
  const database = createDatabase(existsSync(file) ? openSqliteReader(file) : openDataFile(":memory:", "FULL"));
  try {
    return await migrationState(database);
  } catch (error) {
    throw unusableFile(file, error);
  } finally {
    await database.destroy();
  }
}

function stateOfCheckpoints(file: string): MigrationState {
  const connection = existsSync(file) ? openSqliteReader(file) : openDataFile(":memory:", "FULL");
  try {
    return checkpointVersion(connection);
  } catch (error) {
    throw unusableFile(file, error);
  } finally {
    connection.close();
  }
}

function tell(name: string, { pending, unknown }: MigrationState, print: (line: string) => void): void {
  for (const each of unknown) print(`${name}: ${each} was made by a later heddle`);
  for (const each of pending) print(`${name}: ${each} is pending`);
  if (pending.length + unknown.length === 0) print(`${name}: nothing is pending`);
}
