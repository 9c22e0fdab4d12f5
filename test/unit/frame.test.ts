/** Any event, cut into any pieces, is read by the SDK's own decoder as exactly one event (reliability.md S4, W3). */
import { BytesLineDecoder, SSEDecoder } from "@langchain/langgraph-sdk/utils";
import fc from "fast-check";
import { expect, it } from "vitest";
import { frame, SSE_HEARTBEAT } from "../../src/api/sse.js";
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
          const framed = frame({ ...rest, id: { fence: 1, seq }, data: toJson(data) });
          return framed + SSE_HEARTBEAT.repeat(beats);
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
