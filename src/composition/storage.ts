/**
 * Opens the databases and the stores over them; names the drivers of storage.
 *
 * 1. Nobody else has the data folder from before its first file is opened until after its last one is closed.
 * 2. Every database is migrated before anything reads it.
 * 3. The clock that is returned is never behind what the database says has happened.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config.js";
import { createSteadyClock, type SystemClock } from "../core/clock.js";
import type { EmbedTexts } from "../core/items.js";
import type { Log } from "../core/log.js";
import { openCheckpoints } from "../storage/checkpoints.js";
import { createCommitGroup } from "../storage/commit-group.js";
import { openDataFile, requireRestored, unusableFile } from "../storage/data-file.js";
import { createDatabase } from "../storage/database.js";
import { openItemModel } from "../storage/item-models.js";
import { startReembedding } from "../storage/item-reembedding.js";
import { type ItemIndex, SqlStore } from "../storage/items.js";
import { migrate } from "../storage/migrations.js";
import { latestTransition, SqlRunStore } from "../storage/runs.js";
import { lockDataFolder, openSqlite } from "../storage/sqlite.js";
import { watchThreads } from "../storage/thread-changes.js";
import { SqlThreadStore } from "../storage/threads.js";
import type { OnStop } from "./on-stop.js";

interface StorageDeps {
  readonly config: Config;
  /** Where graphs run: threads have no memory in common. */
  readonly isolation: "inline" | "thread";
  readonly shownClock: SystemClock;
  /** Asked only once graphs are loaded. */
  readonly embed: EmbedTexts;
  readonly log: Log;
}

export type Storage = Awaited<ReturnType<typeof openStorage>>;

export async function openStorage({ config, isolation, shownClock, embed, log }: StorageDeps, onStop: OnStop) {
  const inFolder = (type: "sqlite" | "memory", file: string): string =>
    type === "memory" ? ":memory:" : join(config.dataDir, file);
  const onDisk = [config.database.type, config.checkpointer.type, config.store.type].includes("sqlite");
  if (onDisk) {
    onStop(lockDataFolder(config.dataDir)); // 1
    requireRestored(config.dataDir);
  }
  const databaseFile = inFolder(config.database.type, "heddle.db");
  const connection = openDataFile(databaseFile, "FULL");
  const database = createDatabase(connection);
  onStop(() => database.destroy());
  await migrate(database).catch((error: unknown) => {
    throw unusableFile(databaseFile, error);
  });
  const changes = watchThreads(connection);
  const clock = createSteadyClock(shownClock, await latestTransition(database)); // 3
  const commits = createCommitGroup(database);
  const threads = new SqlThreadStore({ database, commits, clock });
  const runs = new SqlRunStore({ database, commits, clock });
  const checkpointFile =
    isolation === "thread" && config.checkpointer.type === "memory"
      ? join(temporaryFolder(onStop), "checkpoints.db")
      : inFolder(config.checkpointer.type, "checkpoints.db");
  const checkpoints = openCheckpoints(checkpointFile);
  onStop(() => checkpoints.close());
  const itemDatabase =
    config.store.type === config.database.type ? database : createDatabase(openSqlite(":memory:", "FULL"));
  if (itemDatabase !== database) {
    onStop(() => itemDatabase.destroy());
    await migrate(itemDatabase);
  }
  const { defaultTtl, ...ttl } = config.store.ttl;
  const { index: indexSettings } = config.store;
  const indexConfig =
    indexSettings === null ? null : { ...indexSettings, timeoutMs: indexSettings.timeoutSeconds * 1_000 };
  const mayReplace = indexSettings?.reembed === true;
  const index: ItemIndex | null =
    indexConfig === null
      ? null
      : {
          modelId: await openItemModel(itemDatabase, indexConfig, { mayReplace }),
          fields: indexConfig.fields,
          embed,
        };
  const store = new SqlStore({
    database: itemDatabase,
    clock,
    log,
    ttl: { ...ttl, defaultTtlMinutes: defaultTtl },
    maxBytesPerBatch: config.server.pageLimit,
    index,
  });
  store.start();
  onStop(() => store.stop());
  return {
    database,
    changes,
    clock,
    commits,
    threads,
    runs,
    checkpoints,
    checkpointFile,
    store,
    itemDatabase,
    index,
    indexConfig,
    mayReplace,
  };
}

interface ReembeddingDeps {
  readonly storage: Pick<Storage, "itemDatabase" | "index" | "mayReplace" | "clock">;
  readonly log: Log;
}

/** Indexes items anew that another model indexed, where the configuration asks for it; graphs must be loaded. */
export function reembedItems({ storage, log }: ReembeddingDeps, onStop: OnStop): void {
  const { itemDatabase, index, mayReplace, clock } = storage;
  if (index === null || !mayReplace) return;
  const reembedding = startReembedding({
    database: itemDatabase,
    commits: createCommitGroup(itemDatabase),
    index,
    clock,
    log,
  });
  onStop(() => reembedding.stop());
}

/** For what is to be gone when the gateway has stopped. */
function temporaryFolder(onStop: OnStop): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-"));
  onStop(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
