/**
 * What callers may do whom heddle itself has authenticated, by an API key or a token.
 *
 * 1. Whatever is not among their permissions is refused.
 * 2. With `isolation: owner` everybody has their own: what they make bears their identity as `metadata.owner`, and what
 *    bears another's is not there for them. Assistants that the graphs bring along are everybody's.
 * 3. Items are everybody's own likewise: the first label of a namespace is the identity.
 */
import { type AuthEvent, type Caller, isPermitted, type Permission, UNLIMITED_STREAMS } from "../core/caller.js";
import { GatewayError } from "../core/errors.js";
import type { JsonObject, User } from "../core/model.js";
import { EVERYTHING, type Scope } from "../core/scope.js";

export type Isolation = "owner" | "shared";

export function createOwner(user: User, isolation: Isolation): Caller {
  return {
    user,
    enterStream: UNLIMITED_STREAMS,
    async authorize<Value extends object>(event: AuthEvent, value: Value): Promise<Permission<Value>> {
      if (!isPermitted(user.permissions, event)) {
        throw new GatewayError("forbidden", `not authorized: ${event} is not among the permissions of the caller`);
      }
      if (isolation === "shared") return { scope: EVERYTHING, value };
      if (event.startsWith("store:")) return { scope: EVERYTHING, value: withOwnNamespace(user, event, value) };
      return { scope: scopeOf(user, event), value: STAMPED.has(event) ? withOwner(user, value) : value };
    },
  };
}

/** What is made, and so is somebody's. */
const STAMPED: ReadonlySet<AuthEvent> = new Set([
  "threads:create",
  "threads:create_run",
  "assistants:create",
  "crons:create",
]);

function scopeOf({ identity }: User, event: AuthEvent): Scope {
  const owned = { kind: "equals", key: "owner", value: identity } as const;
  const isReadable = event === "assistants:read" || event === "assistants:search";
  if (!isReadable) return [owned];
  return [{ kind: "any", of: [[owned], [{ kind: "equals", key: "created_by", value: "system" }]] }];
}

function withOwner<Value extends object>({ identity }: User, value: Value): Value {
  const metadata = "metadata" in value ? (value.metadata as JsonObject | undefined) : undefined;
  return { ...value, metadata: { ...metadata, owner: identity } };
}

/** 3 */
function withOwnNamespace<Value extends object>(user: User, event: AuthEvent, value: Value): Value {
  const namespace = ("namespace" in value ? (value.namespace as readonly string[] | undefined) : undefined) ?? [];
  const own = labelOf(user);
  const isSearch = event === "store:search" || event === "store:list_namespaces";
  if (namespace.length === 0 && isSearch) return { ...value, namespace: [own] };
  if (namespace[0] === own) return value;
  throw new GatewayError(
    "forbidden",
    `not authorized: the first label of the namespace must be ${JSON.stringify(own)}`,
  );
}

/** The identity as a label, which has no period. */
export function labelOf({ identity }: Pick<User, "identity">): string {
  return identity.replaceAll("%", "%25").replaceAll(".", "%2E");
}
