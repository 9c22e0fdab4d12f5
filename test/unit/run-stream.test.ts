/** Event streams as answers: what many readers of one run share. */
import { pino } from "pino";
import { expect, it } from "vitest";
import { createRunAnswers } from "../../src/api/run-stream.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { RunManager } from "../../src/runs/manager.js";
import type { RunReading, StreamItem } from "../../src/runs/reading.js";
import { createFakeClock } from "../support/fake-clock.js";

it("an event is made bytes once, whatever the number of readers", async () => {
  const answers = createRunAnswers({
    manager: {} as RunManager, // asked only to cancel a run, and nobody leaves
    disconnectGraceMs: 0,
    clock: createFakeClock(),
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
  });
  const encodings = new Map<number, number>();
  const events = Array.from(
    { length: 200 },
    (_, index): StreamItem => ({
      id: { fence: 1, seq: index + 1 },
      event: "custom",
      namespace: [],
      get data() {
        encodings.set(index, (encodings.get(index) ?? 0) + 1);
        return `{"index":${index},"text":"ž"}`;
      },
    }),
  );
  const reading: RunReading = {
    runId: "run",
    fence: 1,
    now: async () => ({ from: "now" }),
    async *follow() {
      for (let start = 0; start < events.length; start += 10) {
        yield events.slice(start, start + 10);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    result: async () => undefined,
  };
  const answer = { reading, path: "/runs/run", cancelOnDisconnect: false, cursor: { from: "start" } } as const;

  const texts = await Promise.all(
    Array.from({ length: 50 }, () => answers.stream(answer, { breakConnection: () => false }).text()),
  );

  expect(new Set(texts).size).toBe(1);
  expect(texts[0]?.match(/^data: .*"ž"}$/gm)).toHaveLength(200);
  expect([...encodings.values()]).toEqual(Array.from({ length: 200 }, () => 1));
});
