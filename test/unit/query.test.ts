import { describe, expect, it } from "vitest";
import { z } from "zod";
import { queryBoolean, queryInteger, queryList, queryString } from "../../src/api/query.js";

const read = (schema: z.ZodType, values: string[] | undefined): unknown => {
  const result = schema.safeParse(values);
  return result.success ? result.data : "refused";
};

describe("a boolean in a query", () => {
  it.each([
    [["true"], true],
    [["True"], true],
    [["TRUE"], true],
    [["1"], true],
    [["false"], false],
    [["False"], false],
    [["0"], false],
    [["1", "0"], false],
    [["yes"], "refused"],
    [["2"], "refused"],
    [["constructor"], "refused"],
    [["__proto__"], "refused"],
    [["[true]"], "refused"],
  ])("reads %j as %s", (values, expected) => {
    expect(read(queryBoolean(false), values)).toBe(expected);
    expect(read(queryBoolean(true), values)).toBe(expected);
  });

  it.each([[undefined], [[""]]])("takes the default for %j", (values) => {
    expect(read(queryBoolean(true), values)).toBe(true);
    expect(read(queryBoolean(false), values)).toBe(false);
  });
});

describe("an integer in a query", () => {
  const schema = queryInteger({ min: 1, max: 100, fallback: 10 });

  it.each([
    [undefined, 10],
    [[""], 10],
    [["1"], 1],
    [["100"], 100],
    [["7", "8"], 8],
    [["0"], "refused"],
    [["101"], "refused"],
    [["1.5"], "refused"],
    [["-1"], "refused"],
    [["ten"], "refused"],
    [["NaN"], "refused"],
    [["Infinity"], "refused"],
    [["1,2"], "refused"],
  ])("reads %j as %s", (values, expected) => {
    expect(read(schema, values)).toBe(expected);
  });
});

describe("a list in a query", () => {
  const schema = queryList(z.enum(["a", "b", "c"]));

  it.each([
    [undefined, undefined],
    [["a"], ["a"]],
    [
      ["a", "b"],
      ["a", "b"],
    ],
    [["a,b"], ["a", "b"]],
    [[" a , b "], ["a", "b"]],
    [['["a","b"]'], ["a", "b"]],
    [
      ['["a"]', "b,c"],
      ["a", "b", "c"],
    ],
    [[""], []],
    [["[]"], []],
    [["a,"], "refused"],
    [["d"], "refused"],
    [["[a]"], "refused"],
    [['[["a"]]'], "refused"],
    [["[1]"], "refused"],
    [["["], "refused"],
  ])("reads %j as %j", (values, expected) => {
    expect(read(schema, values)).toEqual(expected);
  });
});

describe("a text in a query", () => {
  it("is the last one given", () => {
    expect(read(queryString(), undefined)).toBeUndefined();
    expect(read(queryString(), ["a", "b"])).toBe("b");
    expect(read(queryString(), [""])).toBe("");
  });
});
