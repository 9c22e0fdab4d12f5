/**
 * Whoever asks for something. A service is asked *as* a caller, and asks the caller's authorisation what the action may
 * touch; so REST, event streaming, crons and whatever comes later share one answer.
 */
import { GatewayError } from "./errors.js";
import type { User } from "./model.js";
import { EVERYTHING, type Scope } from "./scope.js";

/** The events of LangGraph's `Auth`: a resource and what is done to it. */
export const AUTH_EVENTS = [
  "threads:create",
  "threads:read",
  "threads:update",
  "threads:delete",
  "threads:search",
  "threads:create_run",
  "assistants:create",
  "assistants:read",
  "assistants:update",
  "assistants:delete",
  "assistants:search",
  "crons:create",
  "crons:read",
  "crons:update",
  "crons:delete",
  "crons:search",
  "store:put",
  "store:get",
  "store:search",
  "store:delete",
  "store:list_namespaces",
] as const;
export type AuthEvent = (typeof AUTH_EVENTS)[number];

export interface Permission<Value> {
  /** What the action may touch. */
  readonly scope: Scope;
  /** The value as the authorisation wants it: that is what takes effect. */
  readonly value: Value;
}

export interface Caller {
  /** null where nobody is asked who they are, and for the gateway itself. */
  readonly user: User | null;
  /**
   * `value`: what is asked for, in the words of the wire, as LangGraph's auth handlers know it. Throws `forbidden`, or
   * what a handler refuses with.
   */
  authorize<Value extends object>(event: AuthEvent, value: Value): Promise<Permission<Value>>;
  /** Counts an event stream that opens; throws `too_many_requests`. The returned function says that it has closed. */
  enterStream(): () => void;
}

/** For callers who may open as many as they like. */
export const UNLIMITED_STREAMS: Caller["enterStream"] = () => () => {};

/**
 * Who sends the request, by what it carries besides a body. Throws `unauthenticated` for somebody that it does not know, or
 * what the application's own authentication refuses with.
 */
export type Authenticate = (request: Request) => Promise<Caller>;

/** Somebody who asked earlier for what is done now, with what they may do now; null: nobody was asked who they are. */
export type RecallCaller = (user: User | null) => Promise<Caller>;

/** How callers are known. */
export interface Callers {
  readonly authenticate: Authenticate;
  readonly recall: RecallCaller;
}

/** A service that does things as somebody. */
export interface PerCaller<Service> {
  as(caller: Caller): Service;
}

/**
 * Whether `permissions` name the event: itself (`threads:read`), all of its resource (`threads:*`, `threads`), its action
 * anywhere (`*:read`), or everything (`*`).
 */
export function isPermitted(permissions: readonly string[], event: string): boolean {
  const [resource, action] = event.split(":");
  return ["*", event, resource, `${resource}:*`, `*:${action}`].some(
    (each) => each !== undefined && permissions.includes(each),
  );
}

/** May do everything: the gateway's own doings, and everybody where there is no authentication. */
export const ANYONE: Caller = {
  user: null,
  authorize: async (_event, value) => ({ scope: EVERYTHING, value }),
  enterStream: UNLIMITED_STREAMS,
};

/** May do nothing: whoever asks for what is answered to everybody. */
export const NOBODY: Caller = {
  user: null,
  async authorize() {
    throw new GatewayError("forbidden", "not authorized");
  },
  enterStream: UNLIMITED_STREAMS,
};
