/** Which TypeScript reads a project's types: the project's own where it has a compiler with an interface, else heddle's. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

export interface FoundTypescript {
  /** Its main module. */
  readonly path: string;
  readonly version: string;
}

/** The first major version without the compiler's interface in JavaScript. */
const NATIVE_MAJOR = 7;
const OLDEST_MAJOR = 5;

/** Undefined where there is none: heddle's is an optional dependency. */
export function findTypescript(file: string): FoundTypescript | undefined {
  return usable(file) ?? usable(import.meta.filename);
}

function usable(from: string): FoundTypescript | undefined {
  const require = createRequire(from);
  try {
    const manifest = readFileSync(require.resolve("typescript/package.json"), "utf8");
    const { version } = JSON.parse(manifest) as { version: string };
    const major = Number.parseInt(version, 10);
    if (major < OLDEST_MAJOR || major >= NATIVE_MAJOR) return undefined;
    return { path: require.resolve("typescript"), version };
  } catch {
    return undefined; // not installed, or not whole
  }
}
