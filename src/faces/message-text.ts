/** The words of messages, as the state of a graph and its stream hold them. */
import type { Json, JsonObject } from "../core/model.js";
import { partsOf } from "../protocol/chunk-parts.js";
import { objectsIn } from "../protocol/json-object.js";

/** All that a message says as text; blocks that follow each other are one text. */
export function textOf(message: JsonObject): string {
  return partsOf(message)
    .map(({ block }) => (typeof block.text === "string" ? block.text : ""))
    .join("");
}

/** The messages of a state; none where it has no list of them. */
export function messagesIn(values: Json): readonly JsonObject[] {
  return typeof values === "object" && values !== null && "messages" in values ? objectsIn(values.messages) : [];
}

/** The ids of the messages of a state. */
export function messageIds(values: Json): ReadonlySet<Json> {
  return new Set(messagesIn(values).flatMap(({ id }) => (id === undefined ? [] : [id])));
}

/** What the model said last: its messages after everything that people said, without those that are known. */
export function closingWords(values: Json, known: ReadonlySet<Json>): readonly string[] {
  const messages = messagesIn(values);
  const lastHuman = messages.map(({ type }) => type).lastIndexOf("human");
  return messages
    .slice(lastHuman + 1)
    .filter(({ type, id }) => (type === "ai" || type === "AIMessageChunk") && !known.has(id ?? null))
    .map(textOf)
    .filter((text) => text !== "");
}
