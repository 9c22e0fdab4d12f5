/** Long answers are written piece by piece, and say the same. */
import { expect, it } from "vitest";
import { bodyOf, jsonBodyOf, piecewise } from "../../src/api/long-text.js";

it.each([
  ["ASCII", "x".repeat(3_000_000)],
  ["pairs where pieces are cut", `a${"\u{1f600}".repeat(700_000)}`],
])("a long text arrives as it is: %s", async (_what, text) => {
  const body = bodyOf(text);
  expect(typeof body).toBe("object");
  expect((await new Response(body).text()) === text).toBe(true);
});

it("no piece is long", async () => {
  const sizes: number[] = [];
  for await (const piece of piecewise(["\u{1f600}".repeat(700_000)])) sizes.push(piece.length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(256 * 1_024);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(4 * 700_000);
});

it("others have their turn while a long text is written", async () => {
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  for await (const piece of piecewise(["x".repeat(3_000_000)])) {
    const until = performance.now() + 11; // a reader that takes its time over each
    while (performance.now() < until);
    expect(piece.length).toBeGreaterThan(0);
  }
  isOver = true;
  expect(turns).toBeGreaterThan(20);
});

it.each([
  ["a text alone", "x".repeat(2_000_000)],
  ["texts between others", { a: 1, long: "é\n".repeat(1_000_000), b: ["x", "y".repeat(1_048_576), null], c: "z" }],
  [
    "pairs, halves and what is escaped",
    ["\u{1f600}".repeat(600_000), "\ud800".repeat(1_100_000), '"\\'.repeat(600_000)],
  ],
  ["the same text twice", ["x".repeat(1_500_000), "x".repeat(1_500_000)]],
])("JSON with a long text is what JSON.stringify says: %s", async (_what, value) => {
  const body = jsonBodyOf(value);
  expect(typeof body).toBe("object");
  expect((await new Response(body).text()) === JSON.stringify(value)).toBe(true);
});

it.each([
  ["short", { a: [1, null, undefined, false], b: "text", at: new Date(0) }],
  ["null", null],
  ["a text that is not long", "x".repeat(1_000)],
])("JSON without one stays one text: %s", (_what, value) => {
  expect(jsonBodyOf(value)).toBe(JSON.stringify(value));
});

it("a short text stays one", () => {
  expect(bodyOf('{"short":true}')).toBe('{"short":true}');
});
