/**
 * How much one caller may ask for at once, by identity; callers whom nobody asks who they are count as one. In each process
 * by itself: what runs occupy is counted where they are admitted, in the database.
 *
 * Requests are a bucket that fills evenly: a minute's worth may come at once, and then as many as the minute allows.
 */
import type { Authenticate, Caller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";

export interface CallerLimits {
  /** null: no limit. */
  readonly requestsPerMinute: number | null;
  /** Event streams and WebSockets that are open at once. */
  readonly openStreams: number | null;
}

interface Use {
  /** What is left of the minute that requests take their parts of. */
  creditMs: number;
  at: number;
  streams: number;
}

const MINUTE_MS = 60_000;
/** Beyond so many callers those are forgotten of whom there is nothing to remember. */
const MAX_IDLE_CALLERS = 10_000;

export function limitCallers(authenticate: Authenticate, limits: CallerLimits, clock: Clock): Authenticate {
  const { requestsPerMinute, openStreams } = limits;
  if (requestsPerMinute === null && openStreams === null) return authenticate;
  const uses = new Map<string, Use>();

  function useOf(identity: string): Use {
    const now = clock.now();
    const use = uses.get(identity) ?? { creditMs: MINUTE_MS, at: now, streams: 0 };
    use.creditMs = Math.min(MINUTE_MS, use.creditMs + now - use.at);
    use.at = now;
    if (!uses.has(identity) && uses.size >= MAX_IDLE_CALLERS) forgetIdle(now);
    uses.set(identity, use);
    return use;
  }

  function forgetIdle(now: number): void {
    for (const [identity, use] of uses) if (use.streams === 0 && now - use.at >= MINUTE_MS) uses.delete(identity);
  }

  function countRequest(use: Use): void {
    if (requestsPerMinute === null) return;
    const costMs = MINUTE_MS / requestsPerMinute;
    if (use.creditMs < costMs) {
      const seconds = Math.ceil((costMs - use.creditMs) / 1_000);
      const message = `more than ${requestsPerMinute} requests in a minute; try again in ${seconds} s`;
      throw new GatewayError("too_many_requests", message, { retry_after: seconds });
    }
    use.creditMs -= costMs;
  }

  function enterStream(use: Use): () => void {
    if (openStreams !== null && use.streams >= openStreams) {
      throw new GatewayError("too_many_requests", `${openStreams} event streams are open already; close one first`);
    }
    use.streams++;
    let isOpen = true;
    return () => {
      if (isOpen) use.streams--;
      isOpen = false;
    };
  }

  return async (request): Promise<Caller> => {
    const caller = await authenticate(request);
    const use = useOf(caller.user?.identity ?? "");
    countRequest(use);
    return { ...caller, enterStream: () => enterStream(use) };
  };
}
