/**
 * Requests that the gateway makes to itself for somebody, such as a webhook to one of its paths. They bear no credentials
 * and are that person's, who may do by them what they may do now. Nobody else can make one: it is known by its object.
 */
import type { Authenticate, Callers } from "../core/caller.js";
import type { User } from "../core/model.js";

export interface OwnRequests {
  /** Of all requests. */
  readonly authenticate: Authenticate;
  /** Makes `request` one of `user`'s; null: of somebody who was not asked who they are. */
  attribute(request: Request, user: User | null): Request;
}

export function knowOwnRequests({ authenticate, recall }: Callers): OwnRequests {
  const users = new WeakMap<Request, User | null>();
  return {
    async authenticate(request) {
      const user = users.get(request);
      return user === undefined ? authenticate(request) : recall(user);
    },
    attribute(request, user) {
      users.set(request, user);
      return request;
    },
  };
}
