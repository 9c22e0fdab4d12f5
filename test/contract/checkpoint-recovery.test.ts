import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import { CHECKPOINT_DRIVERS, type OpenedCheckpoints } from "../support/checkpoint-drivers.js";
import { deltaLog, THREAD } from "../support/checkpoint-graphs.js";
import { claimOf, runOf } from "../support/checkpoint-rows.js";

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

    const INPUT = { log: ["in"] };

    /** A run that stores at its end, and dies there once it has stored `puts` checkpoints. */
    async function dieAtEnd(runId: string, puts: number): Promise<void> {
      const { saver, settled } = runOf(checkpoints, runId);
      const put = saver.put.bind(saver);
      let stored = 0;
      saver.put = async (...args) => {
        if (stored++ === puts) throw new Error("the process died");
        return put(...args);
      };
      await expect(deltaLog(saver).invoke(INPUT, { ...THREAD, durability: "exit" })).rejects.toThrow(
        "the process died",
      );
      await settled(); // what was on its way
    }

    it("the root that LangGraph hangs a first run's deltas on is not the run's state", async () => {
      await dieAtEnd("r1", 1);
      expect((await dump()).checkpoints).toHaveLength(1);
      expect(await checkpoints.leftBy("thread", "r1")).toMatchObject({ checkpoint: false, work: true });
      await checkpoints.deleteRun(claimOf("r1"));
      expect(await dump()).toEqual({ checkpoints: [], values: [], writes: [] });
    });

    it("deltas on the state before are work, not a state", async () => {
      await deltaLog(runOf(checkpoints, "r1").saver).invoke(INPUT, { ...THREAD, durability: "exit" });
      const before = await dump();
      await dieAtEnd("r2", 0);
      expect((await checkpoints.leftBy("thread", "r1")).checkpoint).toBe(true);
      expect(await checkpoints.leftBy("thread", "r2")).toMatchObject({ checkpoint: false, work: true });
      await checkpoints.deleteRun(claimOf("r2"));
      expect(await dump()).toEqual(before);
    });
  });
}
