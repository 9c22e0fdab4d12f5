/** `extract` of thread search: aliases for places inside a thread, such as `values.messages[-1].content`. */
import { invalid } from "../core/errors.js";

const ROOTS = ["values", "metadata", "config", "interrupts"] as const;
const MAX_ALIASES = 10;

type Step = string | number;

export interface Extractor {
  readonly needsValues: boolean;
  /** By alias; null where the path leads nowhere. */
  apply(thread: { readonly [key: string]: unknown }): Record<string, unknown>;
}

/** Throws `validation` for a path that cannot be read. */
export function extractor(paths: { readonly [alias: string]: string }): Extractor {
  const entries = Object.entries(paths).map(([alias, path]) => [alias, parsePath(alias, path)] as const);
  if (entries.length > MAX_ALIASES) throw invalid(`extract: at most ${MAX_ALIASES} paths`);
  return {
    needsValues: entries.some(([, steps]) => steps[0] === "values"),
    apply: (thread) => Object.fromEntries(entries.map(([alias, steps]) => [alias, follow(thread, steps)])),
  };
}

/** Names separated by dots, each with any number of `[index]`; a negative index counts from the end. */
function parsePath(alias: string, path: string): Step[] {
  const refuse = (why: string) => invalid(`extract.${alias}: ${JSON.stringify(path)} ${why}`);
  const steps = path.split(".").flatMap((part): Step[] => {
    const match = /^([^[\]]+)((?:\[-?\d{1,9}\])*)$/.exec(part);
    if (match === null) throw refuse("is not a path like values.messages[-1].content");
    const [, name = "", indexes = ""] = match;
    return [name, ...[...indexes.matchAll(/\[(-?\d+)\]/g)].map(([, index]) => Number(index))];
  });
  if (!ROOTS.some((root) => root === steps[0])) throw refuse(`must start at ${ROOTS.join(", ")}`);
  return steps;
}

function follow(start: unknown, steps: readonly Step[]): unknown {
  let value = start;
  for (const step of steps) {
    if (typeof step === "number") value = Array.isArray(value) ? value.at(step) : undefined;
    else value = isRecord(value) && Object.hasOwn(value, step) ? value[step] : undefined;
    if (value === undefined) return null;
  }
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
