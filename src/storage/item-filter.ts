/**
 * Filters on the top-level members of an item's value, with LangGraph's operators.
 *
 * - A plain operand, `$eq` and `$ne` compare whole JSON values, objects and lists by content. A missing member equals
 *   nothing, not even null.
 * - `$gt`, `$gte`, `$lt`, `$lte` order numbers with numbers and strings with strings; any other pair does not match.
 * - `$in`, `$nin` look for the member in a list.
 *
 * What is not understood is refused, never skipped: a filter may be what separates two users.
 */
import { invalid } from "../core/errors.js";
import { toPlain } from "../core/json.js";
import type { Json, JsonObject } from "../core/model.js";

const OPERATORS = {
  $eq: (member, operand) => member !== undefined && jsonEquals(member, operand),
  $ne: (member, operand) => member === undefined || !jsonEquals(member, operand),
  $gt: (member, operand) => compare(member, operand, (order) => order > 0),
  $gte: (member, operand) => compare(member, operand, (order) => order >= 0),
  $lt: (member, operand) => compare(member, operand, (order) => order < 0),
  $lte: (member, operand) => compare(member, operand, (order) => order <= 0),
  $in: (member, operand) => isListWith(operand, member),
  $nin: (member, operand) => !isListWith(operand, member),
} as const satisfies Record<string, (member: Json | undefined, operand: Json) => boolean>;

type Operator = keyof typeof OPERATORS;

const ORDERING: readonly string[] = ["$gt", "$gte", "$lt", "$lte"];
const LISTING: readonly string[] = ["$in", "$nin"];

/** `[member, operator, operand]`, all of which must hold. */
export type ItemCondition = readonly [member: string, operator: Operator, operand: Json];

/** Throws a validation error that names what is not understood. */
export function parseItemFilter(filter: unknown): readonly ItemCondition[] {
  if (filter === undefined || filter === null) return [];
  if (!isPlainObject(filter)) throw invalid("filter: expected an object");
  return Object.entries(filter).flatMap(([member, wanted]) => parseMember(member, wanted));
}

/** Whether an item's value meets all conditions. */
export function meetsConditions(value: JsonObject, conditions: readonly ItemCondition[]): boolean {
  return conditions.every(([member, operator, operand]) =>
    OPERATORS[operator](Object.hasOwn(value, member) ? value[member] : undefined, operand),
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
    if (!isOperator(key)) throw invalid(`${at}: unknown operator ${JSON.stringify(key)}`);
    const operand = operandOf(`${at}.${key}`, wanted[key]);
    if (ORDERING.includes(key) && typeof operand !== "number" && typeof operand !== "string") {
      throw invalid(`${at}.${key}: expected a number or a string`);
    }
    if (LISTING.includes(key) && !Array.isArray(operand)) throw invalid(`${at}.${key}: expected a list`);
    return [member, key, operand];
  });
}

function operandOf(at: string, operand: unknown): Json {
  if (operand === undefined || typeof operand === "function" || typeof operand === "symbol") {
    throw invalid(`${at}: expected a JSON value, got ${typeof operand}`);
  }
  return toPlain(operand);
}

function isOperator(key: string): key is Operator {
  return Object.hasOwn(OPERATORS, key);
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function compare(left: Json | undefined, right: Json, holds: (order: number) => boolean): boolean {
  const ordered =
    (typeof left === "number" && typeof right === "number") || (typeof left === "string" && typeof right === "string");
  return ordered && holds(left < right ? -1 : left > right ? 1 : 0);
}

function isListWith(list: Json, member: Json | undefined): boolean {
  return member !== undefined && Array.isArray(list) && list.some((item) => jsonEquals(item, member));
}

function jsonEquals(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left) || Array.isArray(right)) {
    if (!Array.isArray(left) || !Array.isArray(right) || left.length !== right.length) return false;
    return left.every((item, index) => jsonEquals(item, right[index]));
  }
  const [a, b] = [left as JsonObject, right as JsonObject];
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && jsonEquals(a[key], b[key]))
  );
}
