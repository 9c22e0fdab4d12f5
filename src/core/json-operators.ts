/**
 * The comparisons of filters, with LangGraph's operators.
 *
 * - `$eq` and `$ne` compare whole JSON values, objects and lists by content. A missing member equals nothing, not even null.
 * - `$gt`, `$gte`, `$lt`, `$lte` order numbers with numbers and strings with strings; any other pair does not match.
 * - `$in`, `$nin` look for the member in a list.
 */
import type { Json, JsonObject } from "./model.js";

export const JSON_OPERATORS = {
  $eq: (member, operand) => member !== undefined && jsonEquals(member, operand),
  $ne: (member, operand) => member === undefined || !jsonEquals(member, operand),
  $gt: (member, operand) => compare(member, operand, (order) => order > 0),
  $gte: (member, operand) => compare(member, operand, (order) => order >= 0),
  $lt: (member, operand) => compare(member, operand, (order) => order < 0),
  $lte: (member, operand) => compare(member, operand, (order) => order <= 0),
  $in: (member, operand) => isListWith(operand, member),
  $nin: (member, operand) => !isListWith(operand, member),
} as const satisfies Record<string, (member: Json | undefined, operand: Json) => boolean>;

export type JsonOperator = keyof typeof JSON_OPERATORS;

const ORDERING: readonly string[] = ["$gt", "$gte", "$lt", "$lte"];
const LISTING: readonly string[] = ["$in", "$nin"];

export function isJsonOperator(name: string): name is JsonOperator {
  return Object.hasOwn(JSON_OPERATORS, name);
}

/** What is wrong with an operator's operand, in words; undefined when nothing is. */
export function operandProblem(operator: JsonOperator, operand: Json): string | undefined {
  if (ORDERING.includes(operator) && typeof operand !== "number" && typeof operand !== "string") {
    return "expected a number or a string";
  }
  return LISTING.includes(operator) && !Array.isArray(operand) ? "expected a list" : undefined;
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
