/** Waiting for work that may not notice its abort. */
import { describe, expect, it } from "vitest";
import { passWithPatience, withPatience } from "../../src/core/async.js";
import { createFakeClock } from "../support/fake-clock.js";

function patience() {
  const clock = createFakeClock();
  const abort = new AbortController();
  return { clock, abort, patience: { signal: abort.signal, noticeMs: 1_000, clock } };
}

const STUCK = new Promise<never>(() => {});
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("withPatience", () => {
  it("settles as the work does, and keeps no timer", async () => {
    const { clock, patience: options } = patience();
    expect(await withPatience(Promise.resolve(7), options)).toBe(7);
    await expect(withPatience(Promise.reject(new Error("no")), options)).rejects.toThrow("no");
    expect(clock.pending()).toBe(0);
  });

  it("leaves work behind that does not notice the abort in time", async () => {
    const { clock, abort, patience: options } = patience();
    const waiting = withPatience(STUCK, options);
    abort.abort("stop");
    clock.advance(1_000);
    await expect(waiting).rejects.toBe("stop");
  });

  it("gives work its time although the abort came first", async () => {
    const { clock, abort, patience: options } = patience();
    abort.abort("stop");
    expect(await withPatience(Promise.resolve(7), options)).toBe(7);
    const stuck = withPatience(STUCK, options);
    clock.advance(1_000);
    await expect(stuck).rejects.toBe("stop");
    expect(clock.pending()).toBe(0);
  });
});

describe("passWithPatience", () => {
  async function* numbers(count: number): AsyncGenerator<number> {
    for (let number = 1; number <= count; number++) yield number;
  }

  async function collect(source: AsyncIterable<number>): Promise<number[]> {
    const all: number[] = [];
    for await (const number of source) all.push(number);
    return all;
  }

  it("passes everything on", async () => {
    const { clock, patience: options } = patience();
    expect(await collect(passWithPatience(numbers(3), options))).toEqual([1, 2, 3]);
    expect(clock.pending()).toBe(0);
  });

  it("passes on what comes within the time after the abort", async () => {
    const { abort, clock, patience: options } = patience();
    abort.abort("stop");
    expect(await collect(passWithPatience(numbers(3), options))).toEqual([1, 2, 3]);
    expect(clock.pending()).toBe(0);
  });

  it("leaves a source behind that is stuck", async () => {
    const { abort, clock, patience: options } = patience();
    async function* stuck(): AsyncGenerator<number> {
      yield 1;
      await STUCK;
    }
    const reading = collect(passWithPatience(stuck(), options));
    await settle();
    abort.abort("stop");
    clock.advance(999);
    await settle();
    clock.advance(1);
    await expect(reading).rejects.toBe("stop");
    expect(clock.pending()).toBe(0);
  });

  it("ends its source when the reader stops early", async () => {
    const { clock, patience: options } = patience();
    let ended = false;
    async function* source(): AsyncGenerator<number> {
      try {
        yield 1;
        yield 2;
      } finally {
        ended = true;
      }
    }
    for await (const _ of passWithPatience(source(), options)) break;
    expect(ended).toBe(true);
    expect(clock.pending()).toBe(0);
  });
});
