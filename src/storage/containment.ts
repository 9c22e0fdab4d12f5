/** JSON containment with the meaning of PostgreSQL's `@>`, for databases that lack it. */
import type { Json, JsonObject } from "../core/model.js";

/** Whether `value` holds everything that `filter` names: objects by member, arrays as sets, scalars by equality. */
export function jsonContains(value: Json | undefined, filter: Json): boolean {
  if (typeof filter !== "object" || filter === null) return value === filter;
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(filter)) {
    if (!Array.isArray(value)) return false;
    for (const wanted of filter) if (!holds(value, wanted)) return false;
    return true;
  }
  if (Array.isArray(value)) return false;
  const members = value as JsonObject; // neither null nor an array
  for (const [key, wanted] of Object.entries(filter)) {
    if (!Object.hasOwn(members, key) || !jsonContains(members[key], wanted)) return false;
  }
  return true;
}

function holds(items: readonly Json[], wanted: Json): boolean {
  for (const item of items) if (jsonContains(item, wanted)) return true;
  return false;
}

const MAX_TERM_CHARS = 512;
/** More terms would not narrow a search any further, and every one is a subquery. */
const MAX_FILTER_TERMS = 8;

/** The index terms of an object: one per top-level scalar, without repetition. */
export function indexTerms(object: JsonObject): Set<string> {
  const scalars = Object.entries(object).filter(([, value]) => isScalar(value));
  return new Set(scalars.map(([key, value]) => termOf(key, value).slice(0, MAX_TERM_CHARS)));
}

/** The term that exactly the objects have whose member `key` is `value`; undefined where no term says so. */
export function scalarTerm(key: string, value: Json): string | undefined {
  if (!isScalar(value)) return undefined;
  const term = termOf(key, value);
  return term.length < MAX_TERM_CHARS ? term : undefined;
}

/** How a containment filter uses the terms. */
interface TermFilter {
  /** Every match has all of these. */
  readonly terms: readonly string[];
  /** Whether having them is a match already; an exact check must follow otherwise. */
  readonly exact: boolean;
}

export function termFilter(filter: JsonObject): TermFilter {
  const terms = [...indexTerms(filter)].slice(0, MAX_FILTER_TERMS);
  const whole = terms.length === Object.keys(filter).length;
  return { terms, exact: whole && terms.every((term) => term.length < MAX_TERM_CHARS) };
}

function isScalar(value: Json): boolean {
  return typeof value !== "object" || value === null;
}

/** JSON escapes NUL and lone surrogates, so that every database can hold the term. Its first `MAX_TERM_CHARS` are exact. */
function termOf(key: string, value: Json): string {
  return `${JSON.stringify(beginning(key))}=${JSON.stringify(typeof value === "string" ? beginning(value) : value)}`;
}

/** Two more characters than a term keeps: the last may be half of a pair, which is written as another. */
function beginning(text: string): string {
  return text.length <= MAX_TERM_CHARS + 2 ? text : text.slice(0, MAX_TERM_CHARS + 2);
}
