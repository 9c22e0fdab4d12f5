/**
 * Tokens that bring nothing but text, which are nearly all: told without parsing them, because each differs from one that
 * was parsed in its text only.
 */
import type { Json, JsonObject } from "../core/model.js";
import { textIn } from "./json-object.js";
import type { MessageSource, MessageTuple } from "./message-tuple.js";
import { createRecent, endsWith } from "./recent.js";

export interface TextToken {
  readonly id: string;
  readonly source: MessageSource;
  readonly text: string;
}

export interface TokenReader {
  /** Undefined for what has to be parsed. */
  read(data: string): TextToken | undefined;
  /** Takes note of what was parsed. */
  learn(tuple: MessageTuple, data: string): void;
}

export function createTokenReader(): TokenReader {
  const seen = createRecent<{ readonly tail: string; readonly id: string; readonly source: MessageSource }>();

  return {
    read(data) {
      if (!data.startsWith(HEAD)) return undefined;
      const known = seen.find(({ tail }) => endsWith(data, tail));
      const text = known === undefined ? undefined : textBefore(data, known.tail);
      return known === undefined || text === undefined ? undefined : { id: known.id, source: known.source, text };
    },

    learn({ message, source }, data) {
      const id = textIn(message.id);
      const tail = tailOf(message, data);
      if (id === undefined || tail === undefined || seen.find((known) => known.tail === tail) !== undefined) return;
      seen.add({ tail, id, source });
    },
  };
}

const HEAD = '[{"type":"AIMessageChunk","content":"';

/** What follows the text; undefined when the token brings more. */
function tailOf(message: JsonObject, data: string): string | undefined {
  if (!data.startsWith(HEAD) || !Object.entries(message).every(isSilent)) return undefined;
  const inside = /[^"\\]*(?:\\.[^"\\]*)*/y;
  inside.lastIndex = HEAD.length;
  return inside.test(data) ? data.slice(inside.lastIndex) : undefined;
}

/** What a token says of its model is said again by each. */
function isSilent([name, value]: readonly [string, Json]): boolean {
  if (name === "content" || name === "response_metadata") return true;
  return typeof value !== "object" || value === null || Object.keys(value).length === 0;
}

/** Undefined when there is more than a text. */
function textBefore(data: string, tail: string): string | undefined {
  const end = data.length - tail.length;
  if (end < HEAD.length) return undefined;
  const text = data.slice(HEAD.length, end);
  if (!text.includes('"') && !text.includes("\\")) return text;
  try {
    return JSON.parse(`"${text}"`) as string; // what is between quotes is a string
  } catch {
    return undefined;
  }
}
