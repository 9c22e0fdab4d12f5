/** Plain data, as it is found in parsed JSON. */
import type { Json, JsonObject } from "../core/model.js";

/** A block of a message's content. */
export type ContentBlock = JsonObject & { readonly type: string };

/** Parses to an object; undefined for all else, malformed text included. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text) as Json; // what JSON holds is of this type
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The objects of a list; none of what is no list. */
export function objectsIn(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** A string that is not empty. */
export function textIn(value: Json | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
