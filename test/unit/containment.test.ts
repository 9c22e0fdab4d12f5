import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/core/model.js";
import { indexTerms, jsonContains, termFilter } from "../../src/storage/containment.js";

describe("jsonContains", () => {
  // As `select '<value>'::jsonb @> '<filter>'::jsonb` answers.
  it.each<[Json, Json, boolean]>([
    [{ a: 1, b: 2 }, { a: 1 }, true],
    [{ a: 1 }, { a: 1, b: 2 }, false],
    [{ a: 1 }, {}, true],
    [{ a: { b: { c: 1, d: 2 } } }, { a: { b: { c: 1 } } }, true],
    [{ a: { b: { c: 1 } } }, { b: { c: 1 } }, false],
    [{ a: [1, 2, 3] }, { a: [3, 1, 1] }, true],
    [{ a: [1, 2] }, { a: [4] }, false],
    [{ a: [1] }, { a: [] }, true],
    [{ a: [[1, 2]] }, { a: [[1]] }, true],
    [{ a: [1] }, { a: 1 }, false],
    [{ a: 1 }, { a: [1] }, false],
    [{ a: [] }, { a: {} }, false],
    [{ a: {} }, { a: [] }, false],
    [{ a: "1" }, { a: 1 }, false],
    [{ a: null }, { a: null }, true],
    [{}, { a: null }, false],
    [{ a: 1 }, { toString: null }, false],
  ])("%j holds %j: %s", (value, filter, expected) => {
    expect(jsonContains(value, filter)).toBe(expected);
  });

  it("takes __proto__ for a key like any other", () => {
    const own = JSON.parse('{"__proto__":{"a":1}}') as JsonObject;
    expect(jsonContains(own, own)).toBe(true);
    expect(jsonContains({}, JSON.parse('{"__proto__":{}}') as Json)).toBe(false);
  });

  it("goes as deep as JSON does", () => {
    const deep = (levels: number) => JSON.parse(`${'[{"a":'.repeat(levels)}1${"}]".repeat(levels)}`) as Json;
    expect(jsonContains(deep(1_000), deep(1_000))).toBe(true);
    expect(jsonContains(deep(1_000), deep(999))).toBe(false);
  });
});

describe("the terms of a filter", () => {
  const scalar = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.boolean(), fc.constant(null));
  const metadata = fc.dictionary(fc.string({ unit: "binary" }), fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), {
    maxKeys: 12,
  });

  it("are among the terms of everything that contains it, and decide alone when they say so", () => {
    fc.assert(
      fc.property(metadata, metadata, (value, other) => {
        const filters = [other, Object.fromEntries(Object.entries(value).slice(0, 3))];
        for (const filter of filters) {
          const { terms, exact } = termFilter(filter as JsonObject);
          const stored = indexTerms(value as JsonObject);
          const found = terms.every((term) => stored.has(term));
          const contained = jsonContains(value as Json, filter as Json);
          if (contained) expect(found).toBe(true);
          if (exact) expect(found).toBe(contained);
        }
      }),
    );
  });

  it("leave long texts to an exact check", () => {
    expect(termFilter({ a: "x".repeat(600) }).exact).toBe(false);
    expect(termFilter({ a: "x", b: [1] })).toEqual({ terms: ['"a"="x"'], exact: false });
    expect(termFilter({ a: "x" })).toEqual({ terms: ['"a"="x"'], exact: true });
  });
});

it.each([509, 510, 511, 512, 513, 514, 515, 516, 517, 100_000])(
  "the term of a long text is the beginning of its JSON: %s characters before a pair",
  (before) => {
    for (const pair of ["\u{1f600}", "\ud83d", "\ude00"]) {
      const text = `${"x".repeat(before)}${pair}${"y".repeat(600)}`;
      expect([...indexTerms({ k: text })]).toEqual([`"k"=${JSON.stringify(text)}`.slice(0, 512)]);
      expect([...indexTerms({ [text]: 1 })]).toEqual([`${JSON.stringify(text)}=1`.slice(0, 512)]);
    }
  },
);
