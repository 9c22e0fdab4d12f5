import { AIMessageChunk, HumanMessage, ToolMessage } from "@langchain/core/messages";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toJson, toPlain } from "../../src/core/json.js";
import { doubled, HOSTILE_VALUES } from "../support/hostile-values.js";

describe("toJson", () => {
  it("shows messages as flat dicts, wherever they stand", () => {
    const state = {
      messages: [new HumanMessage({ content: "hi", id: "h1" })],
      nested: [{ m: new AIMessageChunk("x") }],
    };
    const wire = JSON.parse(toJson(state));
    expect(wire.messages[0]).toEqual({
      type: "human",
      content: "hi",
      id: "h1",
      additional_kwargs: {},
      response_metadata: {},
    });
    expect(wire.nested[0].m).toMatchObject({ type: "ai", content: "x", tool_calls: [] });
    expect(
      JSON.parse(toJson(new ToolMessage({ content: "r", tool_call_id: "c1", artifact: { a: 1n } }))),
    ).toMatchObject({
      type: "tool",
      tool_call_id: "c1",
      artifact: { a: "1" },
    });
  });

  it("never throws, whatever a graph returns", () => {
    const circular: Record<string, unknown> = { a: 1 };
    circular.self = circular;
    const deep: unknown[] = [];
    let tip = deep;
    for (let level = 0; level < 5_000; level++) {
      const next: unknown[] = [];
      tip.push(next);
      tip = next;
    }
    const hostile = new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error("no");
        },
      },
    );
    const cases: readonly (readonly [unknown, string])[] = [
      [circular, '{"a":1,"self":"[circular]"}'],
      [{ big: 10n ** 30n }, '{"big":"1000000000000000000000000000000"}'],
      [[Number.NaN, Number.POSITIVE_INFINITY, -0], "[null,null,0]"],
      [undefined, "null"],
      [[undefined, () => 1], "[null,null]"],
      [{ gone: undefined, f: () => 1, s: Symbol("s") }, "{}"],
      [new Map<unknown, unknown>([["k", new Set([1])]]), '{"k":[1]}'],
      [new Map([[1, 2]]), "[[1,2]]"],
      [new Uint8Array([1, 2, 3]), '"AQID"'],
      [[new Float32Array([1]), new Uint8Array([1, 2, 3]).buffer], '["AACAPw==","AQID"]'],
      [[Object(1n), new String("s"), Object(false)], '["1","s",false]'],
      [new Date(0), '"1970-01-01T00:00:00.000Z"'],
      [new Error("boom"), '{"error":"Error","message":"boom"}'],
      [hostile, '"[unreadable]"'],
      [
        {
          get bad(): never {
            throw new Error("no");
          },
        },
        '"[unreadable]"',
      ],
      [
        {
          toJSON: () => {
            throw new Error("no");
          },
        },
        '"[unreadable]"',
      ],
      ["a\u0000b\ud800\nc", '"a\\u0000b\\ud800\\nc"'],
      [JSON.parse('{"__proto__":{"x":1},"n":[{"y":null}]}'), '{"__proto__":{"x":1},"n":[{"y":null}]}'],
    ];
    for (const [value, expected] of cases) expect(toJson(value)).toBe(expected);
    expect(toJson(deep)).toContain("[too deep]");
  });

  it.each(Object.entries(HOSTILE_VALUES))("has a word for %s, alone and inside of something", (_name, make) => {
    for (const value of [make(), [make()], { kept: 1, value: make() }, new Map([["k", make()]])]) {
      const json = toJson(value);
      expect(JSON.parse(json)).toBeDefined();
      expect(json).not.toMatch(/[\n\r]/);
    }
  });

  it("has a word for anything", () => {
    const anything = fc.anything({
      values: [
        fc.constantFrom(...Object.keys(HOSTILE_VALUES)),
        fc.string({ unit: "binary" }),
        fc.double(),
        fc.bigInt(),
      ],
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withSparseArray: true,
      withNullPrototype: true,
      withBoxedValues: true,
    });
    const isJson = (value: unknown) => void JSON.parse(toJson(withHostileValues(value)));
    fc.assert(fc.property(anything, isJson), { numRuns: 300 });
  });

  it("gives up on what would take for ever", () => {
    expect(toJson(doubled(60))).toBe('"[too large]"');
  });

  it("shares what is plain already and never changes its argument", () => {
    const plain = { a: [1, { b: "c" }] };
    expect(toPlain(plain)).toBe(plain);
    const mixed = { keep: plain, date: new Date(0) };
    const result = toPlain(mixed) as { keep: unknown };
    expect(result.keep).toBe(plain);
    expect(mixed.date).toBeInstanceOf(Date);
  });
});

/** The same, with the values of `HOSTILE_VALUES` where their names stand: fast-check itself does not survive them. */
function withHostileValues(value: unknown): unknown {
  if (typeof value === "string") return Object.hasOwn(HOSTILE_VALUES, value) ? HOSTILE_VALUES[value]?.() : value;
  if (Array.isArray(value)) return value.map(withHostileValues);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, withHostileValues(item)]));
  if (value instanceof Set) return new Set([...value].map(withHostileValues));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withHostileValues(item)]));
}
