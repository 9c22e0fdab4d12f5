/**
 * What threads are found by, kept in the transactions that change them: terms, and texts.
 *
 * A term stands for one scalar at the top of the metadata or of the state. Texts are the title and the last words of the
 * conversation; the database makes the full-text index of them itself (migration 010).
 */
import type { Json, JsonObject } from "../core/model.js";
import { indexTerms } from "./containment.js";
import { type Database, wordIndexOf } from "./database.js";
import { lastWords, titleOf } from "./thread-words.js";

export type IndexedRoot = "metadata" | "values";

/** Terms of metadata begin with a quotation mark. */
const OF_STATE = "values.";
/** The character after the period: all that begins with `values.` sorts before it. */
const AFTER_STATE = "values/";

/** A term of `containment.ts` as the index has it. */
export function termIn(root: IndexedRoot, term: string): string {
  return root === "metadata" ? term : OF_STATE + term;
}

/** Brings the index of a thread from its metadata before to those after; null: it had none. */
export async function indexMetadata(
  database: Database,
  threadId: string,
  change: { readonly before: JsonObject | null; readonly after: JsonObject },
): Promise<void> {
  const before = change.before ?? {};
  await replaceTerms(database, threadId, { before: indexTerms(before), after: indexTerms(change.after) });
  if (titleOf(change.after) !== titleOf(before)) await indexTitle(database, threadId, change.after);
}

/** The words of the metadata alone. */
export async function indexTitle(database: Database, threadId: string, metadata: JsonObject): Promise<void> {
  await saveText(database, threadId, { title: titleOf(metadata) });
}

/** The same from its state, which is JSON text or nothing. */
export async function indexValues(database: Database, threadId: string, valuesJson: string | null): Promise<void> {
  const parsed = valuesJson === null ? null : (JSON.parse(valuesJson) as Json);
  const values = typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? (parsed as JsonObject) : {};
  const rows = await database
    .selectFrom("thread_terms")
    .select("term")
    .where("thread_id", "=", threadId)
    .where("term", ">=", OF_STATE)
    .where("term", "<", AFTER_STATE)
    .execute();
  const after = new Set([...indexTerms(values)].map((term) => termIn("values", term)));
  await replaceTerms(database, threadId, { before: new Set(rows.map(({ term }) => term)), after });
  await saveText(database, threadId, { words: lastWords(values) });
}

async function replaceTerms(
  database: Database,
  threadId: string,
  { before, after }: { readonly before: ReadonlySet<string>; readonly after: ReadonlySet<string> },
): Promise<void> {
  for (const terms of chunks([...before].filter((term) => !after.has(term)))) {
    await database.deleteFrom("thread_terms").where("thread_id", "=", threadId).where("term", "in", terms).execute();
  }
  for (const terms of chunks([...after].filter((term) => !before.has(term)))) {
    const rows = terms.map((term) => ({ thread_id: threadId, term }));
    await database.insertInto("thread_terms").values(rows).execute();
  }
}

/** Writes nothing where the text is what it was: the full-text index follows every write. */
async function saveText(
  database: Database,
  threadId: string,
  text: { readonly title: string } | { readonly words: string },
): Promise<void> {
  const [column, said] = "title" in text ? (["title", text.title] as const) : (["words", text.words] as const);
  const value = wordIndexOf(database).stored(said);
  const changed = await database
    .updateTable("thread_texts")
    .set({ [column]: value })
    .where("thread_id", "=", threadId)
    .where(column, "<>", value)
    .executeTakeFirst();
  if (changed.numUpdatedRows > 0n || value === "") return;
  await database
    .insertInto("thread_texts")
    .values({ thread_id: threadId, title: "", words: "", [column]: value })
    .onConflict((conflict) => conflict.column("thread_id").doNothing())
    .execute();
}

const CHUNK_TERMS = 500;

/** Databases limit how many values one statement binds. */
function* chunks(terms: readonly string[]): Generator<readonly string[]> {
  for (let start = 0; start < terms.length; start += CHUNK_TERMS) yield terms.slice(start, start + CHUNK_TERMS);
}
