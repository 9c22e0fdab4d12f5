/**
 * One try to deliver a webhook: one POST, to an address that was looked at before.
 *
 * 1. A name is resolved once, every address that it has must be allowed, and the connection goes to one of those: what the
 *    name resolves to a moment later plays no part. Nothing is connected to before that.
 * 2. No redirects, no connection that was open already, no more than 64 KB of the answer. Of that only the status counts,
 *    and nobody is told more.
 * 3. All of it, resolving included, within one time limit.
 */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { isIP } from "node:net";
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import type { User } from "../core/model.js";
import { addressProblem } from "./address.js";
import type { Address, Resolve } from "./resolve.js";
import type { WebhookTarget } from "./url-policy.js";

export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Whose run it tells of; null where nobody is asked who they are. */
  readonly user: User | null;
}

export type PostResult =
  | { readonly kind: "delivered"; readonly status: number }
  | { readonly kind: "failed"; readonly reason: string }
  /** It may not go there; trying again would be no better. */
  | { readonly kind: "refused"; readonly reason: string }
  /** `stop` was aborted before there was an answer. */
  | { readonly kind: "stopped" };

/** Never throws. */
export type Post = (target: WebhookTarget, message: Message, stop: AbortSignal) => Promise<PostResult>;

export interface PostDeps {
  readonly resolve: Resolve;
  /** Answers what is for a path of the gateway's own, as if the user had sent it. */
  readonly own: (request: Request, user: User | null) => Promise<Response>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly allowPrivate: boolean;
}

const MAX_ANSWER_BYTES = 65_536;

export function createPost(deps: PostDeps): Post {
  const { clock, timeoutMs } = deps;
  return async (target, message, stop) => {
    const limit = new AbortController();
    const onStop = (): void => limit.abort(new Error("stopped"));
    const forget = clock.after(timeoutMs, () => limit.abort(new Error(`no answer within ${timeoutMs / 1_000} s`)));
    stop.addEventListener("abort", onStop);
    if (stop.aborted) onStop();
    try {
      if (target.kind === "own")
        return resultOf(await unlessAborted(postToOwn(deps, target, message, limit.signal), limit.signal));
      const addresses = await unlessAborted(addressesOf(deps, target.hostname), limit.signal);
      const problem = addresses.map(({ address }) => addressProblem(address, deps)).find((each) => each !== undefined);
      if (problem !== undefined) return { kind: "refused", reason: problem };
      return resultOf(await exchange(target, addresses, message, limit.signal));
    } catch (error) {
      return stop.aborted ? { kind: "stopped" } : { kind: "failed", reason: describeError(error).message };
    } finally {
      forget();
      stop.removeEventListener("abort", onStop);
    }
  };
}

function resultOf(status: number): PostResult {
  const isDelivered = status >= 200 && status < 300;
  return isDelivered ? { kind: "delivered", status } : { kind: "failed", reason: `answered with ${status}` };
}

async function addressesOf({ resolve }: PostDeps, hostname: string): Promise<readonly Address[]> {
  const family = isIP(hostname);
  return family === 0 ? resolve(hostname) : [{ address: hostname, family }];
}

async function postToOwn(
  { own }: PostDeps,
  { path }: WebhookTarget & { kind: "own" },
  { headers, body, user }: Message,
  signal: AbortSignal,
): Promise<number> {
  const request = new Request(`http://localhost${path}`, { method: "POST", headers, body, signal });
  const response = await own(request, user);
  await response.body?.cancel();
  return response.status;
}

/** The status of the answer. */
function exchange(
  { url, hostname }: WebhookTarget & { kind: "remote" },
  addresses: readonly Address[],
  { headers, body }: Message,
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const request = send({
      method: "POST",
      hostname,
      ...(url.port === "" ? {} : { port: Number(url.port) }),
      path: url.pathname + url.search,
      headers: { ...headers, "content-length": Buffer.byteLength(body) },
      lookup: only(addresses), // 1
      agent: false, // 2
    });
    let giveUp = (): unknown => request.destroy(signal.reason as Error); // only errors abort it
    const onAbort = (): void => void giveUp();
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    request.on("response", (response) => {
      giveUp = () => response.destroy(); // what it amounts to is known by now
      let read = 0;
      response.on("data", (chunk: Buffer) => {
        read += chunk.length;
        if (read >= MAX_ANSWER_BYTES) response.destroy(); // 2
      });
      response.on("error", () => {}); // as above
      response.on("close", () => resolve(response.statusCode ?? 0));
    });
    request.on("error", reject);
    request.on("close", () => {
      signal.removeEventListener("abort", onAbort);
      reject(new Error("the connection ended without an answer"));
    });
    request.end(body);
  });
}

/** Resolves every name to `addresses`; the connection tries them in turn. */
function only(addresses: readonly Address[]): LookupFunction {
  return (_hostname, { all }, callback) => {
    const [first] = addresses;
    if (first === undefined) callback(new Error("the host has no address"), "");
    else if (all === true) callback(null, [...addresses]);
    else callback(null, first.address, first.family);
  };
}

/** Settles as `work` does, or rejects with the abort's reason and leaves the work behind. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
