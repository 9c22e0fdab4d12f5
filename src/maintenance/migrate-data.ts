/**
 * `heddle migrate-data`: what a data folder holds becomes the content of a PostgreSQL in which nothing is.
 *
 * 1. No gateway has the folder meanwhile, and none the database.
 * 2. The folder is brought to the version of this heddle, as a start would, and nothing else of it changes.
 * 3. The database gets all of it or nothing (`storage/transfer.ts`).
 */
import type { Config } from "../config.js";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { migrateServer, unusableServer } from "../storage/postgres.js";
import { addressOf } from "../storage/postgres-failure.js";
import { lockDatabase } from "../storage/replica-lock.js";
import { openSnapshot, requireDataFiles } from "../storage/snapshot.js";
import { DataFolderError, lockDataFolder } from "../storage/sqlite.js";
import { transfer } from "../storage/transfer.js";
import type { Report } from "./backup.js";
import { migrateFiles } from "./migrate.js";

export interface MigrateDataDeps {
  /** `dataDir`: from where; `database`: to where. */
  readonly config: Pick<Config, "dataDir" | "database">;
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warn" | "error">;
  readonly print: (line: string) => void;
  readonly report: Report;
}

/** Prints what was copied. Throws a `DataFolderError` where either side cannot be used, or the database is not empty. */
export async function migrateData({ config, clock, log, print, report }: MigrateDataDeps): Promise<void> {
  const { dataDir, database } = config;
  const { url } = database;
  if (database.type !== "postgres" || url === null) {
    throw new DataFolderError("database.type is not postgres: name the database that the data goes to in database.url");
  }
  requireDataFiles(dataDir);
  const unlock = lockDataFolder(dataDir); // 1
  try {
    await migrateFiles(dataDir); // 2
    const release = await lockDatabase(url, { company: "nobody", clock, log }).catch((error: unknown) => {
      throw unusableServer(url, error);
    });
    try {
      await migrateServer(url, log);
      const copied = await copy(dataDir, url, report);
      for (const { table, rows } of copied) print(`${table}: ${rows.toLocaleString("en")} rows`);
    } finally {
      await release();
    }
  } finally {
    unlock();
  }
  print(`${addressOf(url)} holds what is in ${dataDir}, which was left as it is`);
}

async function copy(dataDir: string, url: string, report: Report): ReturnType<typeof transfer> {
  const { files, close } = openSnapshot(dataDir);
  try {
    const [database, checkpoints] = files.map(({ connection }) => connection);
    if (database === undefined || checkpoints === undefined) throw new Error("a snapshot has two files");
    return await transfer({ database, checkpoints }, url, (table, done) => report(`copying ${table}`, done));
  } catch (error) {
    throw unusableServer(url, error);
  } finally {
    close();
  }
}
