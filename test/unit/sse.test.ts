/** Long answers: when their bytes leave, and how they end. */
import { describe, expect, it } from "vitest";
import type { AnswerEnd } from "../../src/api/run-audience.js";
import { JSON_HEARTBEAT, longResponse, SSE_HEADERS, SSE_HEARTBEAT } from "../../src/api/sse.js";
import { createFakeClock } from "../support/fake-clock.js";

/** A source that says what the test tells it to. */
function createSource() {
  const waiting: { resolve(step: IteratorResult<Uint8Array>): void; reject(error: Error): void }[] = [];
  let asked = 0;
  return {
    get asked() {
      return asked;
    },
    chunks: {
      next() {
        asked++;
        return new Promise<IteratorResult<Uint8Array>>((resolve, reject) => waiting.push({ resolve, reject }));
      },
    },
    say: (value: string) => waiting.shift()?.resolve({ done: false, value: Buffer.from(value) }),
    end: () => waiting.shift()?.resolve({ done: true, value: undefined }),
    fail: () => waiting.shift()?.reject(new Error("source")),
  };
}

function open(options: { readonly canBreak?: boolean; readonly heartbeat?: string } = {}) {
  const clock = createFakeClock();
  const source = createSource();
  const closed: AnswerEnd[] = [];
  let broken = 0;
  const response = longResponse({
    chunks: source.chunks,
    headers: { ...SSE_HEADERS },
    heartbeat: options.heartbeat ?? SSE_HEARTBEAT,
    clock,
    breakConnection() {
      broken++;
      return options.canBreak ?? true;
    },
    onClose: (end) => closed.push(end),
  });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const read = async (): Promise<string | undefined> => {
    const { value } = await reader.read();
    return value === undefined ? undefined : new TextDecoder().decode(value);
  };
  return { clock, source, response, reader, read, closed, broken: () => broken };
}

/** Lets promises that are settled call back. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("longResponse", () => {
  it("asks its source before anybody reads, and again only when the last chunk was taken", async () => {
    const { source, read } = open();
    expect(source.asked).toBe(1);
    source.say("a");
    await settle();
    expect(source.asked).toBe(1);
    expect(await read()).toBe("a");
    const next = read();
    await settle();
    expect(source.asked).toBe(2);
    source.say("b");
    expect(await next).toBe("b");
  });

  it("ends when its source does, and once", async () => {
    const { source, read, closed, clock, broken } = open();
    const first = read();
    source.say("a");
    await first;
    const last = read();
    await settle();
    source.end();
    expect(await last).toBeUndefined();
    expect(closed).toEqual(["ended"]);
    expect(broken()).toBe(0);
    expect(clock.pending()).toBe(0);
  });

  it.each([SSE_HEARTBEAT, JSON_HEARTBEAT])("beats every 5 s after the last byte: %j", async (heartbeat) => {
    const { source, read, clock } = open({ heartbeat });
    const first = read();
    await settle();
    clock.advance(4_999);
    source.say("a");
    expect(await first).toBe("a");
    for (let beat = 0; beat < 3; beat++) {
      const next = read();
      await settle();
      clock.advance(4_999);
      await settle();
      expect(source.asked).toBe(2);
      clock.advance(1);
      expect(await next).toBe(heartbeat);
    }
    const last = read();
    await settle();
    source.say("b");
    expect(await last).toBe("b");
  });

  it("cuts the connection of a source that breaks, never ending it", async () => {
    const { source, reader, closed, broken } = open();
    const next = reader.read();
    source.fail();
    await settle();
    expect(broken()).toBe(1);
    expect(closed).toEqual(["cut"]);
    expect(await Promise.race([next, settle().then(() => "open")])).toBe("open");
  });

  it("fails the body where there is no connection to cut", async () => {
    const { source, read } = open({ canBreak: false });
    const next = read();
    source.fail();
    await expect(next).rejects.toThrow("cut");
  });

  it("tells when the client leaves, and stops asking", async () => {
    const { source, reader, closed, clock } = open();
    const next = reader.read();
    await reader.cancel();
    expect(closed).toEqual(["left"]);
    source.end();
    await next;
    await settle();
    clock.advance(60_000);
    expect(closed).toEqual(["left"]);
    expect(source.asked).toBe(1);
  });

  it("cuts off a client that takes nothing for 30 s, which is not a client that leaves", async () => {
    const { source, read, clock, closed, broken } = open();
    const first = read();
    source.say("a");
    await first;
    clock.advance(29_999);
    expect(broken()).toBe(0);
    clock.advance(1);
    expect(broken()).toBe(1);
    expect(closed).toEqual(["cut"]);
  });

  it("never cuts off a client that waits", async () => {
    const { read, clock, broken } = open();
    for (let beat = 0; beat < 20; beat++) {
      const next = read();
      await settle();
      clock.advance(5_000);
      await next;
    }
    expect(broken()).toBe(0);
  });
});

it("heartbeats are one line without a blank one (W3)", () => {
  expect(SSE_HEARTBEAT).toBe(": heartbeat\n");
});
