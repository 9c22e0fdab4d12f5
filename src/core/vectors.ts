/** Vectors of length 1 as single-precision numbers: their similarity is one multiplication per dimension. */

/** The vector in the same direction, a zero vector as it is; undefined where its length is no finite number. */
export function toUnitVector(values: readonly number[] | Float32Array | Float64Array): Float32Array | undefined {
  let squares = 0;
  for (const value of values) squares += value * value;
  const length = Math.sqrt(squares);
  if (!Number.isFinite(length)) return undefined;
  return Float32Array.from(values, (value) => (length === 0 ? 0 : value / length));
}

/** Cosine similarity of unit vectors, between -1 and 1; 0 where one of them is zero. */
export function similarity(a: Float32Array, b: Float32Array): number {
  // Four sums, because each addition would wait for the one before it.
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  const even = a.length - (a.length % 4);
  for (let i = 0; i < even; i += 4) {
    // below their lengths: `i` is a dimension of both
    s0 += (a[i] as number) * (b[i] as number);
    s1 += (a[i + 1] as number) * (b[i + 1] as number);
    s2 += (a[i + 2] as number) * (b[i + 2] as number);
    s3 += (a[i + 3] as number) * (b[i + 3] as number);
  }
  for (let i = even; i < a.length; i++) s0 += (a[i] as number) * (b[i] as number);
  return s0 + s1 + s2 + s3;
}

/** Little-endian, so that a file can move to another machine. */
export function encodeVector(vector: Float32Array): Buffer {
  const bytes = Buffer.allocUnsafe(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes;
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Without a copy where the machine and the place of the bytes allow it. */
export function decodeVector(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  if (IS_LITTLE_ENDIAN && byteOffset % 4 === 0) return new Float32Array(buffer, byteOffset, byteLength / 4);
  const view = new DataView(buffer, byteOffset, byteLength);
  return Float32Array.from({ length: byteLength / 4 }, (_, index) => view.getFloat32(index * 4, true));
}
