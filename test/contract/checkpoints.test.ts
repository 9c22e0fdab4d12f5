import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import type { Checkpoints } from "../../src/storage/storage.js";

// The validation package expects its test runner's functions as globals.
Object.assign(globalThis, { describe, it, expect, beforeAll, beforeEach, afterAll, afterEach });

for (const kind of ["outside of runs", "of a run"] as const) {
  let checkpoints: Checkpoints;
  const initializer = {
    checkpointerName: `heddle, a saver ${kind}`,
    createCheckpointer() {
      checkpoints = openCheckpoints(":memory:");
      if (kind === "outside of runs") return checkpoints.saver(hostKit);
      return checkpoints.forRun({ threadId: "thread-1", runId: "run-1" }, hostKit).saver;
    },
    destroyCheckpointer: () => checkpoints.close(),
  };
  validate(initializer);
  deltaChannelHistoryTests(initializer);
}
