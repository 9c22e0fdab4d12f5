/** The words that a thread is found by: its title, and what was said last in it. Bounded, as lists show no more either. */
import type { Json, JsonObject } from "../core/model.js";

/** Where programs keep the title of a thread, in its metadata or in its state. */
const TITLES = ["title", "name", "thread_name"];
const MAX_TITLE_CHARS = 500;
/** Of the newest messages, as long as they have room. */
const MAX_WORDS_CHARS = 4_000;
const MAX_MESSAGES = 10;

export function titleOf(object: JsonObject): string {
  const titles = TITLES.flatMap((name) => {
    const title = Object.hasOwn(object, name) ? object[name] : undefined;
    return typeof title === "string" ? [storable(title.slice(0, MAX_TITLE_CHARS))] : [];
  });
  return titles.join("\n");
}

/** The title that the state has, and the texts of its last messages, the newest first. */
export function lastWords(values: JsonObject): string {
  const messages = Object.hasOwn(values, "messages") ? values.messages : undefined;
  const texts = [titleOf(values)];
  let room = MAX_WORDS_CHARS;
  for (const message of (Array.isArray(messages) ? messages : []).slice(-MAX_MESSAGES).reverse()) {
    if (room <= 0) break;
    const text = textOf(message).slice(0, room);
    room -= text.length;
    texts.push(storable(text));
  }
  return texts.filter((text) => text !== "").join("\n");
}

/** A message's content is a text, or a list of blocks of which some are texts. */
function textOf(message: Json): string {
  const content = memberOf(message, "content");
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  const texts = content.map((block) => (typeof block === "string" ? block : memberOf(block, "text")));
  return texts.filter((text) => typeof text === "string").join("\n");
}

function memberOf(value: Json | undefined, name: string): Json | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, name) ? (value as JsonObject)[name] : undefined;
}

/** No database keeps NUL and halves of surrogate pairs in a text, and nobody looks for them. */
function storable(text: string): string {
  return text.replaceAll(/[\0\p{Cs}]/gu, " ");
}
