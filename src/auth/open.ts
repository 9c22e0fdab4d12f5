/** From the configuration to how callers are known. */
import { resolve } from "node:path";
import { ConfigError } from "../config/config-error.js";
import { ANYONE, type Callers } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { importExport } from "../graphs/project-export.js";
import type { ApiKeyStore } from "../storage/ports/api-keys.js";
import { createBuiltInCallers } from "./built-in.js";
import { type CustomAuthDeps, createCustomCallers, unhandledEvents } from "./custom.js";
import type { Isolation } from "./ownership.js";
import { createTokenVerifier, type TokenOptions } from "./tokens.js";

export interface AuthOptions {
  /** `./file.ts:export` of an `Auth` object. */
  readonly path: string | null;
  readonly default: "allow" | "deny";
  readonly apiKeys: boolean;
  readonly jwt: TokenOptions | null;
  readonly isolation: Isolation;
}

/** Throws a `ConfigError` that says what cannot be used. */
export async function openCallers(
  options: AuthOptions,
  deps: { readonly baseDir: string; readonly keys: ApiKeyStore; readonly clock: Clock; readonly log: Log },
): Promise<Callers> {
  const { path, apiKeys, jwt, isolation } = options;
  const { baseDir, keys, clock, log } = deps;
  if (path !== null) {
    const auth = await loadAuth(path, baseDir);
    const unhandled = unhandledEvents(auth);
    const [all, what] = [options.default === "allow", unhandled.join(", ")];
    if (unhandled.length > 0)
      log.warn(`auth: no handler for ${what}: ${all ? "everybody" : "nobody"} may (auth.default)`);
    return createCustomCallers({ auth, unhandled: options.default, clock });
  }
  if (!apiKeys && jwt === null) return { authenticate: async () => ANYONE, recall: async () => ANYONE };
  return createBuiltInCallers({
    keys: apiKeys ? keys : null,
    verifyToken: jwt === null ? null : openTokens(jwt, baseDir),
    isolation,
    clock,
  });
}

function openTokens(jwt: TokenOptions, baseDir: string): ReturnType<typeof createTokenVerifier> {
  try {
    return createTokenVerifier({ ...jwt, jwksFile: jwt.jwksFile === null ? null : resolve(baseDir, jwt.jwksFile) });
  } catch (error) {
    throw new ConfigError(`auth.jwt: the keys cannot be read: ${(error as Error).message}`);
  }
}

async function loadAuth(path: string, baseDir: string): Promise<CustomAuthDeps["auth"]> {
  const auth = await importExport({ key: "auth.path", path, baseDir });
  if (isAuth(auth)) return auth;
  throw new ConfigError(
    `auth.path: ${path} is no Auth object of @langchain/langgraph-sdk/auth with an authenticate handler`,
  );
}

/** By its shape: the project may have its own copy of the SDK. */
function isAuth(value: unknown): value is CustomAuthDeps["auth"] {
  if (typeof value !== "object" || value === null || !("~handlerCache" in value)) return false;
  const handlers = value["~handlerCache"];
  return (
    typeof handlers === "object" &&
    handlers !== null &&
    "authenticate" in handlers &&
    typeof handlers.authenticate === "function"
  );
}
