/** Long answers are written piece by piece, and say the same. */
import { expect, it } from "vitest";
import { bodyOf, piecewise } from "../../src/api/long-text.js";

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
  for await (const piece of piecewise("\u{1f600}".repeat(700_000))) sizes.push(piece.length);
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
  for await (const piece of piecewise("x".repeat(3_000_000))) {
    const until = performance.now() + 11; // a reader that takes its time over each
    while (performance.now() < until);
    expect(piece.length).toBeGreaterThan(0);
  }
  isOver = true;
  expect(turns).toBeGreaterThan(20);
});

it("a short text stays one", () => {
  expect(bodyOf('{"short":true}')).toBe('{"short":true}');
});
