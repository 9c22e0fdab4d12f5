import { defineConfig } from "vitest/config";
import { closingLine } from "./test/support/closing-line.js";

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    reporters: ["default", closingLine(process.env)],
    projects: [
      { extends: true, test: { name: "quick", include: ["test/**/*.test.ts"], exclude: ["test/e2e/**"] } },
      {
        extends: true,
        test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], globalSetup: "test/support/build-dist.ts" },
      },
    ],
  },
});
