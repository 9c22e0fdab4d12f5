/** `heddle keys`: makes, lists and revokes API keys, beside a running gateway or before the first start. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createApiKey } from "./auth/keys.js";
import { systemClock } from "./core/clock.js";
import { SqlApiKeyStore } from "./storage/api-keys.js";
import { openDataFile } from "./storage/data-file.js";
import { createDatabase } from "./storage/database.js";
import { migrate } from "./storage/migrations.js";
import type { ApiKey, ApiKeyStore } from "./storage/storage.js";

export interface KeyOptions {
  readonly identity: string;
  readonly name?: string | undefined;
  /** All of them unless some are named. */
  readonly permission?: readonly string[] | undefined;
  readonly expiresInDays?: number | undefined;
}

const DAY_MS = 24 * 60 * 60_000;

/** Returns the new key; it is shown this once. */
export function makeKey(dataDir: string, options: KeyOptions): Promise<string> {
  const { identity, name = identity, permission: permissions = ["*"], expiresInDays: days } = options;
  const expiresAt = days === undefined ? null : systemClock.now() + days * DAY_MS;
  return withKeys(dataDir, (keys) => createApiKey(keys, { identity, name, permissions, expiresAt }));
}

/** One line per key. */
export async function listKeys(dataDir: string): Promise<readonly string[]> {
  return (await withKeys(dataDir, (keys) => keys.list())).map(lineOf);
}

/** False when there is no such key that works. */
export function revokeKey(dataDir: string, keyId: string): Promise<boolean> {
  return withKeys(dataDir, (keys) => keys.revoke(keyId));
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

async function withKeys<T>(dataDir: string, work: (keys: ApiKeyStore) => Promise<T>): Promise<T> {
  mkdirSync(dataDir, { recursive: true });
  const database = createDatabase(openDataFile(join(dataDir, "heddle.db"), "FULL"));
  try {
    await migrate(database);
    return await work(new SqlApiKeyStore({ database, clock: systemClock }));
  } finally {
    await database.destroy();
  }
}
