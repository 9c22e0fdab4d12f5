/** The body of `wait` and `join`. */
import { describe, expect, it } from "vitest";
import { resultJson } from "../../src/runs/result.js";

const question = { id: "i1", value: { question: "Go on?" } };

describe("resultJson", () => {
  it.each([
    ["a state", '{"a":1,"b":[2]}', { a: 1, b: [2] }],
    ["an empty state", "{}", {}],
    ["no state", null, {}],
    ["a null state", "null", {}],
    ["a string", '"text"', { __root__: "text" }],
    ["a number", "7", { __root__: 7 }],
    ["a list", "[1,2]", { __root__: [1, 2] }],
    ["false", "false", { __root__: false }],
  ])("is always an object: %s", (_title, valuesJson, expected) => {
    expect(JSON.parse(resultJson({ valuesJson, interrupts: {}, error: null }))).toEqual(expected);
  });

  it.each([
    ["a state", '{"a":1}', { a: 1, __interrupt__: [question] }],
    ["an empty state", "{}", { __interrupt__: [question] }],
    ["no state", null, { __interrupt__: [question] }],
    ["a list", "[1]", { __root__: [1], __interrupt__: [question] }],
  ])("puts the questions beside %s", (_title, valuesJson, expected) => {
    expect(JSON.parse(resultJson({ valuesJson, interrupts: { t1: [question] }, error: null }))).toEqual(expected);
  });

  it("is the error alone when the run failed", () => {
    const error = { error: "RangeError", message: "out of range" };
    expect(JSON.parse(resultJson({ valuesJson: '{"a":1}', interrupts: { t1: [question] }, error }))).toEqual({
      __error__: error,
    });
  });
});
