import { afterEach, beforeEach, expect, it } from "vitest";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import type { Checkpoints } from "../../src/storage/storage.js";
import { deltaLog, THREAD } from "../support/checkpoint-graphs.js";
import { dump, runOf } from "../support/checkpoint-rows.js";

let checkpoints: Checkpoints;

beforeEach(() => {
  checkpoints = openCheckpoints(":memory:");
});

afterEach(() => {
  checkpoints.close();
});

const INPUT = { log: ["in"] };

/** A run that stores at its end, and dies there once it has stored `puts` checkpoints. */
async function dieAtEnd(runId: string, puts: number): Promise<void> {
  const { saver } = runOf(checkpoints, runId);
  const put = saver.put.bind(saver);
  let stored = 0;
  saver.put = async (...args) => {
    if (stored++ === puts) throw new Error("the process died");
    return put(...args);
  };
  await expect(deltaLog(saver).invoke(INPUT, { ...THREAD, durability: "exit" })).rejects.toThrow("the process died");
}

it("the root that LangGraph hangs a first run's deltas on is not the run's state", async () => {
  await dieAtEnd("r1", 1);
  expect(dump(checkpoints).checkpoints).toHaveLength(1);
  expect(checkpoints.leftBy("thread", "r1")).toMatchObject({ checkpoint: false, work: true });
  checkpoints.deleteRun("thread", "r1");
  expect(dump(checkpoints)).toEqual({ checkpoints: [], values: [], writes: [] });
});

it("deltas on the state before are work, not a state", async () => {
  await deltaLog(runOf(checkpoints, "r1").saver).invoke(INPUT, { ...THREAD, durability: "exit" });
  const before = dump(checkpoints);
  await dieAtEnd("r2", 0);
  expect(checkpoints.leftBy("thread", "r1").checkpoint).toBe(true);
  expect(checkpoints.leftBy("thread", "r2")).toMatchObject({ checkpoint: false, work: true });
  checkpoints.deleteRun("thread", "r2");
  expect(dump(checkpoints)).toEqual(before);
});
