/**
 * Whether the built-ins of this thread still do what everything on it needs of them.
 *
 * User code may replace them by accident or on purpose, and whatever runs on the thread afterwards fails for no fault of
 * its own. A wrapper that does what the original does, as instrumentation installs, is no reason to complain: they are
 * tried, not compared.
 */
const noop = (): void => {};

/** Whether it works; may also throw. */
type Check = () => boolean;

/** By what a person would look for. Made when the graphs are loaded: what they replace while they load stays theirs. */
export function createSelfCheck(): () => string | null {
  const { nextTick } = process;
  const checks: readonly (readonly [name: string, check: Check])[] = [
    ["JSON.stringify", () => JSON.stringify({ a: [1, "x", null] }) === '{"a":[1,"x",null]}'],
    ["JSON.parse", () => JSON.parse('{"a":[1]}').a[0] === 1],
    ["Object.prototype", () => Object.isExtensible(Object.prototype) && isClean()],
    ["Object", () => Object.keys({ a: 1 })[0] === "a" && Object.entries({ a: 1 })[0]?.[1] === 1],
    ["Array.prototype", () => worksAsArray()],
    ["Map", () => new Map([["a", 1]]).get("a") === 1 && new Set([1]).has(1)],
    ["Promise", () => Promise.resolve(1).then(noop) instanceof Promise],
    ["Error", () => typeof new Error("x").stack === "string"],
    ["Date.now", () => Number.isFinite(Date.now()) && Number.isFinite(performance.now())],
    ["setTimeout", () => worksAsTimer(setTimeout(noop, 0), clearTimeout)],
    ["setImmediate", () => worksAsTimer(setImmediate(noop), clearImmediate)],
    ["process.nextTick", () => process.nextTick === nextTick],
    ["AbortController", () => !new AbortController().signal.aborted],
    ["Buffer", () => Buffer.from("a").length === 1 && new TextEncoder().encode("a").length === 1],
    ["URL", () => new URL("http://a/b").pathname === "/b"],
  ];

  return () => {
    for (let index = 0; index < checks.length; index++) {
      const entry = checks[index] as readonly [string, Check]; // within bounds; taking it apart takes an iterator
      try {
        if (!entry[1]()) return entry[0];
      } catch {
        return entry[0];
      }
    }
    return null;
  };
}

/** Members that everything would inherit and show. */
function isClean(): boolean {
  for (const _ in {}) return false;
  return !("toJSON" in {});
}

function worksAsArray(): boolean {
  const numbers: number[] = [];
  numbers.push(1, 2);
  const doubled = [...numbers].map((number) => number * 2).filter((number) => number > 2);
  return numbers.length === 2 && doubled.length === 1 && doubled[0] === 4 && numbers.slice(1).includes(2);
}

function worksAsTimer<Timer>(timer: Timer, clear: (timer: Timer) => void): boolean {
  clear(timer);
  return typeof timer === "object" && timer !== null;
}
