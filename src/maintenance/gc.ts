/**
 * `heddle gc`: what the threads of a data folder take, and what of it is to go.
 *
 * 1. Looking changes nothing, whether a gateway runs or not.
 * 2. In a folder that no gateway has, what a crash left is finished, and the files get smaller. Beside a gateway that runs
 *    only what is expired goes, by the statements of its own sweeps, and each transaction is as short as one of theirs
 *    (docs/decisions/015-maintenance.md).
 * 3. What is in use never goes (`storage/thread-expiry.ts`), and nothing that is not expired.
 */
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Config } from "../config.js";
import { type Clock, createSteadyClock, systemClock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { openCheckpoints } from "../storage/checkpoints.js";
import { createCommitGroup } from "../storage/commit-group.js";
import { openDataFile } from "../storage/data-file.js";
import { createDatabase, type Database } from "../storage/database.js";
import { fileSpace, fillGaps, rewrite } from "../storage/file-space.js";
import { deleteGarbage } from "../storage/garbage.js";
import { isMigrated, migrate } from "../storage/migrations.js";
import { SqlRunLedger } from "../storage/run-ledger.js";
import { latestTransition, SqlRunStore } from "../storage/runs.js";
import { DATA_FILES, requireDataFiles } from "../storage/snapshot.js";
import { DataFolderError, isInUse, lockDataFolder, openSqliteReader } from "../storage/sqlite.js";
import { SqlThreadStore } from "../storage/threads.js";
import { createDeletion } from "../threads/deletion.js";
import { createRetention } from "../threads/retention.js";
import { describeFolder, look, number } from "./gc-report.js";

export interface GcDeps {
  readonly config: Pick<Config, "dataDir" | "runLedger">;
  readonly log: Log;
  readonly print: (line: string) => void;
}

const DAY_MS = 24 * 60 * 60_000;
/** After each batch: a gateway may write to the same files. */
const PAUSE_MS = 50;

const pause = (): Promise<void> => wait(PAUSE_MS);

/** Prints what there is, and what would go. */
export async function lookForGarbage({ config, print }: GcDeps): Promise<void> {
  requireDataFiles(config.dataDir);
  await printFolder(config, print);
  print("nothing was changed");
}

/** Prints what there is, deletes what is to go, and prints what went. */
export async function collectGarbage({ config, log, print }: GcDeps): Promise<void> {
  const { dataDir } = config;
  requireDataFiles(dataDir);
  const unlock = lockUnlessInUse(dataDir);
  const isAlone = unlock !== undefined; // 2
  try {
    if (isAlone) await upgrade(dataDir);
    await printFolder(config, print);
    for (const line of await collect(config, { log, isAlone })) print(line);
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
    const found = await look({ database, checkpoints, now: now(), ledgerMs: config.runLedger.retentionDays * DAY_MS });
    for (const line of describeFolder(found)) print(line);
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

/** Deletes; returns what went, in words. */
async function collect(
  { dataDir, runLedger }: GcDeps["config"],
  { log, isAlone }: { readonly log: Log; readonly isAlone: boolean },
): Promise<readonly string[]> {
  const database = createDatabase(openDataFile(join(dataDir, "heddle.db"), "FULL"));
  const checkpoints = openCheckpoints(join(dataDir, "checkpoints.db"));
  try {
    const clock = await clockOf(database);
    const commits = createCommitGroup(database);
    const stores = { database, commits, clock };
    const threads = new SqlThreadStore(stores);
    const finishDeletion = createDeletion({
      threads,
      runs: new SqlRunStore(stores),
      checkpoints,
      bridge: { drop: async () => {} }, // no logs in this process
    });
    let deleted = 0;
    let pruned = 0;
    // Beside a gateway, such a mark may be a deletion or a copy that it has under way.
    for (const threadId of isAlone ? await threads.listDeleting() : []) {
      await finishDeletion(threadId);
      deleted++;
    }
    const sweep = createRetention({ threads, checkpoints, finishDeletion, log }, { limit: Number.POSITIVE_INFINITY });
    for (let more = true; more; await pause()) {
      const swept = await sweep();
      deleted += swept.deleted;
      pruned += swept.pruned;
      more = swept.more;
    }
    const garbage = await deleteGarbage(
      { commits, ledger: new SqlRunLedger(stores) },
      { now: clock.now(), ledgerMs: runLedger.retentionDays * DAY_MS, pause },
    );
    return [
      `deleted: ${number(deleted)} threads; pruned: ${number(pruned)} threads`,
      `deleted: ${garbage.map(({ what, count }) => `${number(count)} ${what}`).join(", ")}`,
    ];
  } finally {
    checkpoints.close();
    await database.destroy();
  }
}
