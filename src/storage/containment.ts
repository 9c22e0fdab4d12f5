/** JSON containment with the meaning of PostgreSQL's `@>`, for databases that lack it. */
import type { Json } from "../core/model.js";

/** Whether `value` holds everything that `filter` names: objects by member, arrays as sets, scalars by equality. */
export function jsonContains(value: Json | undefined, filter: Json): boolean {
  if (Array.isArray(filter)) {
    return Array.isArray(value) && filter.every((wanted) => value.some((item) => jsonContains(item, wanted)));
  }
  if (typeof filter === "object" && filter !== null) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const members = value as { readonly [key: string]: Json };
    return Object.entries(filter).every(
      ([key, wanted]) => Object.hasOwn(members, key) && jsonContains(members[key], wanted),
    );
  }
  return value === filter;
}

const MAX_TERM_CHARS = 512;

/**
 * The index terms of an object: one per top-level scalar. What the terms of a filter select is a superset of what it
 * contains, so an exact check follows.
 */
export function indexTerms(object: { readonly [key: string]: Json }): string[] {
  return Object.entries(object)
    .filter(([, value]) => typeof value !== "object" || value === null)
    .map(([key, value]) => `${JSON.stringify(key)}=${JSON.stringify(value)}`.slice(0, MAX_TERM_CHARS));
}
