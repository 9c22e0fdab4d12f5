/** What no request body may be, whatever its route. */
import { AIMessage, HumanMessage, RemoveMessage, ToolMessage } from "@langchain/core/messages";
import { PromptTemplate } from "@langchain/core/prompts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJsonBody } from "../../src/api/edge.js";
import { isStorable } from "../../src/core/items.js";

const nested = (depth: number, open: string, close: string): string => `${open.repeat(depth)}1${close.repeat(depth)}`;
const refusal = (text: string): unknown => {
  try {
    parseJsonBody(text);
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("a body of the edge", () => {
  it.each([
    ["nothing", "", {}],
    ["blanks", " \r\n\t", {}],
    ["a text", '"a"', "a"],
    ["a key twice: the last counts", '{"a":1,"a":2}', { a: 2 }],
    ["structure in strings", String.raw`{"a":"\"[{,","b":"\\"}`, { a: '"[{,', b: "\\" }],
    ["200 lists in each other", nested(200, "[", "]"), JSON.parse(nested(200, "[", "]"))],
    [
      "names of methods",
      '{"constructor":{"a":1},"toString":1,"prototype":{}}',
      { constructor: { a: 1 }, toString: 1, prototype: {} },
    ],
    ["a constructor with a scalar", '{"constructor":{"prototype":1}}', { constructor: { prototype: 1 } }],
    [
      "lc that is no record",
      '[{"lc":2},{"lc":1,"type":1},{"lc":"2","type":"constructor"}]',
      [{ lc: 2 }, { lc: 1, type: 1 }, { lc: "2", type: "constructor" }],
    ],
    ["NUL and half pairs in values", '{"a":"\\u0000\\ud800"}', { a: "\u0000\ud800" }],
    ["whole pairs in keys", '{"\\ud83d\\ude00":1}', { "😀": 1 }],
  ])("is parsed: %s", (_, text, value) => {
    expect(parseJsonBody(text)).toEqual(value);
  });

  it.each([
    ["no JSON", "{", "bad_request", "not JSON"],
    ["a string without end", '{"a":"', "bad_request", "not JSON"],
    ["a backslash without end", '{"a":"\\', "bad_request", "not JSON"],
    ["201 lists in each other", nested(201, "[", "]"), "validation", "deep"],
    ["201 objects in each other", nested(201, '{"a":', "}"), "validation", "deep"],
    ["a million levels", "[".repeat(1_000_000), "validation", "deep"],
    ["200,001 items", `[${"0,".repeat(200_000)}0]`, "validation", "200000"],
    ["200,001 empty lists", `[${"[],".repeat(100_000)}[]]`, "validation", "200000"],
    ["200,001 members", `{${Array.from({ length: 200_001 }, (_, n) => `"${n}":0`).join(",")}}`, "validation", "200000"],
    ["__proto__", '[{"__proto__":1}]', "validation", "__proto__"],
    ["__proto__ in escapes", '[{"__\\u0070roto__":1}]', "validation", "__proto__"],
    ["a way to the prototype", '{"a":{"constructor":{"prototype":{"a":1}}}}', "validation", "prototype"],
    ["NUL in a key", '{"a":[{"\\u0000":1}]}', "validation", "NUL"],
    ["half a pair in a key", '{"a\\udc00b":1}', "validation", "surrogate"],
    ["a number that overflows", "[1e400]", "validation", "1.8e308"],
    ["a number that overflows below", '{"a":-1e400}', "validation", "1.8e308"],
    ["nothing but a number that overflows", "1e400", "validation", "1.8e308"],
  ])("is refused: %s", (_, text, code, named) => {
    expect(refusal(text)).toMatchObject({ code, message: expect.stringContaining(named) });
  });

  it("is any JSON that keeps the rules, unchanged", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        const isOdd = /"__proto__"|"constructor":/.test(text) || JSON.stringify(value, isOddKey) === "odd";
        fc.pre(!isOdd);
        expect(parseJsonBody(text)).toEqual(JSON.parse(text));
      }),
    );
  });
});

function isOddKey(key: string, value: unknown): unknown {
  return isStorable(key) ? value : "odd";
}

describe("a serialized LangChain object", () => {
  it.each([
    new HumanMessage("hi"),
    new AIMessage({ content: "", tool_calls: [{ id: "1", name: "f", args: { a: 1 } }] }),
    new ToolMessage({ content: "x", tool_call_id: "1" }),
    new RemoveMessage({ id: "1" }),
  ])("passes when it is a message: $lc_id", (message) => {
    const text = JSON.stringify({ input: { messages: [message] } });
    expect(text).toContain('"lc":1');
    expect(parseJsonBody(text)).toEqual(JSON.parse(text));
  });

  it("passes as Python writes it", () => {
    const text =
      '{"lc":1,"type":"constructor","id":["langchain","schema","messages","AIMessage"],"kwargs":{"content":"a"}}';
    expect(parseJsonBody(text)).toEqual(JSON.parse(text));
  });

  it.each([
    ["a template", JSON.stringify(PromptTemplate.fromTemplate("{a}"))],
    [
      "a class beside the messages",
      '{"lc":1,"type":"constructor","id":["langchain_core","load","HumanMessage"],"kwargs":{}}',
    ],
    [
      "a package that is not LangChain's",
      '{"lc":1,"type":"constructor","id":["evil","messages","HumanMessage"],"kwargs":{}}',
    ],
    [
      "the name of a property",
      '{"lc":1,"type":"constructor","id":["langchain_core","messages","constructor"],"kwargs":{}}',
    ],
    ["a message of nothing", '{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"]}'],
    [
      "a message by another way",
      '{"lc":1,"type":"secret","id":["langchain_core","messages","HumanMessage"],"kwargs":{}}',
    ],
    [
      "a class in a message",
      JSON.stringify(
        new HumanMessage({ content: "", additional_kwargs: { a: { lc: 1, type: "secret", id: ["PATH"] } } }),
      ),
    ],
    ["what is not implemented", '{"lc":1,"type":"not_implemented","id":["x"]}'],
    ["a constructor call", '{"lc":2,"type":"constructor","id":["Uint8Array"],"method":"constructor","args":["code"]}'],
    ["undefined", '{"lc":2,"type":"undefined"}'],
    ["a snapshot", '{"lc":2,"type":"delta_snapshot","value":1}'],
  ])("is refused when it is %s", (_, record) => {
    expect(refusal(`{"a":[${record}]}`)).toMatchObject({ code: "validation", message: expect.stringContaining("lc ") });
  });
});
