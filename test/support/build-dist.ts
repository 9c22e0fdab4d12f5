/** Compiles the program before the first end-to-end test, which run what users run. */
import { spawnSync } from "node:child_process";

export function setup(): void {
  const program = 'import("./scripts/build.mjs").then(({ buildIfStale }) => buildIfStale())';
  const { status } = spawnSync(process.execPath, ["-e", program], { stdio: "inherit" });
  if (status !== 0) throw new Error("the build failed");
}
