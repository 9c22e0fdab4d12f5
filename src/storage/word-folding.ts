/**
 * The words of a text as SQLite's full-text search sees them, made by SQLite itself in a database in memory: so that
 * threads are found by the same words whatever database they are in.
 */
import type { WordIndex } from "./database.js";
import { LEXEME_CHARS } from "./postgres-functions.js";
import { openSqlite } from "./sqlite.js";

export interface WordFolding extends WordIndex {
  close(): void;
}

export function openWordFolding(): WordFolding {
  const connection = openSqlite(":memory:", "NORMAL");
  connection.exec(`CREATE VIRTUAL TABLE texts USING fts5(text, content='', tokenize="unicode61 remove_diacritics 2")`);
  connection.exec("CREATE VIRTUAL TABLE words USING fts5vocab(texts, instance)");
  const put = connection.prepare("INSERT INTO texts (rowid, text) VALUES (1, ?)");
  const read = connection.prepare<[], string>("SELECT term FROM words ORDER BY offset").pluck();
  const clear = connection.prepare("INSERT INTO texts (texts) VALUES ('delete-all')");

  function wordsOf(text: string): readonly string[] {
    if (text === "") return [];
    put.run(text);
    const words = read.all();
    clear.run();
    return words;
  }

  return {
    stored: (text) => asText(wordsOf(text)),
    query(words) {
      const phrases = words.map((word) => wordsOf(word.replaceAll("\0", " "))).filter((phrase) => phrase.length > 0);
      const lexemes = phrases.map((phrase) =>
        phrase.map((word, at) => lexeme(word, at === phrase.length - 1)).join(" & "),
      );
      return JSON.stringify({ lexemes: lexemes.join(" & "), phrases: phrases.map(asText) });
    },
    close: () => connection.close(),
  };
}

/** Every word behind a blank: what begins a word, and no other part of one, is found behind a blank, too. */
function asText(words: readonly string[]): string {
  return words.map((word) => ` ${word}`).join("");
}

/** The last word of a phrase is the beginning of one. Words are letters and digits, so that nothing in one is an operator. */
function lexeme(word: string, isLast: boolean): string {
  const characters = [...word];
  const isCut = characters.length > LEXEME_CHARS;
  return `'${characters.slice(0, LEXEME_CHARS).join("")}'${isLast || isCut ? ":*" : ""}`;
}
