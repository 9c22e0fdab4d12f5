/**
 * From what an auth handler returned to a scope, failing closed: what is not plainly a permission, a refusal or a filter is
 * an error of the handler, and nothing is done. `$in`, an empty object or a value of `undefined` would otherwise let through
 * what their author meant to keep out.
 */
import { GatewayError } from "../core/errors.js";
import { type Condition, EVERYTHING, type Scope } from "../core/scope.js";

/** Nothing and true allow everything, false refuses, an object is a filter. Throws for anything else. */
export function toScope(result: unknown, where: string): Scope {
  if (result === undefined || result === null || result === true) return EVERYTHING;
  if (result === false) throw new GatewayError("forbidden", "not authorized");
  return conditionsOf(result, where);
}

function conditionsOf(filter: unknown, where: string): Scope {
  const members = membersOf(filter, where);
  if (members.length === 0) throw bad(where, "an empty filter");
  return members.flatMap(([key, wanted]) => {
    if (key === "$and") return listOf(wanted, where).flatMap((each) => conditionsOf(each, where));
    if (key === "$or") return [{ kind: "any", of: listOf(wanted, where).map((each) => conditionsOf(each, where)) }];
    if (key.startsWith("$")) throw bad(where, `the operator ${JSON.stringify(key)}`);
    return conditionsOn(key, wanted, where);
  });
}

function conditionsOn(key: string, wanted: unknown, where: string): readonly Condition[] {
  if (isScalar(wanted)) return [{ kind: "equals", key, value: wanted }];
  const members = membersOf(wanted, where);
  if (members.length === 0) throw bad(where, `nothing to compare ${JSON.stringify(key)} with`);
  return members.map(([operator, value]): Condition => {
    if (operator === "$eq" && isScalar(value)) return { kind: "equals", key, value };
    if (operator === "$contains") {
      const values = isScalar(value) ? [value] : listOf(value, where);
      if (values.every(isScalar)) return { kind: "contains", key, values };
    }
    throw bad(where, `${JSON.stringify(key)} with ${JSON.stringify({ [operator]: value })}`);
  });
}

function membersOf(value: unknown, where: string): readonly [string, unknown][] {
  const prototype: unknown = typeof value === "object" && value !== null ? Object.getPrototypeOf(value) : undefined;
  if (prototype !== Object.prototype && prototype !== null) throw bad(where, String(JSON.stringify(value)));
  return Object.entries(value as object); // its prototype says so
}

function listOf(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw bad(where, String(JSON.stringify(value)));
  return value;
}

function isScalar(value: unknown): value is string | number | boolean {
  return (
    typeof value === "string" || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))
  );
}

function bad(where: string, what: string): Error {
  return new Error(`auth: the handler of ${where} returned ${what}: expected a boolean, nothing, or a filter`);
}
