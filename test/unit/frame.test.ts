/** Events as bytes: any event, cut into any pieces, is read by the SDK's own decoder as exactly one event (S4, W3). */
import { BytesLineDecoder, SSEDecoder } from "@langchain/langgraph-sdk/utils";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFrames, encodeFrame } from "../../src/api/frames.js";
import { SSE_HEARTBEAT } from "../../src/api/sse.js";
import { toJson } from "../../src/core/json.js";
import { hostile } from "../support/hostile-text.js";

interface Part {
  readonly id?: string;
  readonly event: string;
  readonly data: unknown;
}

async function decode(bytes: Uint8Array, cuts: readonly number[]): Promise<Part[]> {
  const pieces = new ReadableStream<Uint8Array>({
    start(controller) {
      let from = 0;
      for (const cut of [...cuts].sort((a, b) => a - b)) {
        const to = Math.max(from, cut % (bytes.length + 1));
        if (to > from) controller.enqueue(bytes.slice(from, to));
        from = to;
      }
      if (from < bytes.length) controller.enqueue(bytes.slice(from));
      controller.close();
    },
  });
  const parts: Part[] = [];
  const reader = pieces.pipeThrough(BytesLineDecoder()).pipeThrough(SSEDecoder()).getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) parts.push(step.value as Part);
  return parts;
}

const item = fc.record({
  seq: fc.nat(1e6),
  event: fc.constantFrom("values", "messages/partial", "custom"),
  namespace: fc.array(hostile, { maxLength: 3 }),
  data: fc.oneof(fc.jsonValue(), hostile),
  beats: fc.nat(2),
});

it("one frame is one event, whatever it holds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(item, { minLength: 1, maxLength: 5 }), fc.array(fc.nat(5_000)), async (items, cuts) => {
      const text = items
        .map(({ seq, beats, data, ...rest }) => {
          const framed = encodeFrame({ ...rest, id: { fence: 1, seq }, data: toJson(data) });
          return Buffer.from(framed).toString() + SSE_HEARTBEAT.repeat(beats);
        })
        .join("");
      const parts = await decode(new TextEncoder().encode(text), cuts);
      expect(parts.map(({ id, data }) => [id, toJson(data)])).toEqual(
        items.map(({ seq, data }) => [`1-${seq}`, toJson(data)]),
      );
      for (const [index, { event }] of parts.entries()) expect(event.split("|")[0]).toBe(items[index]?.event);
    }),
    { numRuns: 300 },
  );
});

describe("a frame", () => {
  const item = { id: { fence: 2, seq: 7 }, event: "values", namespace: [], data: '{"a":1}' };

  it.each([
    ["the root", item, 'id: 2-7\nevent: values\ndata: {"a":1}\n\n'],
    ["a subgraph", { ...item, namespace: ["a:1", "b:2"] }, 'id: 2-7\nevent: values|a:1|b:2\ndata: {"a":1}\n\n'],
    ["no id, rather than an empty one", { ...item, id: null }, 'event: values\ndata: {"a":1}\n\n'],
    ["what is not ASCII", { ...item, data: '"žluťoučký 🐎"' }, 'id: 2-7\nevent: values\ndata: "žluťoučký 🐎"\n\n'],
    [
      "line breaks in names",
      { ...item, namespace: ["a\r\nid: 9\n"] },
      'id: 2-7\nevent: values|a id: 9 \ndata: {"a":1}\n\n',
    ],
  ])("of %s", (_title, given, expected) => {
    expect(Buffer.from(encodeFrame(given)).toString()).toBe(expected);
  });
});

describe("frames", () => {
  function open(maxBytes: number) {
    let encoded = 0;
    const frames = createFrames({
      maxBytes,
      encode(item) {
        encoded++;
        return encodeFrame(item);
      },
    });
    return { frames, encoded: () => encoded };
  }

  const log = (count: number, chars: number) =>
    Array.from({ length: count }, (_, seq) => ({
      id: { fence: 1, seq },
      event: "custom",
      namespace: [],
      data: `"${"x".repeat(chars)}"`,
    }));

  it("are encoded once, whatever the number of readers", () => {
    const { frames, encoded } = open(1_000_000);
    const events = log(100, 1_000);
    const first = events.map(frames.of);
    for (let reader = 1; reader < 50; reader++) {
      for (const [index, event] of events.entries()) expect(frames.of(event)).toBe(first[index]);
    }
    expect(encoded()).toBe(100);
  });

  it("are encoded once for readers that follow each other within what is held", () => {
    const { frames, encoded } = open(1_000_000);
    const events = log(10_000, 1_000);
    const distance = 300; // of 1 kB each, where at least half of a megabyte is held
    for (let head = 0; head < events.length + distance; head++) {
      for (const event of [events[head], events[head - distance]]) if (event !== undefined) frames.of(event);
    }
    expect(encoded()).toBe(events.length);
  });

  it("are let go when others were encoded since, and encoded again to the same bytes", () => {
    const { frames, encoded } = open(100_000);
    const events = log(300, 1_000);
    const [oldest] = events;
    const first = events.map(frames.of)[0];
    expect(oldest && frames.of(oldest)).toEqual(first);
    expect(encoded()).toBe(301);
  });
});
