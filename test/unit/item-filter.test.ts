import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import { createItemMatcher, meetsConditions, parseItemFilter } from "../../src/storage/item-filter.js";

const matches = (value: JsonObject, filter: unknown) => meetsConditions(value, parseItemFilter(filter));

describe("an item filter", () => {
  it.each<[string, JsonObject, unknown, boolean]>([
    ["no filter takes everything", { a: 1 }, undefined, true],
    ["null is no filter", { a: 1 }, null, true],
    ["an empty filter takes everything", { a: 1 }, {}, true],
    ["equality", { a: 1 }, { a: 1 }, true],
    ["equality does not coerce", { a: "1" }, { a: 1 }, false],
    ["all members must match", { a: 1, b: 2 }, { a: 1, b: 3 }, false],
    ["objects by content, in any order", { a: { x: 1, y: [2] } }, { a: { y: [2], x: 1 } }, true],
    ["objects are equal as a whole", { a: { x: 1, y: 2 } }, { a: { x: 1 } }, false],
    ["an empty object equals only an empty object", { a: { x: 1 } }, { a: {} }, false],
    ["lists in their order", { a: [1, 2] }, { a: [2, 1] }, false],
    ["a list is no object", { a: [] }, { a: {} }, false],
    ["null equals null", { a: null }, { a: null }, true],
    ["a missing member is not null", {}, { a: null }, false],
    ["$eq", { a: { x: 1 } }, { a: { $eq: { x: 1 } } }, true],
    ["$eq takes falsy operands", { a: 1 }, { a: { $eq: 0 } }, false],
    ["$ne", { a: 1 }, { a: { $ne: 1 } }, false],
    ["$ne holds for a missing member", {}, { a: { $ne: 1 } }, true],
    ["$gt", { a: 5 }, { a: { $gt: 4.99 } }, true],
    ["$gt is strict", { a: 5 }, { a: { $gt: 5 } }, false],
    ["$gte", { a: 5 }, { a: { $gte: 5 } }, true],
    ["$lt", { a: 5 }, { a: { $lt: 10 } }, true],
    ["$lte", { a: 11 }, { a: { $lte: 10 } }, false],
    ["a range is both ends", { a: 5 }, { a: { $gt: 1, $lt: 4 } }, false],
    ["strings are ordered as strings", { day: "2030-02-01" }, { day: { $gte: "2030-01-15" } }, true],
    ["a number is not ordered with a string", { a: "9" }, { a: { $gt: 4 } }, false],
    ["a missing member is not ordered", {}, { a: { $lt: 4 } }, false],
    ["$in", { a: "x" }, { a: { $in: ["x", "y"] } }, true],
    ["$in misses a missing member", {}, { a: { $in: [null] } }, false],
    ["$nin", { a: "x" }, { a: { $nin: ["x", "y"] } }, false],
    ["$nin holds for a missing member", {}, { a: { $nin: ["x"] } }, true],
    ["a name with every special character", { "a.b'\"%_$[0]": 1 }, { "a.b'\"%_$[0]": 1 }, true],
    ["an inherited member is missing", {}, { toString: { $ne: 1 } }, true],
    ["__proto__ is a member like any other", JSON.parse('{"__proto__":1}'), JSON.parse('{"__proto__":1}'), true],
    ["__proto__ does not reach the prototype", {}, JSON.parse('{"__proto__":{}}'), false],
  ])("%s", (_, value, filter, expected) => {
    expect(matches(value, filter)).toBe(expected);
  });

  it.each<[string, unknown, string]>([
    ["an unknown operator", { a: { $regex: "x" } }, '"$regex"'],
    ["an operator among plain members", { a: { $gt: 1, b: 2 } }, '"b"'],
    ["an operator with SQL in it", { a: { "$eq' OR 1=1 --": 1 } }, "unknown operator"],
    ["undefined, which would match everything if dropped", { owner: undefined }, "filter.owner"],
    ["an undefined operand", { a: { $eq: undefined } }, "filter.a.$eq"],
    ["a function", { a: () => 1 }, "filter.a"],
    ["an order of objects", { a: { $gt: { x: 1 } } }, "filter.a.$gt"],
    ["an order of NaN", { a: { $gt: Number.NaN } }, "filter.a.$gt"],
    ["$in without a list", { a: { $in: "abc" } }, "filter.a.$in"],
    ["a list as filter", [["a", 1]], "filter"],
    ["a Map, whose members a filter would not see", new Map([["a", 1]]), "filter"],
    ["a string", "a=1", "filter"],
  ])("refuses %s", (_, filter, named) => {
    expect(() => parseItemFilter(filter)).toThrow(expect.objectContaining({ code: "validation" }));
    expect(() => parseItemFilter(filter)).toThrow(named);
  });

  it("answers in SQL for the conditions of each call", () => {
    const matcher = createItemMatcher();
    const ask = (filter: unknown) => matcher('{"a":1}', JSON.stringify(parseItemFilter(filter)));
    expect([ask({ a: 1 }), ask({ a: 2 }), ask({ a: { $ne: 2 } })]).toEqual([1, 0, 1]);
  });
});
