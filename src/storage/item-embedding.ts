/** The vectors that a batch of operations needs, made before anything of it is done. */
import type { EmbedPurpose, EmbedTexts } from "../core/items.js";
import type { ItemOperation } from "./item-operation.js";

/** The vectors of texts: of what is put, and of what is asked for. */
export interface Embedded {
  readonly documents: ReadonlyMap<string, Float32Array>;
  readonly queries: ReadonlyMap<string, Float32Array>;
}

/** Models take many texts at once, but not any number. */
const TEXTS_AT_ONCE = 500;

/** null where no operation has a text; each text is embedded once. */
export function embedOperations(operations: readonly ItemOperation[], embed: EmbedTexts): Promise<Embedded> | null {
  const documents = new Set(
    operations.flatMap((operation) => (operation.kind === "put" ? (operation.texts ?? []) : [])),
  );
  const queries = new Set(
    operations.flatMap((operation) => (operation.kind === "search" ? (operation.query ?? []) : [])),
  );
  if (documents.size + queries.size === 0) return null;
  return Promise.all([embedAll([...documents], "documents", embed), embedAll([...queries], "query", embed)]).then(
    ([ofDocuments, ofQueries]) => ({ documents: ofDocuments, queries: ofQueries }),
  );
}

/** The vector of each text. */
export async function embedAll(
  texts: readonly string[],
  purpose: EmbedPurpose,
  embed: EmbedTexts,
): Promise<ReadonlyMap<string, Float32Array>> {
  const vectors = new Map<string, Float32Array>();
  for (let start = 0; start < texts.length; start += TEXTS_AT_ONCE) {
    const some = texts.slice(start, start + TEXTS_AT_ONCE);
    const made = await embed(some, purpose);
    for (const [index, text] of some.entries()) vectors.set(text, vectorAt(made, index));
  }
  return vectors;
}

function vectorAt(vectors: readonly Float32Array[], index: number): Float32Array {
  const vector = vectors[index];
  if (vector === undefined) throw new Error("an embedding is missing"); // `EmbedTexts` promises one for each text
  return vector;
}

/** The vectors of these texts, in their order. */
export function vectorsOf(
  texts: readonly string[],
  vectors: ReadonlyMap<string, Float32Array> | undefined,
): readonly Float32Array[] {
  return texts.map((text) => {
    const vector = vectors?.get(text);
    if (vector === undefined) throw new Error("a text was not embedded"); // `embedOperations` takes all texts
    return vector;
  });
}
