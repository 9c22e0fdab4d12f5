/** The last line of the tests says what happened, whatever it was. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { runProgram } from "../support/process.js";

const VITEST = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url));
const REPORTER = fileURLToPath(new URL("../support/closing-line.ts", import.meta.url));

/** How Vitest ends with one file of tests, and the last lines that it prints. */
async function endOf(tests: string, CI?: string): Promise<{ code: number | null; lines: readonly string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-closing-line-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "some.test.js"), tests);
  writeFileSync(
    join(folder, "vitest.config.ts"),
    `import { closingLine } from ${JSON.stringify(REPORTER)};
    export default { test: { globals: true, maxWorkers: 1, reporters: [closingLine(${JSON.stringify({ CI })})] } };`,
  );
  const { code, stdout } = await runProgram(process.execPath, [VITEST, "run"], { cwd: folder });
  return { code, lines: stdout };
}

it.each([
  ["all passed", `it("a", () => {}); it("b", () => {});`, 0, "2 passed, 0 failed"],
  ["one failed", `it("a", () => {}); it("b", () => { throw new Error("no"); });`, 1, "1 passed, 1 failed"],
  [
    "an error that nobody awaits",
    `it("a", async () => { void Promise.reject(new Error("no")); await new Promise(setImmediate); });`,
    1,
    "1 passed, 1 failed",
  ],
  ["a suite without tests", `describe("empty", () => {}); it("a", () => {});`, 1, "1 passed, 1 failed"],
  ["a file that does not load", `throw new Error("no");`, 1, "0 passed, 1 failed"],
  ["one skipped", `it("a", ({ skip }) => skip("no server")); it("b", () => {});`, 0, "1 passed, 0 failed, 1 skipped"],
])("%s", async (_, tests, code, last) => {
  const end = await endOf(tests);
  expect([end.code, end.lines.at(-1)]).toEqual([code, last]);
});

it("names what was skipped and why, and fails where nothing may be", async () => {
  const { code, lines } = await endOf(`it("a", ({ skip }) => skip("no server")); it("b", () => {});`, "true");
  expect(code).toBe(1);
  expect(lines.slice(-3)).toEqual([
    "skipped: a: no server",
    "nothing may be skipped here (CI=true)",
    "1 passed, 0 failed, 1 skipped",
  ]);
});

it("names what is no promise of a project, which is neither skipped nor run", async () => {
  const { code, lines } = await endOf(
    `it("a", ({ task, skip }) => { task.meta.leftOut = "no clock"; skip("no clock"); }); it("b", () => {});`,
    "true",
  );
  expect([code, lines.slice(-2)]).toEqual([0, ["left out: a: no clock", "1 passed, 0 failed"]]);
});
