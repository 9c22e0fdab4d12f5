/**
 * Filters on the top-level members of an item's value, with LangGraph's operators.
 *
 * A plain operand is one of `$eq`. What is not understood is refused, never skipped: a filter may be what separates two users.
 */
import { invalid } from "../core/errors.js";
import { toPlain } from "../core/json.js";
import { isJsonOperator, JSON_OPERATORS, type JsonOperator, operandProblem } from "../core/json-operators.js";
import type { Json, JsonObject } from "../core/model.js";

/** `[member, operator, operand]`, all of which must hold. */
export type ItemCondition = readonly [member: string, operator: JsonOperator, operand: Json];

/** Throws a validation error that names what is not understood. */
export function parseItemFilter(filter: unknown): readonly ItemCondition[] {
  if (filter === undefined || filter === null) return [];
  if (!isPlainObject(filter)) throw invalid("filter: expected an object");
  return Object.entries(filter).flatMap(([member, wanted]) => parseMember(member, wanted));
}

/** Whether an item's value meets all conditions. */
export function meetsConditions(value: JsonObject, conditions: readonly ItemCondition[]): boolean {
  return conditions.every(([member, operator, operand]) =>
    JSON_OPERATORS[operator](Object.hasOwn(value, member) ? value[member] : undefined, operand),
  );
}

/** The SQL function `item_matches(value, conditions)`, both as JSON text: 1 or 0. */
export function createItemMatcher(): (value: unknown, conditions: unknown) => number {
  let text: string | undefined;
  let parsed: readonly ItemCondition[] = [];
  return (value, conditions) => {
    if (conditions !== text) {
      text = String(conditions); // the same for every row of a query: parsed once
      parsed = JSON.parse(text) as readonly ItemCondition[]; // written by parseItemFilter
    }
    return meetsConditions(JSON.parse(String(value)) as JsonObject, parsed) ? 1 : 0;
  };
}

function parseMember(member: string, wanted: unknown): readonly ItemCondition[] {
  const at = `filter.${member}`;
  if (!isPlainObject(wanted)) return [[member, "$eq", operandOf(at, wanted)]];
  const keys = Object.keys(wanted);
  if (!keys.some((key) => key.startsWith("$"))) return [[member, "$eq", operandOf(at, wanted)]];
  return keys.map((key) => {
    if (!isJsonOperator(key)) throw invalid(`${at}: unknown operator ${JSON.stringify(key)}`);
    const operand = operandOf(`${at}.${key}`, wanted[key]);
    const problem = operandProblem(key, operand);
    if (problem !== undefined) throw invalid(`${at}.${key}: ${problem}`);
    return [member, key, operand];
  });
}

function operandOf(at: string, operand: unknown): Json {
  if (operand === undefined || typeof operand === "function" || typeof operand === "symbol") {
    throw invalid(`${at}: expected a JSON value, got ${typeof operand}`);
  }
  return toPlain(operand);
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
