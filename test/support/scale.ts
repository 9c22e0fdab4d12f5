/**
 * One test, two sizes: `npm test` runs a cut of it, its own command (`npm run chaos` and its siblings) the whole.
 */
import { cpus, totalmem } from "node:os";

export type Scale = "quick" | "full";

/** `full` in the commands of docs/reliability.md, `quick` otherwise. */
export const SCALE: Scale = process.env.HEDDLE_SCALE === "full" ? "full" : "quick";

/** The value for the scale that runs. */
export function scaled<T>(values: Readonly<Record<Scale, T>>): T {
  return values[SCALE];
}

/** Prints what a test of docs/reliability.md measured, as one line that its figures are copied from. */
export function report(test: string, figures: Readonly<Record<string, number | string>>): void {
  const machine = `${cpus().length} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Node ${process.versions.node}`;
  const shown = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
  process.stdout.write(`\n${test} (${SCALE}; ${machine}): ${shown.join(", ")}\n`);
}
