/**
 * The application's own authentication: an `Auth` object of LangGraph's SDK.
 *
 * 1. Whatever it answers that is not plainly an identity or a permission is an error of the application: 500 for the
 *    client, its reason in the log, and nothing is done. Nobody becomes anybody by mistake.
 * 2. One handler decides about an event, the most specific one. It may change the value, and what it made of it is what
 *    takes effect.
 * 3. It never sees a body, and is not waited for without end.
 */
import type { Auth } from "@langchain/langgraph-sdk/auth";
import { withLimit } from "../core/async.js";
import {
  AUTH_EVENTS,
  type AuthEvent,
  type Caller,
  type Callers,
  type Permission,
  UNLIMITED_STREAMS,
} from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError, refusalIn } from "../core/errors.js";
import { toPlain } from "../core/json.js";
import type { JsonObject, User } from "../core/model.js";
import { EVERYTHING } from "../core/scope.js";
import { toScope } from "./filters.js";

type Handlers = Auth["~handlerCache"];

export interface CustomAuthDeps {
  readonly auth: { readonly "~handlerCache": Handlers };
  /** What happens to events that no handler is for. */
  readonly unhandled: "allow" | "deny";
  readonly clock: Clock;
}

const ANSWER_MS = 10_000;

export function createCustomCallers({ auth, unhandled, clock }: CustomAuthDeps): Callers {
  const { authenticate, callbacks = {} } = auth["~handlerCache"];

  async function answerOf(what: string, work: () => unknown): Promise<unknown> {
    const error = new GatewayError("unavailable", `${what} did not answer within ${ANSWER_MS / 1_000} s`);
    try {
      return await withLimit(Promise.resolve().then(work), { limitMs: ANSWER_MS, error, clock });
    } catch (thrown) {
      throw refusalIn(thrown) ?? thrown;
    }
  }

  return {
    async authenticate(request) {
      if (authenticate === undefined) throw new Error("auth: there is no authenticate handler");
      const bare = new Request(request.url, { method: request.method, headers: request.headers }); // 3
      return callerFor(userOf(await answerOf("authenticate", () => authenticate(bare))));
    },

    async recall(user) {
      return callerFor(user ?? unknownUser());
    },
  };

  function callerFor(user: User): Caller {
    return {
      user,
      enterStream: UNLIMITED_STREAMS,
      async authorize<Value extends object>(event: AuthEvent, value: Value): Promise<Permission<Value>> {
        const handler = handlerOf(callbacks, event);
        if (handler === undefined) {
          if (unhandled === "deny") throw new GatewayError("forbidden", "not authorized");
          return { scope: EVERYTHING, value };
        }
        const [resource = "", action = ""] = event.split(":");
        const asked = structuredClone(toPlain(value)) as Value & JsonObject; // a copy, to be changed
        const { permissions } = user;
        const result = await answerOf(`the auth handler of ${event}`, () =>
          handler({
            event,
            resource,
            action,
            value: asked,
            user: structuredClone(user) as never,
            permissions: [...permissions],
          }),
        );
        const scope = toScope(result, event);
        return { scope, value: { ...value, ...changedOf(asked, value, event) } };
      },
    };
  }
}

/** Of what was made while nobody was asked who they are. */
function unknownUser(): never {
  throw new GatewayError("unauthenticated", "nobody knows who it belongs to: it was made without authentication");
}

/** The events that nobody decides about. */
export function unhandledEvents({ "~handlerCache": { callbacks = {} } }: CustomAuthDeps["auth"]): readonly AuthEvent[] {
  return AUTH_EVENTS.filter((event) => handlerOf(callbacks, event) === undefined);
}

/** 2 */
function handlerOf(callbacks: NonNullable<Handlers["callbacks"]>, event: AuthEvent) {
  const [resource, action] = event.split(":");
  const name = [event, resource, `*:${action}`, "*"].find(
    (each) => each !== undefined && Object.hasOwn(callbacks, each),
  );
  return name === undefined ? undefined : callbacks[name];
}

/** 1 */
function userOf(answer: unknown): User {
  if (answer === undefined || answer === null || answer === "") {
    throw new GatewayError("unauthenticated", "not authenticated");
  }
  if (typeof answer === "string") {
    return { identity: answer, display_name: answer, is_authenticated: true, permissions: [] };
  }
  const plain = toPlain(answer);
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) throw noIdentity();
  const {
    identity,
    permissions = [],
    display_name: name = identity,
    is_authenticated: known = true,
  } = plain as JsonObject;
  if (typeof identity !== "string" || identity === "") throw noIdentity();
  if (!Array.isArray(permissions) || !permissions.every((each) => typeof each === "string")) {
    throw new Error("auth: authenticate returned permissions that are no list of texts");
  }
  if (known !== true) throw new GatewayError("unauthenticated", "not authenticated");
  return {
    ...(plain as JsonObject),
    identity,
    permissions: permissions as readonly string[], // just checked
    display_name: typeof name === "string" ? name : identity,
    is_authenticated: true,
  };
}

function noIdentity(): Error {
  return new Error("auth: authenticate returned neither an identity nor an object with one");
}

/** What the handler made of each member; one that has become something else altogether is its error. */
function changedOf(changed: JsonObject, value: object, event: AuthEvent): JsonObject {
  const kinds = Object.entries(value).filter(([, member]) => member !== undefined && member !== null);
  const other = kinds.find(([key, member]) => kindOf(changed[key]) !== kindOf(member));
  if (other === undefined) return toPlain(changed) as JsonObject; // it was plain before
  throw new Error(`auth: the handler of ${event} made something else of value.${other[0]}`);
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? "list" : value === null ? "null" : typeof value;
}
