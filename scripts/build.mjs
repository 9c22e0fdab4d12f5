// Compiles src/ to dist/ unless dist/ is newer than all that it is made of.
import { spawnSync } from "node:child_process";
import { readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const stamp = join(root, "dist/.built");

/** Throws when the compiler finds errors; it has printed them then. */
export function buildIfStale() {
  const files = readdirSync(join(root, "src"), { recursive: true }).map((file) => join("src", file));
  const inputs = ["tsconfig.json", "tsconfig.build.json", "package-lock.json", "src", ...files];
  const startedAt = new Date();
  const builtAt = modifiedAt(stamp);
  if (inputs.every((file) => modifiedAt(join(root, file)) < builtAt)) return;
  process.stderr.write("heddle: building\n");
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const options = { cwd: root, stdio: ["ignore", process.stderr.fd, process.stderr.fd] };
  if (spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], options).status !== 0) {
    throw new Error("the build failed");
  }
  // A source that was saved while the compiler ran must count as newer.
  writeFileSync(stamp, "");
  utimesSync(stamp, startedAt, startedAt);
}

function modifiedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
