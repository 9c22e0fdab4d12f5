/** Long JSON: the same as that of `JSON.stringify`, but outside of the heap. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toJson } from "../../src/core/json.js";
import { longJson, longJsonBytes, textOfUtf8 } from "../../src/core/json-text.js";
import { hostKit } from "../../src/core/kit.js";
import { createSerde } from "../../src/storage/serde.js";
import { heapGrowthOf, writeInHeapOf } from "../support/heap.js";

const MB = 1_024 ** 2;
/** Only a guess: what is larger is written as well. */
const SIZE = { parts: 1, chars: 0 };
const serde = createSerde(hostKit);

describe("the JSON of a long value", () => {
  it("is the one that JSON.stringify writes", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(longJson(value, SIZE)).toBe(JSON.stringify(value));
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["of text that is cut between the halves of a pair", `a${"😀".repeat(70_000)}`],
    ["of half pairs at every place", "x\ud800".repeat(70_000)],
    ["of quotes, backslashes and controls", '"\\\u0000\n\u007f'.repeat(40_000)],
    ["of Latin letters", "äÿ".repeat(100_000)],
    ["of letters that become wide late", ["a".repeat(3 * MB), "ж".repeat(200_000), "ÿ".repeat(200_000)]],
    ["of many parts", Array.from({ length: 200_000 }, (_, index) => ({ index, [`k${index % 7}`]: null, t: true }))],
    ["of long names", { ["n".repeat(100_000)]: {}, ["ж".repeat(100_000)]: [] }],
    ["of what vanishes in JSON", [undefined, { gone: undefined, kept: [() => 1, Symbol("s")], f() {} }]],
  ])("is exact: %s", (_what, value) => {
    const json = JSON.stringify(value);
    expect(longJson(value, SIZE) === json).toBe(true);
    expect(longJsonBytes(value, SIZE).equals(Buffer.from(json))).toBe(true);
  });

  it("is no more than a string can hold", () => {
    const text = "x".repeat(100 * MB);
    const texts = { all: [text, text, text, text, text, text] };
    expect(toJson(texts)).toBe('"[too large]"');
    expect(() => serde.dumps(texts)).toThrow(/too long a text/);
  });

  it.each([
    ["an event", (value: unknown) => toJson(value)],
    ["a checkpoint", (value: unknown) => serde.dumps(value).data],
  ])("takes nothing of the heap: %s", (_what, write) => {
    const value = { text: "x".repeat(20 * MB), list: Array.from({ length: 100 }, () => "ж") };
    value.text.charCodeAt(0); // V8 makes one piece of it, which is the value's
    const { result, grownBy } = heapGrowthOf(() => write(value));
    expect(result.length).toBeGreaterThan(20 * MB);
    expect(grownBy).toBeLessThan(2 * MB);
  });

  it("is refused when its text would not fit into what is left of the heap", async () => {
    const outcome = await writeInHeapOf(64, 100 * MB);
    expect(outcome).toEqual({
      name: "OutOfMemoryError",
      message: expect.stringMatching(/a text of 100 MB is more than what is left/),
    });
    expect(await writeInHeapOf(64, 20 * MB)).toEqual({ chars: 20 * MB + 2 });
  });
});

describe("text that is read from bytes", () => {
  it.each([
    ["ASCII", "x".repeat(3 * MB)],
    ["wide", "ж😀".repeat(MB)],
    ["short", "ж"],
  ])("is the same: %s", (_what, text) => {
    expect(textOfUtf8(Buffer.from(text)) === text).toBe(true);
  });

  it("takes nothing of the heap", () => {
    const ascii = Buffer.from("x".repeat(20 * MB));
    const wide = Buffer.from("ж".repeat(10 * MB));
    const { result, grownBy } = heapGrowthOf(() => [textOfUtf8(ascii), textOfUtf8(wide)]);
    expect(result.map(({ length }) => length)).toEqual([20 * MB, 10 * MB]);
    expect(grownBy).toBeLessThan(2 * MB);
  });
});
