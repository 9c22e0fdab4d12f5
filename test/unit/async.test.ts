/** Waiting for work that may not notice its abort. */
import { describe, expect, it } from "vitest";
import { createBreather, passWithPatience, readAhead, withLimit, withPatience } from "../../src/core/async.js";
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

describe("withLimit", () => {
  it("settles as the work does, or rejects when that takes too long", async () => {
    const { clock } = patience();
    const limit = { limitMs: 1_000, error: new RangeError("too long"), clock };
    expect(await withLimit(Promise.resolve(7), limit)).toBe(7);
    await expect(withLimit(Promise.reject(new Error("no")), limit)).rejects.toThrow("no");
    const stuck = withLimit(STUCK, limit);
    expect(clock.pending()).toBe(1);
    clock.advance(1_000);
    await expect(stuck).rejects.toBe(limit.error);
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

describe("createBreather", () => {
  it("lets the event loop turn under a loop that never waits, and costs no turn before its time", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const breathe = createBreather(5);
    const breaths: unknown[] = [];
    for (const until = performance.now() + 100; performance.now() < until; await null) {
      const breath = breathe();
      if (breath !== undefined) breaths.push(await breath);
    }
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
    expect(breaths.length).toBeLessThanOrEqual(20);
    expect(createBreather(1_000)()).toBeUndefined();
  });
});

describe("readAhead", () => {
  /** Fails while it holds what nobody took, as a graph does that says something and throws. */
  function failingStream(): ReadableStream<number> {
    return new ReadableStream({
      start(controller) {
        for (let value = 0; value < 5; value++) controller.enqueue(value);
        setImmediate(() => controller.error(new Error("too late")));
      },
    });
  }

  it("loses nothing of a source that fails before a slow reader took it all", async () => {
    const seen: number[] = [];
    const reading = (async () => {
      for await (const value of readAhead(failingStream())) {
        seen.push(value);
        await settle();
        await settle();
      }
    })();
    await expect(reading).rejects.toThrow("too late");
    expect(seen).toEqual([0, 1, 2, 3, 4]);
  });

  it("loses nothing of a burst whose source fails in the next turn of the event loop", async () => {
    const source = new ReadableStream<number>({
      start(controller) {
        for (let value = 0; value < 5_000; value++) controller.enqueue(value);
        setImmediate(() => controller.error(new Error("too late")));
      },
    });
    let seen = 0;
    const reading = (async () => {
      for await (const _value of readAhead(source)) seen++;
    })();
    await expect(reading).rejects.toThrow("too late");
    expect(seen).toBe(5_000);
  });

  it("tells of a failure when who reads behind the reader has had a turn to take all of it", async () => {
    const stream = new ReadableStream<number>({
      async start(controller) {
        try {
          for await (const value of readAhead(failingStream())) controller.enqueue(value);
        } catch (error) {
          controller.error(error);
        }
      },
    });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const value of stream) seen.push(value);
    })();
    await expect(reading).rejects.toThrow("too late");
    expect(seen).toEqual([0, 1, 2, 3, 4]);
  });

  it("tells when its reader has taken what was ready, however much that was", async () => {
    let stop = (): void => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const source = new ReadableStream<number>({
      start(controller) {
        for (let value = 0; value < 10_000; value++) controller.enqueue(value);
        stopped.then(() => controller.error(new Error("stopped")));
      },
    });
    const ahead = readAhead(source);
    let last = -1;
    const reading = (async () => {
      for await (const value of ahead) last = value;
    })();
    ahead.caughtUp().then(stop);
    await expect(reading).rejects.toThrow("stopped");
    expect(last).toBe(9_999);
  });

  it("keeps nobody waiting for a reader that has left", async () => {
    const ahead = readAhead(
      (async function* () {
        yield* [1, 2, 3];
        await STUCK;
      })(),
    );
    const caughtUp = ahead.caughtUp();
    const iterator = ahead[Symbol.asyncIterator]();
    await iterator.next();
    void iterator.return?.();
    await caughtUp;
  });

  it("ends its source when the reader leaves", async () => {
    let isEnded = false;
    async function* source() {
      try {
        for (let value = 0; ; value++) {
          await settle();
          yield value;
        }
      } finally {
        isEnded = true;
      }
    }
    for await (const value of readAhead(source())) if (value === 2) break;
    expect(isEnded).toBe(true);
  });

  it("lets others have their turn while its source never pauses", async () => {
    let turns = 0;
    async function* source() {
      for (let value = 0; value < 5_000; value++) yield value;
    }
    const count = (): void => {
      turns++;
      if (turns < 1_000) setImmediate(count);
    };
    setImmediate(count);
    let last = -1;
    for await (const value of readAhead(source())) last = value;
    expect(last).toBe(4_999);
    expect(turns).toBeGreaterThan(2);
  });
});
