/** What goes on one page, by its bytes. */
import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.js";
import { fittingRows, inOrder, requirePageFits } from "../../src/core/page.js";

describe("a page", () => {
  it.each([
    { what: "nothing", sizes: [], fits: 0 },
    { what: "what fits to the byte", sizes: [4, 4, 2], fits: 3 },
    { what: "up to the row that is too much", sizes: [4, 4, 3, 1], fits: 2 },
    { what: "one row however large", sizes: [99, 0], fits: 1 },
    { what: "rows that take nothing", sizes: [10, 0, 0], fits: 3 },
  ])("holds $what", ({ sizes, fits }) => {
    expect(fittingRows(sizes, 10)).toBe(fits);
  });

  it("that would take more is refused with the limit that fits", () => {
    expect(() => requirePageFits([4, 4, 2], 10)).not.toThrow();
    let refusal: unknown;
    try {
      requirePageFits([4, 4, 3, 1], 10);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(GatewayError);
    expect(refusal).toMatchObject({ code: "validation", details: { limit: 2 } });
    expect(String(refusal)).toContain("these 4 take 12 bytes, and a page at most 10: ask for 2 at a time");
  });

  it("keeps the order in which its rows were found, without those that went meanwhile", () => {
    expect(inOrder(["c", "a", "b"], [{ id: "a" }, { id: "c" }], ({ id }) => id)).toEqual([{ id: "c" }, { id: "a" }]);
  });
});
