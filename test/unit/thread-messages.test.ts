/** What crosses between the main thread and a graph thread. */
import { expect, it } from "vitest";
import type { ExecuteResult } from "../../src/graphs/host.js";
import { isRootState, resultOf, toEnd } from "../../src/graphs/thread-messages.js";

const TOLD = '{"long":"text"}';
const projection = (valuesJson: string | null) => ({ valuesJson, interrupts: {}, next: ["n"] });

it.each<[string, ExecuteResult, string | undefined, boolean]>([
  ["the state told last", { kind: "finished", projection: projection(TOLD) }, TOLD, true],
  ["another state than the one told", { kind: "aborted", projection: projection("{}") }, TOLD, false],
  ["a state that was never told", { kind: "finished", projection: projection(TOLD) }, undefined, false],
  ["no state", { kind: "finished", projection: projection(null) }, TOLD, false],
  ["nothing", { kind: "failed", error: { error: "E", message: "m" }, projection: null }, TOLD, false],
  ["an eviction", { kind: "evicted" }, TOLD, false],
])(
  "an execution ends with the same result on the other side, and a state crosses once: %s",
  (_what, result, told, isOnce) => {
    const end = toEnd(result, told);
    expect(JSON.stringify(end).includes("long")).toBe(!isOnce && JSON.stringify(result).includes("long"));
    expect(resultOf(end, told ?? null)).toEqual(result);
  },
);

it("only a state of the root is the execution's", () => {
  expect(isRootState({ event: "values", namespace: [], data: "{}" })).toBe(true);
  expect(isRootState({ event: "values", namespace: ["sub"], data: "{}" })).toBe(false);
  expect(isRootState({ event: "updates", namespace: [], data: "{}" })).toBe(false);
});
