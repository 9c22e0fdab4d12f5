/** Every strategy on every thread. */
import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.js";
import type { MultitaskStrategy, RunStatus } from "../../src/core/model.js";
import { decideMultitask } from "../../src/runs/multitask.js";

const RULES = { maxPendingPerThread: 2 };

function runs(...statuses: RunStatus[]) {
  return statuses.map((status, index) => ({ runId: `r${index}`, status, createdAt: Date.UTC(2030, 0, 1, 0, index) }));
}

function decide(strategy: MultitaskStrategy, ...statuses: RunStatus[]): string {
  const decision = decideMultitask(strategy, runs(...statuses), RULES);
  if (decision.kind === "admit") return decision.cancel === null ? "admit" : `admit, ${decision.cancel} the others`;
  return decision.error.code;
}

describe("decideMultitask", () => {
  it.each(["enqueue", "reject", "interrupt", "rollback"] as const)("%s admits on a thread that is free", (strategy) => {
    expect(decide(strategy)).toBe("admit");
  });

  it.each([
    ["enqueue", "admit"],
    ["reject", "thread_busy"],
    ["interrupt", "admit, interrupt the others"],
    ["rollback", "admit, rollback the others"],
  ] as const)("%s on a busy thread: %s", (strategy, expected) => {
    expect(decide(strategy, "running")).toBe(expected);
    expect(decide(strategy, "pending")).toBe(expected);
    expect(decide(strategy, "running", "pending")).toBe(expected);
  });

  it("refuses to enqueue behind too many", () => {
    expect(decide("enqueue", "running", "pending")).toBe("admit");
    expect(decide("enqueue", "running", "pending", "pending")).toBe("too_many_requests");
    expect(decide("enqueue", "pending")).toBe("admit");
    expect(decide("enqueue", "pending", "pending")).toBe("too_many_requests"); // none of which has begun
    expect(decide("interrupt", "running", "pending", "pending")).toBe("admit, interrupt the others");
  });

  it("names the run that occupies the thread", () => {
    const decision = decideMultitask("reject", runs("running", "pending"), RULES);
    const error = decision.kind === "refuse" ? decision.error : undefined;
    expect(error).toBeInstanceOf(GatewayError);
    expect(error?.details).toEqual({
      active_run: { run_id: "r0", status: "running", created_at: "2030-01-01T00:00:00.000Z" },
    });
  });
});
