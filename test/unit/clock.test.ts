import { describe, expect, it } from "vitest";
import { createSteadyClock } from "../../src/core/clock.js";
import { createFakeClock } from "../support/fake-clock.js";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2030, 0, 1);

function clocks(notBefore = 0) {
  const system = createFakeClock(START_MS);
  return { system, steady: createSteadyClock(system, notBefore) };
}

describe("a steady clock", () => {
  it("shows what the system's shows", () => {
    const { system, steady } = clocks();
    expect(steady.now()).toBe(START_MS);
    system.advance(1_500);
    expect(steady.now()).toBe(START_MS + 1_500);
  });

  it("goes on at the same pace when the system's is set back, until that is ahead of it", () => {
    const { system, steady } = clocks();
    steady.now();
    system.set(-2 * HOUR_MS);
    for (const passed of [0, 1, 59_999]) {
      const before = steady.now();
      system.advance(passed);
      expect(steady.now()).toBe(before + passed);
    }
    system.set(2 * HOUR_MS + 500);
    expect(steady.now()).toBe(START_MS + 60_500);
  });

  it("is late by no more than a step back that it could not see", () => {
    const { system, steady } = clocks();
    steady.now();
    system.advance(HOUR_MS);
    system.set(-2 * HOUR_MS);
    expect(steady.now()).toBe(START_MS + HOUR_MS);
  });

  it("follows a jump forward, and does not come back from it", () => {
    const { system, steady } = clocks();
    system.set(5 * 24 * HOUR_MS);
    expect(steady.now()).toBe(START_MS + 5 * 24 * HOUR_MS);
    system.set(-5 * 24 * HOUR_MS);
    system.advance(10);
    expect(steady.now()).toBe(START_MS + 5 * 24 * HOUR_MS + 10);
  });

  it("stands still while the system's is corrected by a little", () => {
    const { system, steady } = clocks();
    steady.now();
    system.set(-300);
    expect(steady.now()).toBe(START_MS);
    system.advance(200);
    expect(steady.now()).toBe(START_MS);
    system.advance(200);
    expect(steady.now()).toBe(START_MS + 100);
  });

  it("begins no earlier than it is told", () => {
    const { system, steady } = clocks(START_MS + HOUR_MS);
    expect(steady.now()).toBe(START_MS + HOUR_MS);
    system.advance(10);
    expect(steady.now()).toBe(START_MS + HOUR_MS + 10);
  });

  it("has the system's timers", () => {
    const { system, steady } = clocks();
    const fired: string[] = [];
    steady.after(1_000, () => fired.push("kept"));
    steady.after(1_000, () => fired.push("forgotten"))();
    system.set(-2 * HOUR_MS);
    system.advance(1_000);
    expect(fired).toEqual(["kept"]);
  });
});
