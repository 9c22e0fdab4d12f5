/** Callers that heddle knows without a line of the application's code: by an API key, or by a token of their provider. */
import type { Callers } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { User } from "../core/model.js";
import type { ApiKey, ApiKeyStore } from "../storage/ports/api-keys.js";
import { hashOf, isApiKey } from "./keys.js";
import { createOwner, type Isolation } from "./ownership.js";

export interface BuiltInAuthDeps {
  /** null: there are no keys. */
  readonly keys: Pick<ApiKeyStore, "find" | "list"> | null;
  /** null: tokens are not taken. */
  readonly verifyToken: ((token: string) => Promise<User>) | null;
  readonly isolation: Isolation;
  readonly clock: Clock;
}

export function createBuiltInCallers({ keys, verifyToken, isolation, clock }: BuiltInAuthDeps): Callers {
  async function userOfKey(secret: string): Promise<User> {
    const key = await keys?.find(hashOf(secret));
    if (key === undefined || !isGood(key))
      throw new GatewayError("unauthenticated", "the API key is not valid, or not valid any more");
    const { identity, name, permissions } = key;
    return { identity, display_name: name, is_authenticated: true, permissions };
  }

  function isGood({ revokedAt, expiresAt }: ApiKey): boolean {
    return revokedAt === null && (expiresAt ?? Number.POSITIVE_INFINITY) > clock.now();
  }

  return {
    async authenticate({ headers }) {
      const secret = headers.get("x-api-key") ?? bearerOf(headers.get("authorization"));
      if (secret === undefined) {
        throw new GatewayError("unauthenticated", `not authenticated: ${howTo(keys, verifyToken)}`);
      }
      if (keys !== null && (verifyToken === null || isApiKey(secret))) {
        return createOwner(await userOfKey(secret), isolation);
      }
      if (verifyToken === null) throw new GatewayError("unauthenticated", "not authenticated");
      return createOwner(await verifyToken(secret), isolation);
    },

    /** Somebody whose last key works no more is not known any more; whether a provider still knows somebody cannot be told. */
    async recall(user) {
      if (user === null) throw new GatewayError("unauthenticated", "it was made without authentication");
      const isKnown =
        verifyToken !== null || (await keys?.list())?.some((key) => key.identity === user.identity && isGood(key));
      if (isKnown === true) return createOwner(user, isolation);
      throw new GatewayError("unauthenticated", `${user.identity} has no API key that works`);
    },
  };
}

function bearerOf(header: string | null): string | undefined {
  return /^bearer +(\S+)$/i.exec(header?.trim() ?? "")?.[1];
}

function howTo(keys: unknown, tokens: unknown): string {
  if (keys !== null && tokens !== null) return "send an API key as x-api-key, or a token as Authorization: Bearer";
  return keys !== null ? "send an API key as x-api-key" : "send a token as Authorization: Bearer";
}
