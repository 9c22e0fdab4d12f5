/** Conditions on one member of a JSON document, as thread filters have them. */
import { isJsonOperator, JSON_OPERATORS } from "../core/json-operators.js";
import type { Json, JsonObject } from "../core/model.js";
import { jsonContains } from "./containment.js";
import type { MemberOperator } from "./ports/threads.js";

interface MemberCondition {
  /** Names of members, from the top. */
  readonly path: readonly string[];
  readonly operator: MemberOperator;
  readonly operand: Json;
}

function meetsCondition(document: Json, { path, operator, operand }: MemberCondition): boolean {
  const member = memberAt(document, path);
  if (operator === "$exists") return (member !== undefined) === operand;
  if (operator === "$contains") return member !== undefined && jsonContains(member, operand);
  return isJsonOperator(operator) && JSON_OPERATORS[operator](member, operand);
}

/** The SQL function `member_matches(document, condition)`, both as JSON text: 1 or 0. A document that is null has no member. */
export function createMemberMatcher(): (document: unknown, condition: unknown) => number {
  const parseDocument = rememberLast((text) => JSON.parse(text) as Json); // a filter asks a document several things
  const conditions = new Map<string, MemberCondition>();
  return (document, condition) => {
    const text = String(condition);
    let parsed = conditions.get(text);
    if (parsed === undefined) {
      parsed = JSON.parse(text) as MemberCondition; // written by `thread-where.ts`
      if (conditions.size >= MAX_CONDITIONS) conditions.clear();
      conditions.set(text, parsed);
    }
    return meetsCondition(document === null ? {} : parseDocument(String(document)), parsed) ? 1 : 0;
  };
}

const MAX_CONDITIONS = 100;

function memberAt(document: Json, path: readonly string[]): Json | undefined {
  let found: Json | undefined = document;
  for (const name of path) {
    if (typeof found !== "object" || found === null || Array.isArray(found) || !Object.hasOwn(found, name)) {
      return undefined;
    }
    found = (found as JsonObject)[name];
  }
  return found;
}

/** The result for the last text that was asked for. */
export function rememberLast<T>(compute: (text: string) => T): (text: string) => T {
  let last: { readonly text: string; readonly value: T } | undefined;
  return (text) => {
    if (last?.text !== text) last = { text, value: compute(text) };
    return last.value;
  };
}
