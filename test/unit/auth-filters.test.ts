/** What an auth handler returns, and that nothing but a plain permission or filter lets anybody through. */
import { describe, expect, it } from "vitest";
import { toScope } from "../../src/auth/filters.js";
import { isInScope, type Scope, withoutScopeKeys } from "../../src/core/scope.js";

describe("toScope", () => {
  it("allows everything for nothing, null and true, and refuses for false", () => {
    for (const result of [undefined, null, true]) expect(toScope(result, "e")).toEqual([]);
    expect(() => toScope(false, "e")).toThrow("not authorized");
  });

  it.each<[unknown, Scope]>([
    [{ owner: "ada" }, [{ kind: "equals", key: "owner", value: "ada" }]],
    [{ owner: { $eq: "" } }, [{ kind: "equals", key: "owner", value: "" }]],
    [{ level: { $eq: 0 } }, [{ kind: "equals", key: "level", value: 0 }]],
    [{ open: false }, [{ kind: "equals", key: "open", value: false }]],
    [{ team: { $contains: "a" } }, [{ kind: "contains", key: "team", values: ["a"] }]],
    [{ team: { $contains: ["a", "b"] } }, [{ kind: "contains", key: "team", values: ["a", "b"] }]],
    [
      { $and: [{ a: "1" }, { b: "2" }] },
      [
        { kind: "equals", key: "a", value: "1" },
        { kind: "equals", key: "b", value: "2" },
      ],
    ],
    [
      { $or: [{ a: "1" }, { b: "2", c: "3" }] },
      [
        {
          kind: "any",
          of: [
            [{ kind: "equals", key: "a", value: "1" }],
            [
              { kind: "equals", key: "b", value: "2" },
              { kind: "equals", key: "c", value: "3" },
            ],
          ],
        },
      ],
    ],
  ])("reads %j", (filter, scope) => {
    expect(toScope(filter, "e")).toEqual(scope);
  });

  it.each<[string, unknown]>([
    ["an empty filter", {}],
    ["a value that is undefined", { owner: undefined }],
    ["a value that is null", { owner: null }],
    ["an empty comparison", { owner: {} }],
    ["an unknown operator", { owner: { $in: ["ada"] } }],
    ["an operator beside a known one", { owner: { $eq: "ada", $ne: "b" } }],
    ["an unknown operator at the top", { $not: { owner: "ada" } }],
    ["an empty $contains", { team: { $contains: [] } }],
    ["a $contains of objects", { team: { $contains: [{}] } }],
    ["an empty $or", { $or: [] }],
    ["an empty branch of $or", { $or: [{ a: "1" }, {}] }],
    ["a list", [{ owner: "ada" }]],
    ["a Map", new Map([["owner", "ada"]])],
    ["NaN", { level: Number.NaN }],
    ["a text", "ada"],
    ["a number", 1],
  ])("takes %s for an error of the handler", (_what, result) => {
    expect(() => toScope(result, "threads:read")).toThrow(/^auth: the handler of threads:read returned/);
  });
});

describe("isInScope", () => {
  it.each<[string, Parameters<typeof isInScope>[0], unknown, boolean]>([
    ["the same text", { owner: "ada" }, { owner: "ada" }, true],
    ["another text", { owner: "eve" }, { owner: "ada" }, false],
    ["no such key", {}, { owner: "ada" }, false],
    ["a key of the prototype", {}, { constructor: "ada" }, false],
    ["a list for a text", { owner: ["ada"] }, { owner: "ada" }, false],
    ["a text for a list", { team: "a" }, { team: { $contains: "a" } }, false],
    ["all of a list", { team: ["a", "b", "c"] }, { team: { $contains: ["a", "c"] } }, true],
    ["a part of a list", { team: ["a"] }, { team: { $contains: ["a", "c"] } }, false],
    ["one way of two", { b: "2" }, { $or: [{ a: "1" }, { b: "2" }] }, true],
    ["neither way", { b: "3" }, { $or: [{ a: "1" }, { b: "2" }] }, false],
  ])("%s", (_what, metadata, filter, expected) => {
    expect(isInScope(metadata, toScope(filter, "e"))).toBe(expected);
  });
});

it("a change has no word about who may see the thing", () => {
  const scope = toScope({ owner: "ada", $or: [{ team: { $contains: "a" } }, { open: true }] }, "e");
  expect(withoutScopeKeys({ owner: "eve", team: [], open: false, title: "t" }, scope)).toEqual({ title: "t" });
});
