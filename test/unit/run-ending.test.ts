/** How a run ends: every reason to stop against everything that a graph can have done by then. */
import { describe, expect, it } from "vitest";
import type { Run } from "../../src/core/model.js";
import type { ExecuteResult } from "../../src/graphs/host.js";
import { decideEnding, type StopCause } from "../../src/runs/ending.js";
import { claimedRun, PAYLOAD, projection } from "../support/sql-stores.js";

const state = projection({ valuesJson: '{"a":1}' });
const failure = { error: "RangeError", message: "out of range" };
const RESULTS: Record<ExecuteResult["kind"], ExecuteResult> = {
  finished: { kind: "finished", projection: state },
  aborted: { kind: "aborted", projection: state },
  failed: { kind: "failed", error: failure, projection: state },
};

const EXPECTED: Record<StopCause | "none", Record<ExecuteResult["kind"], string>> = {
  none: { finished: "success", aborted: "error AbortError", failed: "error RangeError" },
  interrupt: { finished: "interrupted", aborted: "interrupted", failed: "interrupted" },
  rollback: { finished: "take back", aborted: "take back", failed: "take back" },
  timeout: { finished: "success", aborted: "timeout TimeoutError", failed: "error RangeError" },
  shutdown: { finished: "success", aborted: "release", failed: "error RangeError" },
  lost: { finished: "abandon", aborted: "abandon", failed: "abandon" },
};

const cells = Object.entries(EXPECTED).flatMap(([cause, row]) =>
  Object.entries(row).map(([kind, expected]) => [cause, kind, expected] as const),
);

describe("decideEnding", () => {
  it.each(cells)("stopped by %s, the graph %s: %s", (cause, kind, expected) => {
    const verdict = decideEnding(claimedRun(), {
      cause: cause === "none" ? null : (cause as StopCause),
      result: RESULTS[kind as ExecuteResult["kind"]],
    });
    if (verdict.kind !== "finish") return expect(verdict.kind).toBe(expected);
    const { status, error, projection: kept } = verdict.outcome;
    expect([status, error?.error].join(" ").trim()).toBe(expected);
    expect(kept).toBe(state);
  });

  it("takes a temporary thread along", () => {
    const run: Run = claimedRun({ payload: { ...PAYLOAD, temporary: true } });
    expect(decideEnding(run, { cause: null, result: RESULTS.finished })).toMatchObject({
      outcome: { deleteThread: true },
    });
    expect(decideEnding(claimedRun(), { cause: null, result: RESULTS.finished })).toMatchObject({
      outcome: { deleteThread: false },
    });
  });
});
