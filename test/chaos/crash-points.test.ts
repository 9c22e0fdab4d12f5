/**
 * T2: whenever a process dies, once or twice, the next one brings its runs to the end that they would have had, and no
 * question gets an answer that was not made for it.
 *
 * A crash point is a commit to either database; power failures, which may take the newest checkpoints, count as well.
 * `HEDDLE_SWEEP_ONLY` is a pattern for the conversations that are tried.
 */
import { afterAll, describe, expect, it } from "vitest";
import { SCENARIOS } from "../support/crash-scenarios.js";
import { sweep } from "../support/crash-sweep.js";
import { report, SCALE, scaled } from "../support/scale.js";

/** Every how many-eth first and second death is tried. */
const CUT = scaled({ quick: { every: 30, secondEvery: 200 }, full: { every: 12, secondEvery: 180 } });
/** The same with savers that ask the main thread to write: what is on its way then is lost as well. */
const ASKING_CUT = scaled({ quick: { every: 20, secondEvery: 0 }, full: { every: 24, secondEvery: 180 } });
const ONLY = new RegExp(process.env.HEDDLE_SWEEP_ONLY ?? "");
const DURABILITIES = ["sync", "async", "exit"] as const;

const points: Record<string, number> = {};
let wrong = 0;
const startedAt = Date.now();

for (const [durabilityIndex, durability] of DURABILITIES.entries()) {
  const scenarios = Object.entries(SCENARIOS).filter(
    // The quick cut tries every conversation with one durability.
    ([name], index) => ONLY.test(name) && (SCALE === "full" || index % DURABILITIES.length === durabilityIndex),
  );
  describe.skipIf(scenarios.length === 0)(`with durability ${durability} a death changes nothing in`, () => {
    it.each(scenarios)("%s", { timeout: 600_000 }, async (name, scenario) => {
      const swept = await sweep(scenario, { durability, host: "inline", ...CUT });
      points[name] = (points[name] ?? 0) + swept.points;
      wrong += swept.wrong.length;
      expect(swept.wrong).toEqual([]);
      expect(swept.points).toBeGreaterThan(0);
    });
  });
}

describe("with a graph on a thread of its own a death changes nothing in", () => {
  const scenarios = Object.entries(SCENARIOS).filter(
    ([name], index) => ONLY.test(name) && (SCALE === "full" || index % 4 === 1),
  );
  it.each(scenarios)("%s", { timeout: 600_000 }, async (name, scenario) => {
    const swept = await sweep(scenario, { durability: "async", host: "thread", ...ASKING_CUT });
    points[name] = (points[name] ?? 0) + swept.points;
    wrong += swept.wrong.length;
    expect(swept.wrong).toEqual([]);
    expect(swept.points).toBeGreaterThan(0);
  });
});

afterAll(() => {
  const all = Object.values(points).reduce((sum, count) => sum + count, 0);
  const seconds = Math.round((Date.now() - startedAt) / 1_000);
  report("T2", { points: all, shapes: Object.keys(points).length, "wrong states": wrong, seconds });
  if (SCALE === "full") report("T2 points", points);
});
