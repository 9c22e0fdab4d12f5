/**
 * Pages are limited in bytes as well as in rows: a row is as large as clients and graphs make it, so a thousand of them can
 * be more than a string, or the process, can hold. What a page takes is measured before any of it is read.
 */
import { invalid } from "./errors.js";

/** How many of the first rows take `maxBytes` together at most; the first one passes whatever it takes. */
export function fittingRows(sizes: readonly number[], maxBytes: number): number {
  let bytes = 0;
  const tooMany = sizes.findIndex((size, index) => {
    bytes += size;
    return index > 0 && bytes > maxBytes;
  });
  return tooMany === -1 ? sizes.length : tooMany;
}

/**
 * Throws `validation`, with the `limit` that fits, for a page that takes more. Never a shorter page: whoever goes on by
 * the limit that was asked for would pass over the rest and not know.
 */
export function requirePageFits(sizes: readonly number[], maxBytes: number): void {
  const limit = fittingRows(sizes, maxBytes);
  if (limit === sizes.length) return;
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const message = `these ${sizes.length} take ${bytes} bytes, and a page at most ${maxBytes}: ask for ${limit} at a time`;
  throw invalid(message, { limit });
}

/** The rows in the order of their keys; a key without a row was deleted meanwhile. */
export function inOrder<Key, Row>(
  keys: readonly Key[],
  rows: readonly Row[],
  keyOf: (row: Row) => Key,
): readonly Row[] {
  const byKey = new Map(rows.map((row) => [keyOf(row), row]));
  return keys.flatMap((key) => byKey.get(key) ?? []);
}
