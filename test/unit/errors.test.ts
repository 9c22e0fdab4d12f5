/** Whatever is thrown can be told of: to clients in at most 8 KB and without stacks, to the log in bounded lines. */
import { Writable } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeError } from "../../src/core/errors.js";
import { createLog } from "../../src/core/log.js";
import { HOSTILE_ERRORS, HOSTILE_VALUES } from "../support/hostile-values.js";

const MB = 1024 ** 2;

function expectBody(thrown: unknown): { readonly error: string; readonly message: string } {
  const body = describeError(thrown);
  expect(Object.entries(body).map(([key, text]) => [key, typeof text])).toEqual([
    ["error", "string"],
    ["message", "string"],
  ]);
  expect(body.error).not.toBe("");
  expect(Buffer.byteLength(JSON.stringify({ __error__: body }))).toBeLessThanOrEqual(8_192);
  return body;
}

describe("an error body", () => {
  it.each(Object.entries(HOSTILE_ERRORS))("for %s: says something, in at most 8 KB", (name, make) => {
    const { message } = expectBody(make(1 * MB));
    expect(message).toMatch(name === "empty string" ? /^$/ : /./);
    expect(message).not.toMatch(/\n\s+at /);
  });

  it("is bounded for 100 MB, and keeps the beginning", () => {
    const { message } = expectBody(new Error(`it began well ${"x".repeat(100 * MB)}`));
    expect(message).toMatch(/^it began well x+…$/);
  });

  it.each<[string, unknown, object]>([
    ["name and message", new RangeError("too far"), { error: "RangeError", message: "too far" }],
    ["what is like an error", { name: "Odd", message: "but true" }, { error: "Odd", message: "but true" }],
    ["a plain object", { code: 42 }, { error: "Error", message: "{ code: 42 }" }],
    ["an object that refers to itself", HOSTILE_ERRORS.circular?.(0), { message: expect.stringMatching(/Circular/) }],
    ["the parts of what has no words", new AggregateError([new Error("a"), new Error("b")]), { message: "a; b" }],
    [
      "the message beside a name that throws",
      HOSTILE_ERRORS["name that throws"]?.(0),
      { message: "its name is a trap" },
    ],
  ])("shows %s", (_title, thrown, shown) => {
    expect(describeError(thrown)).toMatchObject(shown);
  });

  it("is made of anything", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
    });
    const errorish = fc.record({ name: anything, message: anything, cause: anything, stack: anything });
    const error = fc.tuple(fc.string({ unit: "binary" }), errorish).map(([text, members]) => {
      return Object.assign(new Error(text), members);
    });
    fc.assert(
      fc.property(fc.oneof(anything, errorish, error), (thrown) => void expectBody(thrown)),
      { numRuns: 500 },
    );
  });
});

describe("a log line", () => {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const stream = sink as unknown as NodeJS.WriteStream; // what the log uses of it: write

  it.each(["json", "pretty"] as const)("in %s tells of anything that was thrown, in bounded size", (format) => {
    const log = createLog({ level: "info", format }, stream);
    for (const make of [...Object.values(HOSTILE_ERRORS), ...Object.values(HOSTILE_VALUES)]) {
      lines.length = 0;
      log.error({ err: make(1 * MB) }, "it was thrown");
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain("it was thrown");
      expect(lines[0]?.length).toBeLessThan(65_536);
    }
  });

  it("has the stack, those of the causes, and the code", () => {
    lines.length = 0;
    const cause = Object.assign(new TypeError("inner"), { code: "ECONNREFUSED" });
    createLog({ level: "info", format: "json" }, stream).warn({ err: new Error("outer", { cause }) }, "w");
    createLog({ level: "info", format: "json" }, stream).warn({ err: cause }, "w");
    expect(JSON.parse(lines[0] ?? "").err).toMatchObject({
      type: "Error",
      message: "outer",
      stack: expect.stringMatching(/^Error: outer\n(.|\n)*\ncaused by: TypeError: inner\n/),
    });
    expect(JSON.parse(lines[1] ?? "").err).toMatchObject({ type: "TypeError", code: "ECONNREFUSED" });
  });
});
