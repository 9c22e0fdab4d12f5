/** Readers that take much wait while the event loop is busy; readers of live tokens never do. */
import { describe, expect, it } from "vitest";
import { createPace } from "../../src/api/pace.js";
import { createFakeClock } from "../support/fake-clock.js";

const KIB = 1_024;

function open() {
  const clock = createFakeClock();
  let isBusy = true;
  const pace = createPace({ clock, spareMs: () => (isBusy ? 0 : 1) });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    clock,
    pace,
    settle,
    setBusy: (busy: boolean) => {
      isBusy = busy;
    },
    /** A reader that takes chunk after chunk; tells what it has taken. */
    take(bytes: number): () => number {
      const turn = pace.reader();
      let taken = 0;
      void (async () => {
        for (;;) {
          await turn(bytes);
          taken += bytes;
        }
      })();
      return () => taken;
    },
    async advance(ms: number) {
      for (let at = 0; at < ms; at++) {
        clock.advance(1);
        await settle();
      }
    },
  };
}

describe("a reader", () => {
  it("of live tokens never waits, however busy the event loop and however many others wait", async () => {
    const { clock, pace, take, advance } = open();
    for (let other = 0; other < 100; other++) take(64 * KIB);
    await advance(20);
    const turn = pace.reader();
    for (let token = 0; token < 1_000; token++) {
      expect(turn(300)).toBeUndefined();
      clock.advance(5);
    }
  });

  it("of a short log never waits", () => {
    const { pace } = open();
    const turn = pace.reader();
    expect([turn(20 * KIB), turn(20 * KIB), turn(20 * KIB)]).toEqual([undefined, undefined, undefined]);
  });
});

describe("readers that take much", () => {
  it("together get no more than a little for each millisecond in which the event loop is busy", async () => {
    const { take, advance } = open();
    const readers = Array.from({ length: 50 }, () => take(60 * KIB));
    await advance(200);
    const taken = readers.reduce((sum, each) => sum + each(), 0);
    expect(taken).toBeGreaterThan(200 * 8 * KIB); // nobody starves
    expect(taken).toBeLessThan(50 * 64 * KIB + 1_024 * KIB + 250 * 8 * KIB);
  });

  it("get it in equal parts", async () => {
    const { take, advance } = open();
    const readers = Array.from({ length: 10 }, () => take(60 * KIB));
    await advance(500);
    const taken = readers.map((each) => each());
    expect(Math.max(...taken) - Math.min(...taken)).toBeLessThanOrEqual(60 * KIB);
  });

  it("get all that they can take when it has time to spare", async () => {
    const { take, advance, setBusy } = open();
    const taken = take(64 * KIB);
    await advance(100);
    const whileBusy = taken();
    setBusy(false);
    await advance(100);
    expect(taken() - whileBusy).toBeGreaterThan(90 * 1_024 * KIB);
  });

  it("leave no timer behind when nobody waits", async () => {
    const { clock, pace, advance } = open();
    const turn = pace.reader();
    for (let chunk = 0; chunk < 20; chunk++) void turn(64 * KIB);
    await advance(200);
    expect(clock.pending()).toBe(0);
  });
});
