/** What happens when a run is asked for on a thread: pure, so that every cell of the table can be tested. */
import { GatewayError, threadBusy } from "../core/errors.js";
import type { CancelAction, MultitaskStrategy } from "../core/model.js";
import type { InFlightRun } from "../storage/ports/runs.js";

/** `cancel`: what is done to every run in flight before the new one may start; `refuse`: nothing is created. */
export type MultitaskDecision =
  | { readonly kind: "admit"; readonly cancel: CancelAction | null }
  | { readonly kind: "refuse"; readonly error: GatewayError };

export interface MultitaskRules {
  /** How many runs of one thread may wait. */
  readonly maxPendingPerThread: number;
}

/** `inFlight` oldest first, as the locked thread shows it. */
export function decideMultitask(
  strategy: MultitaskStrategy,
  inFlight: readonly InFlightRun[],
  rules: MultitaskRules,
): MultitaskDecision {
  const [active] = inFlight;
  if (active === undefined) return { kind: "admit", cancel: null };
  switch (strategy) {
    case "reject":
      return { kind: "refuse", error: threadBusy(BUSY, active) };
    case "interrupt":
    case "rollback":
      return { kind: "admit", cancel: strategy };
    case "enqueue":
      return inFlight.filter(({ status }) => status === "pending").length >= rules.maxPendingPerThread
        ? { kind: "refuse", error: tooManyPending(rules.maxPendingPerThread) }
        : { kind: "admit", cancel: null };
  }
}

const BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.";

function tooManyPending(limit: number): GatewayError {
  return new GatewayError("too_many_requests", `the thread has ${limit} pending runs already; wait for some to finish`);
}
