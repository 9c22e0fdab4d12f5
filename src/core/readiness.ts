/**
 * Whether the gateway should be sent requests: starting, then ready, then draining, never back.
 *
 * While it is ready it is so only as long as its databases can be written, which is tried when somebody asks, at most once
 * a second however many ask.
 */
import type { Clock } from "./clock.js";
import { GatewayError } from "./errors.js";

export interface ReadinessDeps {
  readonly clock: Clock;
  /** Each rejects, saying why, while what it tries does not work. */
  readonly checks: readonly (() => Promise<void>)[];
}

export interface Readiness {
  /** Why no requests should come; null when they may. */
  reason(): Promise<string | null>;
  /** Everything that a request needs has been started. */
  open(): void;
  /** From now on nothing is started any more. */
  drain(): void;
  readonly isDraining: boolean;
  /** Throws `unavailable` once the gateway drains: for what must not begin any more. */
  requireOpen(): void;
}

const CHECK_AGAIN_MS = 1_000;

export function createReadiness({ clock, checks }: ReadinessDeps): Readiness {
  let phase: "starting" | "ready" | "draining" = "starting";
  let checked: { readonly at: number; readonly reason: Promise<string | null> } | undefined;

  async function check(): Promise<string | null> {
    const results = await Promise.allSettled(checks.map((run) => run()));
    const failed = results.find((result) => result.status === "rejected");
    return failed === undefined ? null : String((failed.reason as Error).message); // checks reject with errors
  }

  function closedBecause(): string | null {
    if (phase === "ready") return null;
    return phase === "draining" ? STOPPING : "the gateway is starting";
  }

  return {
    async reason() {
      const closed = closedBecause();
      if (closed !== null) return closed;
      const now = clock.now();
      if (checked === undefined || now - checked.at >= CHECK_AGAIN_MS) checked = { at: now, reason: check() };
      const reason = await checked.reason;
      return closedBecause() ?? reason; // it may have begun to drain meanwhile
    },
    open() {
      if (phase === "starting") phase = "ready";
    },
    drain() {
      phase = "draining";
    },
    get isDraining() {
      return phase === "draining";
    },
    requireOpen() {
      if (phase === "draining") {
        throw new GatewayError("unavailable", `${STOPPING} and takes no more runs: send the request again in a moment`);
      }
    },
  };
}

const STOPPING = "the gateway is stopping";
