/** Folding what was written of a run: in steps that keep nobody waiting, whatever the events are like. */
import { expect, it } from "vitest";
import { foldRun } from "../../src/runs/ledger-folding.js";
import { eventsOf, segmentsOf } from "../../src/runs/ledger-segments.js";
import type { KeptSegment, RunLedger } from "../../src/storage/ports/ledger.js";
import { event } from "../support/events.js";

/** The ledger of one run; notes how many events each replacement holds. */
function ledgerOf(segments: readonly KeptSegment[]) {
  let kept = [...segments];
  const replaced: number[] = [];
  const ledger = {
    find: async (_runId: string, { seq }: { readonly seq: number }) => kept.find(({ lastSeq }) => lastSeq >= seq),
    async replace(_runId: string, numbers: readonly number[], merged: readonly KeptSegment[]) {
      replaced.push(merged.reduce((sum, segment) => sum + eventsOf(segment).length, 0));
      const [first = 0] = numbers;
      const put = merged.map((segment, index) => ({ ...segment, number: first + index }));
      kept = [...kept.filter(({ number }) => !numbers.includes(number)), ...put].sort((a, b) => a.number - b.number);
      return true;
    },
    trim: async () => {},
  } as unknown as RunLedger; // what folding asks of one
  return { ledger, replaced, kept: () => kept };
}

it("a hundred thousand short events are replaced in pieces, and none is lost", async () => {
  const each = 1_000;
  const segments = Array.from({ length: 100 }, (_, index): KeptSegment => {
    const events = Array.from({ length: each }, (_, at) => {
      const seq = index * each + at + 1;
      return { ...event(1, seq, String(seq)), event: "custom" };
    });
    const [segment] = segmentsOf(events);
    if (segment === undefined) throw new Error("no events");
    return { ...segment, number: index + 1 };
  });
  const { ledger, replaced, kept } = ledgerOf(segments);
  await foldRun({ ledger, runId: "r", maxBytes: 1e9, isStopped: () => false });

  expect(replaced.length).toBeGreaterThan(3);
  expect(Math.max(...replaced)).toBeLessThan(25_000);
  const seqs = kept().flatMap((segment) => eventsOf(segment).map(({ id }) => id.seq));
  expect(seqs).toEqual(Array.from({ length: 100 * each }, (_, index) => index + 1));
});
