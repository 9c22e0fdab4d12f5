/** The port of API keys. */

export interface ApiKey {
  readonly keyId: string;
  /** How the key begins, to tell it by. */
  readonly shown: string;
  readonly name: string;
  /** Who uses it. */
  readonly identity: string;
  readonly permissions: readonly string[];
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

export interface NewApiKey extends Omit<ApiKey, "keyId" | "createdAt" | "revokedAt"> {
  readonly hash: string;
}

export interface ApiKeyStore {
  create(key: NewApiKey): Promise<ApiKey>;
  find(hash: string): Promise<ApiKey | undefined>;
  /** In the order in which they were made. */
  list(): Promise<readonly ApiKey[]>;
  /** False for a key that is revoked already, or never was. */
  revoke(keyId: string): Promise<boolean>;
  /** Leaves nothing of it. */
  remove(keyId: string): Promise<void>;
}
