/**
 * `heddle gc`: what the threads of a data folder, or of a PostgreSQL (`gc-server.ts`), take, and what of it is to go.
 *
 * 1. Looking changes nothing, whether a gateway runs or not.
 * 2. In a folder that no gateway has, what a crash left is finished, and the files get smaller. Beside a gateway that runs
 *    only what is expired goes, by the statements of its own sweeps, and each transaction is as short as one of theirs
 *    (docs/decisions/015-maintenance.md).
 * 3. What is in use never goes (`storage/thread-expiry.ts`), and nothing that is not expired.
 */
import { join } from "node:path";
import { type Clock, createSteadyClock, systemClock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { prepareOnSqlite } from "../storage/checkpoint-program.js";
import { sizesByThread } from "../storage/checkpoint-sizes.js";
import { openCheckpoints } from "../storage/checkpoints.js";
import { openDataFile } from "../storage/data-file.js";
import { createDatabase, type Database } from "../storage/database.js";
import { fileSpace, fillGaps, rewrite } from "../storage/file-space.js";
import { isMigrated, migrate } from "../storage/migrations.js";
import { latestTransition } from "../storage/runs.js";
import { DATA_FILES, requireDataFiles } from "../storage/snapshot.js";
import { DataFolderError, isInUse, lockDataFolder, openSqliteReader } from "../storage/sqlite.js";
import { collect, type GcDeps, ledgerMsOf, pause } from "./gc-collect.js";
import { describe, look, number } from "./gc-report.js";

/** Prints what there is, and what would go. */
export async function lookForGarbage(deps: GcDeps): Promise<void> {
  const { config, print } = deps;
  if (config.database.url !== null) return (await import("./gc-server.js")).lookOnServer(deps, config.database.url);
  requireDataFiles(config.dataDir);
  await printFolder(config, print);
  print("nothing was changed");
}

/** Prints what there is, deletes what is to go, and prints what went. */
export async function collectGarbage(deps: GcDeps): Promise<void> {
  const { config, log, print } = deps;
  if (config.database.url !== null) return (await import("./gc-server.js")).collectOnServer(deps, config.database.url);
  const { dataDir } = config;
  requireDataFiles(dataDir);
  const unlock = lockUnlessInUse(dataDir);
  const isAlone = unlock !== undefined; // 2
  try {
    if (isAlone) await upgrade(dataDir);
    await printFolder(config, print);
    for (const line of await collectFolder(config, { log, isAlone })) print(line);
    for (const name of DATA_FILES) {
      const file = join(dataDir, name);
      const before = fileSpace(file);
      if (isAlone) rewrite(file);
      else await fillGaps(file, pause);
      const { bytes, free } = fileSpace(file);
      print(
        `${name}: ${number(before.bytes)} → ${number(bytes)} bytes, ${number(free)} of them free for what is stored next`,
      );
    }
    if (!isAlone) print("a gateway uses the files: they shrink when it folds back its log");
  } finally {
    unlock?.();
  }
}

/** undefined while a gateway has the folder. */
function lockUnlessInUse(dataDir: string): (() => void) | undefined {
  try {
    return lockDataFolder(dataDir);
  } catch (error) {
    if (isInUse(error)) return undefined;
    throw error;
  }
}

async function upgrade(dataDir: string): Promise<void> {
  const database = createDatabase(openDataFile(join(dataDir, "heddle.db"), "FULL"));
  try {
    await migrate(database);
  } finally {
    await database.destroy();
  }
}

async function printFolder(config: GcDeps["config"], print: GcDeps["print"]): Promise<void> {
  const database = createDatabase(openSqliteReader(join(config.dataDir, "heddle.db")));
  const checkpoints = openSqliteReader(join(config.dataDir, "checkpoints.db"));
  try {
    await requireVersion(database, config.dataDir);
    const { now } = await clockOf(database);
    const stateSizes = prepareOnSqlite(checkpoints).read(sizesByThread());
    const found = await look({ database, stateSizes, now: now(), ledgerMs: ledgerMsOf(config) });
    for (const line of describe(found)) print(line);
  } finally {
    await database.destroy();
    checkpoints.close();
  }
}

async function requireVersion(database: Database, dataDir: string): Promise<void> {
  if (await isMigrated(database)) return;
  throw new DataFolderError(
    `the data folder ${dataDir} is of another version of heddle: use the gc of the version that serves it`,
  );
}

/** As the gateway's: it may have gone on from a time that is still to come. */
async function clockOf(database: Database): Promise<Clock> {
  return createSteadyClock(systemClock, await latestTransition(database));
}

async function collectFolder(
  config: GcDeps["config"],
  { log, isAlone }: { readonly log: Log; readonly isAlone: boolean },
) {
  const database = createDatabase(openDataFile(join(config.dataDir, "heddle.db"), "FULL"));
  const checkpoints = openCheckpoints(join(config.dataDir, "checkpoints.db"));
  try {
    return await collect({ database, checkpoints, clock: await clockOf(database), config, log, isAlone });
  } finally {
    checkpoints.close();
    await database.destroy();
  }
}
