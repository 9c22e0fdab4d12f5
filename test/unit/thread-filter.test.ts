/** The `filter` of thread search: what it says, and what is refused. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import { parseThreadFilter } from "../../src/threads/thread-filter.js";

const member = (name: string, operator: string, operand: unknown) => {
  const [root, ...path] = name.split(".");
  return { kind: "member", root, path, operator, operand };
};

describe("a thread filter", () => {
  it.each<[string, JsonObject, unknown]>([
    ["equality", { "metadata.team": "blue" }, member("metadata.team", "$eq", "blue")],
    ["equality with an object", { "values.a": { b: 1 } }, member("values.a", "$eq", { b: 1 })],
    ["an operator", { "metadata.a.b": { $gt: 1 } }, member("metadata.a.b", "$gt", 1)],
    [
      "several operators on one member",
      { "metadata.n": { $gte: 1, $lt: 5 } },
      { kind: "all", of: [member("metadata.n", "$gte", 1), member("metadata.n", "$lt", 5)] },
    ],
    ["a missing member", { "metadata.owner": { $exists: false } }, member("metadata.owner", "$exists", false)],
    ["containment", { "metadata.tags": { $contains: ["a"] } }, member("metadata.tags", "$contains", ["a"])],
    [
      "a column",
      { status: { $in: ["idle", "error"] } },
      { kind: "column", column: "status", operator: "$in", operand: ["idle", "error"] },
    ],
    [
      "a date, as its milliseconds",
      { updated_at: { $gte: "2026-01-31T00:00:00Z" } },
      { kind: "column", column: "updated_at", operator: "$gte", operand: Date.UTC(2026, 0, 31) },
    ],
    [
      "a date in another zone",
      { created_at: { $lt: "2026-01-31T01:00:00.5+01:00" } },
      { kind: "column", column: "created_at", operator: "$lt", operand: Date.UTC(2026, 0, 31) + 500 },
    ],
    [
      "no date",
      { state_updated_at: null },
      { kind: "column", column: "state_updated_at", operator: "$eq", operand: null },
    ],
    [
      "alternatives and opposites",
      { $or: [{ "metadata.a": 1 }, { $not: { "metadata.b": 2, "metadata.c": 3 } }] },
      {
        kind: "any",
        of: [
          member("metadata.a", "$eq", 1),
          { kind: "not", of: { kind: "all", of: [member("metadata.b", "$eq", 2), member("metadata.c", "$eq", 3)] } },
        ],
      },
    ],
    ["$and", { $and: [{ "metadata.a": 1 }] }, member("metadata.a", "$eq", 1)],
    ["nothing", {}, { kind: "all", of: [] }],
  ])("says %s", (_, filter, expected) => {
    expect(parseThreadFilter(filter)).toEqual(expected);
  });

  const nested = (depth: number): JsonObject => (depth === 0 ? { "metadata.a": 1 } : { $not: nested(depth - 1) });

  it.each<[string, JsonObject, string]>([
    ["an unknown operator", { "metadata.a": { $regex: "x" } }, 'filter.metadata.a: unknown operator "$regex"'],
    ["an operator beside a member", { "metadata.a": { $gt: 1, b: 2 } }, 'unknown operator "b"'],
    ["an unknown combination", { $nor: [] }, "filter.$nor: not a field"],
    ["an unknown field", { team: "blue" }, "filter.team: not a field of threads; expected thread_id"],
    ["the whole metadata", { metadata: {} }, "filter.metadata: not a field"],
    ["a path with a hole", { "metadata.a..b": 1 }, "filter.metadata.a..b: not a field"],
    ["$or of nothing", { $or: [] }, "filter.$or: expected a list of filters"],
    ["$or of one filter", { $or: { "metadata.a": 1 } }, "filter.$or: expected a list"],
    ["a filter that is none", { $and: ["x"] }, "filter.$and[0]: expected an object"],
    ["$not of a list", { $not: [] }, "filter.$not: expected an object"],
    [
      "an order of what has none",
      { "metadata.a": { $gt: null } },
      "filter.metadata.a.$gt: expected a number or a string",
    ],
    ["$in without a list", { "metadata.a": { $in: "x" } }, "filter.metadata.a.$in: expected a list"],
    [
      "$exists without an answer",
      { "metadata.a": { $exists: 1 } },
      "filter.metadata.a.$exists: expected true or false",
    ],
    ["$contains of a scalar", { "metadata.a": { $contains: "x" } }, "$contains: expected an object or a list"],
    ["$contains in a column", { status: { $contains: ["idle"] } }, "filter.status: status is no object"],
    ["a status that there is not", { status: "done" }, "filter.status.$eq: expected one of idle, busy"],
    ["a number for a date", { updated_at: { $gt: 5 } }, "filter.updated_at.$gt: expected a text"],
    ["a date that is none", { updated_at: { $gt: "yesterday" } }, "expected a date as 2026-01-31T12:00:00Z"],
    ["a date in words", { updated_at: "Jan 31 2026" }, "expected a date"],
    ["more levels than ten", nested(10), "levels deep"],
    [
      "more conditions than a hundred",
      { $or: Array.from({ length: 101 }, (_, n) => ({ "metadata.a": n })) },
      "100 conditions at most",
    ],
  ])("refuses %s", (_, filter, why) => {
    expect(() => parseThreadFilter(filter)).toThrow(why);
  });

  it("takes nine levels and a hundred conditions", () => {
    expect(parseThreadFilter(nested(9))).toBeDefined();
    expect(parseThreadFilter({ $or: Array.from({ length: 100 }, (_, n) => ({ "metadata.a": n })) })).toBeDefined();
  });
});
