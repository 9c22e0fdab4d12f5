import { describe, expect, it } from "vitest";
import { extractor } from "../../src/api/extract.js";

const thread = {
  values: {
    messages: [{ content: "first" }, { content: "last", parts: [["x", "y"]] }],
    "a-b c": 1,
    empty: null,
    grid: [
      [1, 2],
      [3, 4],
    ],
  },
  metadata: { owner: "ada" },
  config: {},
  interrupts: { task: [{ id: "i", value: 1 }] },
};

const extract = (path: string): unknown => extractor({ it: path }).apply(thread).it;

describe("a path", () => {
  it.each([
    ["values.messages[0].content", "first"],
    ["values.messages[-1].content", "last"],
    ["values.messages[-2].content", "first"],
    ["values.messages[1].parts[0][1]", "y"],
    ["values.grid[1][-1]", 4],
    ["values.a-b c", 1],
    ["metadata", { owner: "ada" }],
    ["interrupts.task[0].value", 1],
    ["values.messages[2].content", null],
    ["values.messages[-3].content", null],
    ["values.messages.content", null],
    ["values.messages.length", null],
    ["values.empty.deeper", null],
    ["values[0]", null],
    ["metadata.owner.length", null],
    ["metadata.owner[0]", null],
    ["metadata.toString", null],
    ["metadata.constructor.name", null],
    ["config.__proto__", null],
  ])("%s leads to %j", (path, expected) => {
    expect(extract(path)).toEqual(expected);
  });

  it.each([
    "",
    ".",
    "values.",
    ".values",
    "values..a",
    "values[",
    "values[a]",
    "values[1.5]",
    "values[0]a",
    "[0]",
    "values[99999999999]",
    "thread_id",
    "status",
    "Values.a",
    "secrets.values",
  ])('"%s" is refused, and the alias named', (path) => {
    expect(() => extractor({ alias: path })).toThrow(/^extract\.alias: /);
  });
});

describe("an extractor", () => {
  it("takes ten paths and no more", () => {
    const paths = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`a${n}`, "values"]));
    expect(Object.keys(extractor(paths(10)).apply(thread))).toHaveLength(10);
    expect(() => extractor(paths(11))).toThrow("at most 10");
  });

  it("says whether it needs the values", () => {
    expect(extractor({ a: "metadata.owner" }).needsValues).toBe(false);
    expect(extractor({ a: "metadata.owner", b: "values.x" }).needsValues).toBe(true);
    expect(extractor({}).needsValues).toBe(false);
  });
});
