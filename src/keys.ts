/** `heddle keys`: makes, lists and revokes API keys, beside a running gateway or before the first start. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createApiKey } from "./auth/keys.js";
import { systemClock } from "./core/clock.js";
import { silentLog } from "./core/log.js";
import { SqlApiKeyStore } from "./storage/api-keys.js";
import { openDataFile } from "./storage/data-file.js";
import { createDatabase, type Database } from "./storage/database.js";
import { migrationState, requireMigrated } from "./storage/migration-state.js";
import { migrate } from "./storage/migrations.js";
import type { ApiKey, ApiKeyStore } from "./storage/ports/api-keys.js";
import { migrateServer, openPostgres, requireMigratedServer } from "./storage/postgres.js";

export interface KeyOptions {
  readonly identity: string;
  readonly name?: string | undefined;
  /** All of them unless some are named. */
  readonly permission?: readonly string[] | undefined;
  readonly expiresInDays?: number | undefined;
}

/** The database that the keys are in. */
export type KeyPlace = {
  readonly dataDir: string;
  /** `url`: of PostgreSQL; null for the folder. */
  readonly database: { readonly url: string | null; readonly timeoutSeconds: number; readonly migrate: boolean };
};

const DAY_MS = 24 * 60 * 60_000;

/** Returns the new key; it is shown this once. */
export function makeKey(place: KeyPlace, options: KeyOptions): Promise<string> {
  const { identity, name = identity, permission: permissions = ["*"], expiresInDays: days } = options;
  const expiresAt = days === undefined ? null : systemClock.now() + days * DAY_MS;
  return withKeys(place, (keys) => createApiKey(keys, { identity, name, permissions, expiresAt }));
}

/** One line per key. */
export async function listKeys(place: KeyPlace): Promise<readonly string[]> {
  return (await withKeys(place, (keys) => keys.list())).map(lineOf);
}

/** False when there is no such key that works. */
export function revokeKey(place: KeyPlace, keyId: string): Promise<boolean> {
  return withKeys(place, (keys) => keys.revoke(keyId));
}

function lineOf({ keyId, shown, identity, name, permissions, createdAt, expiresAt, revokedAt }: ApiKey): string {
  const state =
    revokedAt !== null ? `revoked ${day(revokedAt)}` : expiresAt === null ? "for ever" : `until ${day(expiresAt)}`;
  const label = name === identity ? "" : ` (${name})`;
  return `${keyId}  ${shown}…  ${identity}${label}  ${permissions.join(",")}  since ${day(createdAt)}, ${state}`;
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** For others who keep something there. */
export async function withKeys<T>(place: KeyPlace, work: (keys: ApiKeyStore) => Promise<T>): Promise<T> {
  const database = await open(place);
  try {
    return await work(new SqlApiKeyStore({ database, clock: systemClock }));
  } finally {
    await database.destroy();
  }
}

async function open({ dataDir, database: { url, timeoutSeconds, migrate: mayMigrate } }: KeyPlace): Promise<Database> {
  if (url !== null) {
    await (mayMigrate ? migrateServer(url, silentLog) : requireMigratedServer(url, silentLog));
    return openPostgres({ url, poolSize: 1, timeoutMs: timeoutSeconds * 1_000 }, silentLog).database;
  }
  mkdirSync(dataDir, { recursive: true });
  const file = join(dataDir, "heddle.db");
  const database = createDatabase(openDataFile(file, "FULL"));
  try {
    if (mayMigrate) await migrate(database);
    else requireMigrated(file, await migrationState(database));
    return database;
  } catch (error) {
    await database.destroy();
    throw error;
  }
}
