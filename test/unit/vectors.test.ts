import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeVector, encodeVector, similarity, toUnitVector } from "../../src/core/vectors.js";

const coordinate = fc.double({ min: -1e6, max: 1e6, noNaN: true });
const pair = fc.integer({ min: 1, max: 9 }).chain((length) => {
  const vector = fc.array(coordinate, { minLength: length, maxLength: length });
  return fc.tuple(vector, vector);
});

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
  const lengths = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}

const unit = (values: readonly number[]) => toUnitVector(values) ?? new Float32Array();

describe("a unit vector", () => {
  it("has the cosine similarity of what it was made of", () => {
    fc.assert(
      fc.property(pair, ([a, b]) => {
        expect(similarity(unit(a), unit(b))).toBeCloseTo(cosine(a, b), 5);
      }),
    );
  });

  it("is zero where it was made of zeros, and like nothing", () => {
    expect(toUnitVector([0, 0])).toEqual(new Float32Array([0, 0]));
    expect(similarity(unit([0, 0]), unit([1, 0]))).toBe(0);
  });

  it.each([[[Number.NaN]], [[Number.POSITIVE_INFINITY, 1]], [[1e200, 1e200]]])("is not made of %j", (values) => {
    expect(toUnitVector(values)).toBeUndefined();
  });

  it("comes back from its bytes, wherever they lie", () => {
    const vector = unit([1, -2, 3.5]);
    const bytes = encodeVector(vector);
    expect(bytes).toHaveLength(12);
    for (const offset of [0, 1, 4]) {
      const moved = Buffer.concat([Buffer.alloc(offset), bytes]).subarray(offset);
      expect(decodeVector(moved)).toEqual(vector);
    }
  });
});
