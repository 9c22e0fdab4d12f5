/**
 * Opens the databases and the stores over them; names the drivers of storage.
 *
 * 1. Nobody else has the data folder from before its first file is opened until after its last one is closed.
 * 2. Every database is migrated, or found to be, before anything reads it.
 * 3. The clock that is returned is never behind what the database says has happened.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config.js";
import { type Clock, createSteadyClock, type SystemClock } from "../core/clock.js";
import type { EmbedTexts } from "../core/items.js";
import { lonelyLease, sharedLease } from "../core/lease.js";
import type { Log } from "../core/log.js";
import { requireMigratedCheckpoints } from "../storage/checkpoint-schema.js";
import { createCommitGroup } from "../storage/commit-group.js";
import { openDataFile, requireRestored, unusableFile } from "../storage/data-file.js";
import { createDatabase, type Database } from "../storage/database.js";
import { openDatabaseClock } from "../storage/database-clock.js";
import { openItemModel } from "../storage/item-models.js";
import { startReembedding } from "../storage/item-reembedding.js";
import { type ItemIndex, SqlStore } from "../storage/items.js";
import { dropUnshown } from "../storage/long-states.js";
import { migrationState, requireMigrated } from "../storage/migration-state.js";
import { migrate } from "../storage/migrations.js";
import type { ThreadChanges } from "../storage/ports/threads.js";
import {
  migrateServer,
  openPostgres,
  RENEWAL_CONNECTIONS,
  requireMigratedServer,
  unusableServer,
} from "../storage/postgres.js";
import { lockDatabase } from "../storage/replica-lock.js";
import { latestTransition, SqlRunStore } from "../storage/runs.js";
import { lockDataFolder, openSqlite } from "../storage/sqlite.js";
import { watchThreads } from "../storage/thread-changes.js";
import { SqlThreadStore } from "../storage/threads.js";
import { openCheckpointFile, openCheckpointServer } from "./checkpoints.js";
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

/** Databases that one process has to itself. */
const OF_ONE_PROCESS: ReadonlySet<string> = new Set(["sqlite", "memory"]);

export type Storage = Awaited<ReturnType<typeof openStorage>>;

export async function openStorage({ config, isolation, shownClock, embed, log }: StorageDeps, onStop: OnStop) {
  /** Whether other processes may work on the same databases. */
  const isShared = !OF_ONE_PROCESS.has(config.database.type);
  const inFolder = (type: "sqlite" | "memory", file: string): string =>
    type === "memory" ? ":memory:" : join(config.dataDir, file);
  const opening = { config, shownClock, log };
  const onDisk = [config.database.type, config.checkpointer.type, config.store.type].includes("sqlite");
  if (onDisk) {
    onStop(lockDataFolder(config.dataDir)); // 1
    requireRestored(config.dataDir);
  }
  const { database, renewals, changes, clock } = await (config.database.type === "postgres"
    ? openServer(opening, onStop)
    : openFile(inFolder(config.database.type, "heddle.db"), opening, onStop));
  const commits = createCommitGroup(database);
  const threads = new SqlThreadStore({ database, commits, clock });
  const runs = new SqlRunStore({ database, renewals, commits, clock });
  if (!config.database.migrate && config.checkpointer.type === "sqlite") {
    requireMigratedCheckpoints(inFolder("sqlite", "checkpoints.db"));
  }
  const { checkpoints, ownCheckpoints, checkpointPlace } = await (config.checkpointer.type === "postgres"
    ? openCheckpointServer(config, database, onStop)
    : openCheckpointFile(
        isolation === "thread" && config.checkpointer.type === "memory"
          ? join(temporaryFolder(onStop), "checkpoints.db")
          : inFolder(config.checkpointer.type, "checkpoints.db"),
        onStop,
      ));
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
  const times = { leaseMs: config.runs.leaseSeconds * 1_000, heartbeatMs: config.runs.heartbeatSeconds * 1_000 };
  return {
    isShared,
    /** Nobody else works on them, so that whatever is under way was so in a process that is gone. */
    isAlone: !isShared || lonelyParts(config).length > 0,
    lease: isShared ? sharedLease(times) : lonelyLease(times),
    database,
    changes,
    clock,
    commits,
    threads,
    runs,
    checkpoints,
    ownCheckpoints,
    checkpointPlace,
    store,
    itemDatabase,
    index,
    indexConfig,
    mayReplace,
  };
}

interface OpeningDeps extends Pick<StorageDeps, "config" | "shownClock" | "log"> {}

interface OpenDatabase {
  readonly database: Database;
  /** The same, for what must not wait behind readers. */
  readonly renewals: Database;
  readonly changes: ThreadChanges;
  readonly clock: Clock;
}

async function openFile(file: string, { config, shownClock }: OpeningDeps, onStop: OnStop): Promise<OpenDatabase> {
  const connection = openDataFile(file, "FULL");
  const database = createDatabase(connection);
  onStop(() => database.destroy());
  if (config.database.migrate || file === ":memory:") {
    await migrate(database).catch((error: unknown) => {
      throw unusableFile(file, error);
    });
  } else {
    requireMigrated(file, await migrationState(database));
  }
  await dropUnshown(database);
  const changes = watchThreads(connection);
  return {
    database,
    renewals: database,
    changes,
    clock: createSteadyClock(shownClock, await latestTransition(database)),
  }; // 3
}

async function openServer({ config, shownClock, log }: OpeningDeps, onStop: OnStop): Promise<OpenDatabase> {
  const { url, poolSize, timeoutSeconds, migrate: mayMigrate } = config.database;
  if (url === null) throw new Error("database.url is missing"); // the configuration was checked
  const lonely = lonelyParts(config);
  const company = lonely.length === 0 ? "replicas" : { alone: lonely.join(", ") };
  const refuse = (error: unknown): never => {
    throw unusableServer(url, error);
  };
  onStop(await lockDatabase(url, { company, clock: shownClock, log }).catch(refuse));
  await (mayMigrate ? migrateServer(url, log) : requireMigratedServer(url, log));
  const timeoutMs = timeoutSeconds * 1_000;
  const { database, changes } = openPostgres({ url, poolSize, timeoutMs }, log);
  onStop(() => database.destroy());
  const { database: renewals } = openPostgres({ url, poolSize: RENEWAL_CONNECTIONS, timeoutMs }, log);
  onStop(() => renewals.destroy());
  const databaseClock = await openDatabaseClock(database, { system: shownClock, log }).catch(refuse);
  onStop(() => databaseClock.stop());
  return { database, renewals, changes, clock: createSteadyClock(databaseClock, 0) };
}

/** What of a configuration on PostgreSQL only one process can see. */
function lonelyParts({ store, streamBridge }: Config): readonly string[] {
  const parts: Readonly<Record<string, { readonly type: string }>> = { store, stream_bridge: streamBridge };
  return Object.entries(parts).flatMap(([part, { type }]) =>
    OF_ONE_PROCESS.has(type) ? [`${part}.type ${type}`] : [],
  );
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
