/**
 * Embeddings without a model, to try search by meaning offline: texts are near each other when they have words in common.
 *
 *     store: { index: { embed: ./examples/embeddings/words.ts:embed, dims: 512 } }
 */
const DIMS = 512;

/** A vector for each text, as `store.index.embed` wants it: how often each word, or its beginning, occurs. */
export async function embed(texts: string[]): Promise<number[][]> {
  return texts.map((text) => {
    const vector = new Array<number>(DIMS).fill(0);
    for (const word of text.toLowerCase().match(/\p{L}+/gu) ?? []) {
      for (const part of new Set([word, word.slice(0, 4)])) {
        const place = placeOf(part);
        vector[place] = (vector[place] ?? 0) + 1;
      }
    }
    return vector;
  });
}

/** FNV-1a: any word has a place, and always the same. */
function placeOf(word: string): number {
  let hash = 0x811c9dc5;
  for (const char of word) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return (hash >>> 0) % DIMS;
}
