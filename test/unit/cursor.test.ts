/** `Last-Event-ID` in every form that clients send. */
import { describe, expect, it } from "vitest";
import { parseCursor } from "../../src/api/cursor.js";

describe("parseCursor", () => {
  it.each([
    [null, { from: "start" }],
    ["", { from: "start" }],
    ["-1", { from: "start" }],
    [" -1 ", { from: "start" }],
    ["3-14", { after: { fence: 3, seq: 14 } }],
    ["0-0", { after: { fence: 0, seq: 0 } }],
    ["7", { after: { fence: 2, seq: 7 } }],
    ["9999", { after: { fence: 2, seq: 9999 } }],
  ])("reads %j", (text, cursor) => {
    expect(parseCursor(text, 2)).toEqual(cursor);
  });

  it.each([
    "x",
    "1-",
    "-",
    "-2",
    "1-2-3",
    "1.5",
    "1e3",
    "0x1",
    "1 2",
    "1-2\u0000",
    "99999999999999999999-1",
    "1718000000000-abc",
  ])("refuses %j", (text) => {
    expect(() => parseCursor(text, 2)).toThrow(expect.objectContaining({ code: "bad_request" }));
  });

  it("does not repeat a long header in the error", () => {
    expect(() => parseCursor("x".repeat(10_000), 1)).toThrow(/^.{0,200}$/s);
  });
});
