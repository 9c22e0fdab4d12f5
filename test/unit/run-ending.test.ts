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
  evicted: { kind: "evicted" },
};

const EXPECTED: Record<StopCause | "none", Record<ExecuteResult["kind"], string>> = {
  none: { finished: "success", aborted: "error AbortError", failed: "error RangeError", evicted: "release" },
  interrupt: { finished: "interrupted", aborted: "interrupted", failed: "interrupted", evicted: "interrupted" },
  rollback: { finished: "take back", aborted: "take back", failed: "take back", evicted: "take back" },
  timeout: { finished: "success", aborted: "timeout TimeoutError", failed: "error RangeError", evicted: "release" },
  shutdown: { finished: "success", aborted: "release", failed: "error RangeError", evicted: "release" },
  lost: { finished: "abandon", aborted: "abandon", failed: "abandon", evicted: "abandon" },
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
    expect(kept).toBe(kind === "evicted" ? null : state);
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

  it("leaves a temporary thread that is to wait for an answer, while it has a question", () => {
    const run = claimedRun({ payload: { ...PAYLOAD, temporary: true, keepWhenPaused: true } });
    const asking = projection({ interrupts: { task: [{ id: "i", value: "Go on?" }] }, next: ["ask"] });
    const breakpoint = projection({ next: ["ask"] });
    const endings = [
      [{ kind: "finished", projection: asking }, null, false],
      [{ kind: "finished", projection: breakpoint }, null, true],
      [{ kind: "finished", projection: state }, null, true],
      [{ kind: "aborted", projection: asking }, "interrupt", true],
      [{ kind: "failed", error: failure, projection: asking }, null, true],
    ] as const;
    for (const [result, cause, deleteThread] of endings) {
      expect(decideEnding(run, { cause, result })).toMatchObject({ outcome: { deleteThread } });
    }
  });
});
