/** What follows a stream remembers of it what it needs at the end, however long the stream is. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { AIMessageChunk } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import { createChunkConverter, type GraphChunk } from "../../src/graphs/chunks.js";
import { createObserver } from "../../src/graphs/inline-outcome.js";
import { createPartialTracker } from "../../src/graphs/partial.js";

const MB = 1024 ** 2;
const EVENTS = 1_000_000;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void; // what the flag provides

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** What the heap grows by while the chunks pass through everything that an execution shows them to. */
function growthOver(count: number, chunkAt: (index: number) => GraphChunk): number {
  const seen = createObserver();
  const partial = createPartialTracker();
  const converter = createChunkConverter({ streamModes: ["values", "custom", "messages-tuple"], subgraphs: false });
  const before = heapBytes();
  for (let index = 0; index < count; index++) {
    const chunk = chunkAt(index);
    partial.observe(chunk);
    seen.chunk(chunk);
    for (const event of converter.convert(chunk)) seen.event(chunk, event);
  }
  const growth = heapBytes() - before;
  expect([seen, partial, converter]).toHaveLength(3); // they live until here
  return growth;
}

describe("the heap does not grow with", () => {
  it("a million custom events", () => {
    const custom = (index: number) => ({ namespace: [], mode: "custom", payload: { index } });
    expect(growthOver(EVENTS, custom)).toBeLessThan(8 * MB);
  });

  it("states of a megabyte each", () => {
    const values = (index: number) => {
      return { namespace: [], mode: "values", payload: { text: String(index).padEnd(MB, "x") } };
    };
    expect(growthOver(200, values)).toBeLessThan(8 * MB);
  });

  it("whole messages that tasks stream and do not keep", () => {
    const metadata = { langgraph_checkpoint_ns: "llm:1", langgraph_node: "llm" };
    const token = (index: number): GraphChunk => {
      const message = new AIMessageChunk({ content: "x".repeat(1_000), id: `m${index}` });
      return { namespace: [], mode: "messages", payload: [message, metadata] };
    };
    expect(growthOver(20_000, token)).toBeLessThan(8 * MB);
  });
});
