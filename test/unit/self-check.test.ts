/** A thread notices that a built-in is broken, and accepts one that was wrapped. */
import { expect, it } from "vitest";
import { createSelfCheck } from "../../src/graphs/self-check.js";

const broken = (): never => {
  throw new Error("replaced");
};

it("finds nothing where nothing is broken, nor where what works was wrapped", () => {
  const check = createSelfCheck();
  const { stringify } = JSON;
  const wrapped = (...args: Parameters<typeof stringify>) => Reflect.apply(stringify, JSON, args);
  expect(check()).toBeNull();
  expect(during(JSON, "stringify", wrapped, check)).toBeNull();
  expect(during(globalThis, "fetch", broken, check)).toBeNull();
});

it.each<[string, (check: () => string | null) => string | null]>([
  ["JSON.parse", (check) => during(JSON, "parse", () => ({}), check)],
  ["Array.prototype", (check) => during(Array.prototype, "push", () => 0, check)],
  ["Array.prototype", (check) => during(Array.prototype, Symbol.iterator, broken, check)],
  ["Map", (check) => during(Map.prototype, "get", () => undefined, check)],
  ["Promise", (check) => during(Promise.prototype, "then", broken, check)],
  ["Date.now", (check) => during(Date, "now", () => Number.NaN, check)],
  ["setTimeout", (check) => during(globalThis, "setTimeout", () => 0, check)],
  ["URL", (check) => during(globalThis, "URL", undefined, check)],
  ["Object.prototype", (check) => during(Object.prototype, "polluted", 1, check)],
  ["process.nextTick", (check) => during(process, "nextTick", () => {}, check)],
])("finds a broken %s", (name, breaking) => {
  expect(breaking(createSelfCheck())).toBe(name);
});

/** What `check` says while `owner` has another `member`. */
function during(owner: object, member: PropertyKey, value: unknown, check: () => string | null): string | null {
  const original = Object.getOwnPropertyDescriptor(owner, member);
  Object.defineProperty(owner, member, {
    value,
    configurable: true,
    enumerable: member === "polluted",
    writable: true,
  });
  const found = check();
  if (original === undefined) Reflect.deleteProperty(owner, member);
  else Object.defineProperty(owner, member, original);
  return found;
}
