/** API keys: made here, stored as hashes, shown once. */
import { createHash, randomBytes } from "node:crypto";
import type { ApiKeyStore, NewApiKey } from "../storage/ports/api-keys.js";

/** So that people, and tools that look for leaked secrets, know one when they see it. */
const PREFIX = "hdl_";
/** What of a key is kept to tell it by. */
const SHOWN_CHARS = 10;

/** Returns the key itself, which nobody can find out again. */
export async function createApiKey(keys: ApiKeyStore, key: Omit<NewApiKey, "hash" | "shown">): Promise<string> {
  const secret = PREFIX + randomBytes(32).toString("base64url");
  await keys.create({ ...key, hash: hashOf(secret), shown: secret.slice(0, SHOWN_CHARS) });
  return secret;
}

/** The key is random and long: its hash can neither be reversed nor compared in pieces. */
export function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export function isApiKey(text: string): boolean {
  return text.startsWith(PREFIX);
}
