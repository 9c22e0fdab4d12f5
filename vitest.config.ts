import { defineConfig } from "vitest/config";
import { closingLine } from "./test/support/closing-line.js";

/** What crosses between a run and its thread; CI runs every file of the suite in threads, too. */
const WHERE_THREADS_MATTER = [
  "assistant-graphs",
  "cancel",
  "hostile",
  "partial",
  "pending-graphs",
  "protocol",
  "restart",
  "resume",
  "run-options",
  "state",
  "state-graphs",
  "state-update",
  "store",
  "streams",
  "thread-mirror",
].map((name) => `test/conformance/${name}.test.ts`);

export default defineConfig({
  test: {
    // Limits for what hangs, not for what is slow: machines differ, and some do other work beside.
    testTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    hookTimeout: 120_000,
    maxWorkers: 2,
    maxConcurrency: 4, // of the browser suites, which mostly wait
    reporters: ["default", closingLine(process.env)],
    projects: [
      { extends: true, test: { name: "quick", include: ["test/**/*.test.ts"], exclude: ["test/e2e/**"] } },
      {
        // The same promises with graphs in worker threads.
        extends: true,
        test: {
          name: "threads",
          include: process.env.CI === undefined ? WHERE_THREADS_MATTER : ["test/conformance/**/*.test.ts"],
          exclude: ["test/conformance/authorization.test.ts"], // who may ask has nothing to do with where graphs run
          env: { HEDDLE_TEST_ISOLATION: "thread" },
          globalSetup: "test/support/build-dist.ts",
        },
      },
      {
        extends: true,
        test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], globalSetup: "test/support/build-dist.ts" },
      },
    ],
  },
});
