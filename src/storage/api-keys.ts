/** API keys in SQL: of a key only the hash is there. */
import type { Clock } from "../core/clock.js";
import { newId } from "../core/ids.js";
import type { Database } from "./database.js";
import type { ApiKey, ApiKeyStore, NewApiKey } from "./ports/api-keys.js";

export class SqlApiKeyStore implements ApiKeyStore {
  private readonly database: Database;
  private readonly clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.database = database;
    this.clock = clock;
  }

  async create({ hash, shown, name, identity, permissions, expiresAt }: NewApiKey): Promise<ApiKey> {
    const row = {
      key_id: newId(),
      hash,
      shown,
      name,
      identity,
      permissions: JSON.stringify(permissions),
      created_at: this.clock.now(),
      expires_at: expiresAt,
      revoked_at: null,
    };
    await this.database.insertInto("api_keys").values(row).execute();
    return toApiKey(row);
  }

  async find(hash: string): Promise<ApiKey | undefined> {
    const row = await this.database.selectFrom("api_keys").selectAll().where("hash", "=", hash).executeTakeFirst();
    return row && toApiKey(row);
  }

  async list(): Promise<readonly ApiKey[]> {
    const rows = await this.database
      .selectFrom("api_keys")
      .selectAll()
      .orderBy("created_at")
      .orderBy("key_id")
      .execute();
    return rows.map(toApiKey);
  }

  async revoke(keyId: string): Promise<boolean> {
    const revoked = await this.database
      .updateTable("api_keys")
      .set({ revoked_at: this.clock.now() })
      .where("key_id", "=", keyId)
      .where("revoked_at", "is", null)
      .executeTakeFirst();
    return revoked.numUpdatedRows > 0n;
  }

  async remove(keyId: string): Promise<void> {
    await this.database.deleteFrom("api_keys").where("key_id", "=", keyId).execute();
  }
}

interface ApiKeyRow {
  readonly key_id: string;
  readonly shown: string;
  readonly name: string;
  readonly identity: string;
  readonly permissions: string;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
}

function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    keyId: row.key_id,
    shown: row.shown,
    name: row.name,
    identity: row.identity,
    permissions: JSON.parse(row.permissions) as string[], // as `create` wrote it
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
  };
}
