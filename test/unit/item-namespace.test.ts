import { InvalidNamespaceError } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeNamespace,
  encodeItemNamespace,
  encodeNamespace,
  meetsCondition,
  rangeOfConditions,
  rangeUnder,
} from "../../src/storage/item-namespace.js";

const label = fc
  .string({ unit: fc.oneof(fc.constantFrom("a", "b", "/", "-", "%", "_", "'", "*"), fc.string({ unit: "grapheme" })) })
  .filter((text) => text !== "" && !text.includes(".") && !/[\0\p{Cs}]/u.test(text));
const labels = fc.array(label, { minLength: 1, maxLength: 4 });

describe("an encoded namespace", () => {
  it("comes back as the labels it was made of", () => {
    fc.assert(
      fc.property(labels, (given) => {
        expect(decodeNamespace(encodeNamespace(given))).toEqual(given);
      }),
    );
  });

  it("lies in the range of a prefix exactly when its labels begin with it", () => {
    fc.assert(
      fc.property(labels, fc.oneof(labels, fc.constant([])), fc.boolean(), (prefix, rest, related) => {
        const namespace = related ? [...prefix, ...rest] : rest.length > 0 ? rest : prefix;
        const { from, to } = rangeUnder(prefix);
        const bytes = Buffer.from(encodeNamespace(namespace)); // SQLite compares text as bytes
        const inRange = bytes.compare(Buffer.from(from ?? "")) >= 0 && bytes.compare(Buffer.from(to ?? "")) < 0;
        expect(inRange).toBe(prefix.every((wanted, index) => wanted === namespace[index]));
      }),
    );
  });

  it.each([
    ["an empty label", ["a", ""]],
    ["a period in a label", ["a.b"]],
    ["a label that is no string", [1]],
    ["NUL", ["a\0"]],
    ["half a surrogate pair", ["\ud800"]],
  ])("refuses %s", (_, given) => {
    expect(() => encodeNamespace(given as string[])).toThrow(InvalidNamespaceError);
  });

  it("has at least one label where an item lives", () => {
    expect(() => encodeItemNamespace([])).toThrow(InvalidNamespaceError);
    expect(encodeNamespace([])).toBe("");
  });
});

describe("namespace conditions", () => {
  it.each([
    ["prefix", ["a", "b"], true],
    ["prefix", ["a", "b", "c", "d"], false],
    ["prefix", ["*", "b"], true],
    ["prefix", ["b"], false],
    ["suffix", ["c"], true],
    ["suffix", ["*", "c"], true],
    ["suffix", ["a", "c"], false],
    ["suffix", [], true],
  ] as const)("%s %j of a/b/c: %s", (matchType, path, expected) => {
    expect(meetsCondition(["a", "b", "c"], { matchType, path: [...path] })).toBe(expected);
  });

  it("narrow the search up to the first wildcard", () => {
    expect(rangeOfConditions([{ matchType: "prefix", path: ["a", "*", "c"] }])).toEqual({ from: "a.", to: "a/" });
    expect(rangeOfConditions([{ matchType: "prefix", path: ["*"] }])).toEqual({ from: null, to: null });
    expect(rangeOfConditions([{ matchType: "suffix", path: ["a"] }])).toEqual({ from: null, to: null });
  });
});
