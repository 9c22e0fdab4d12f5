/** What a thread's state takes: every byte that is stored of it, once. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import { CHECKPOINT_DRIVERS, type OpenedCheckpoints } from "../support/checkpoint-drivers.js";
import { parallelQuestions, sequence, THREAD } from "../support/checkpoint-graphs.js";
import { runOf } from "../support/checkpoint-rows.js";

for (const driver of CHECKPOINT_DRIVERS) {
  describe.skipIf(driver.missing !== undefined)(`on ${driver.name}`, () => {
    let opened: OpenedCheckpoints;
    let checkpoints: Checkpoints;

    beforeEach(async () => {
      opened = await driver.open();
      checkpoints = opened.checkpoints;
    });

    afterEach(async () => {
      await opened.close();
    });

    const dump = () => opened.dump();

    const bytes = (value: unknown): number => Buffer.byteLength(value as string | Uint8Array);

    async function storedBytes(): Promise<number> {
      const { checkpoints: rows, values, writes } = await dump();
      const ofRows = rows.map((row) => bytes(row.checkpoint) + bytes(row.metadata) + bytes(row.channels));
      return [...ofRows, ...[...values, ...writes].map(({ value }) => bytes(value))].reduce((sum, n) => sum + n, 0);
    }

    describe("the sizes of a thread", () => {
      it.each([
        ["short values, which checkpoints carry", "in"],
        ["long values, which stand apart", "long ".repeat(1_000)],
      ])("count everything that is stored, once: %s", async (_, text) => {
        await sequence(runOf(checkpoints, "r1").saver).invoke({ log: [text] }, THREAD);
        await parallelQuestions(runOf(checkpoints, "r2").saver).invoke({ log: [text] }, THREAD);
        const rows = await dump();
        const { checkpoints: ofRows, values, valuesByChannel, writes } = await checkpoints.sizesOf("thread");

        expect(ofRows.bytes + values.bytes + writes.bytes).toBe(await storedBytes());
        expect([ofRows.count, writes.count]).toEqual([rows.checkpoints.length, rows.writes.length]);
        expect(writes.count).toBeGreaterThan(0);
        const byChannel = [...valuesByChannel.values()];
        expect(values.bytes).toBe(byChannel.reduce((sum, channel) => sum + channel.bytes, 0));
        expect(values.count).toBe(byChannel.reduce((sum, channel) => sum + channel.count, 0));
        expect(ofRows.bytes).toBeGreaterThan(0);
      });

      it("tell how many versions of a channel there are", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke({ log: ["in"] }, THREAD);
        // The empty list, the input, and what each of two nodes made of it.
        expect((await checkpoints.sizesOf("thread")).valuesByChannel.get("log")).toMatchObject({ count: 3 });
      });

      it("are those of one thread, and nothing for one without state", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke({ log: ["in"] }, THREAD);
        const before = await checkpoints.sizesOf("thread");
        await sequence(runOf(checkpoints, "r2", "other").saver).invoke(
          { log: ["x"] },
          { configurable: { thread_id: "other" } },
        );
        expect(await checkpoints.sizesOf("thread")).toEqual(before);
        const nothing = { count: 0, bytes: 0 };
        expect(await checkpoints.sizesOf("nobody")).toEqual({
          checkpoints: nothing,
          values: nothing,
          valuesByChannel: new Map(),
          writes: nothing,
        });
      });

      it("count every checkpoint of a long history", async () => {
        const run = runOf(checkpoints, "r1");
        for (let turn = 0; turn < 200; turn++) await sequence(run.saver).invoke({ log: ["x"] }, THREAD);
        expect((await dump()).checkpoints.length).toBeGreaterThan(500);
        const { checkpoints: ofRows, values, writes } = await checkpoints.sizesOf("thread");
        expect(ofRows.count).toBe((await dump()).checkpoints.length);
        expect(ofRows.bytes + values.bytes + writes.bytes).toBe(await storedBytes());
      });
    });
  });
}
