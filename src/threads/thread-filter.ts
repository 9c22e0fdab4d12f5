/**
 * The `filter` of thread search, read: conditions by field, and `$and`, `$or`, `$not` of filters.
 *
 *     { "$or": [{ "metadata.owner": "ada" }, { "metadata.shared": true }], "status": { "$in": ["idle", "error"] },
 *       "metadata.archived": { "$exists": false }, "updated_at": { "$gte": "2026-01-01T00:00:00Z" } }
 *
 * What is not understood is refused, never skipped: a filter may be what separates two users.
 */
import { invalid } from "../core/errors.js";
import { isJsonOperator, operandProblem } from "../core/json-operators.js";
import { type Json, type JsonObject, THREAD_STATUSES } from "../core/model.js";
import { type MemberOperator, THREAD_FILTER_COLUMNS, type ThreadCondition } from "../storage/ports/threads.js";

const MAX_DEPTH = 10;
const MAX_CONDITIONS = 100;

/** Throws `validation`, naming the place, for a filter that cannot be read. */
export function parseThreadFilter(filter: JsonObject): ThreadCondition {
  const reading = { conditions: 0 };
  return readFilter(filter, "filter", { depth: 1, reading });
}

interface Place {
  readonly depth: number;
  /** Of the whole filter. */
  readonly reading: { conditions: number };
}

function readFilter(filter: Json, at: string, place: Place): ThreadCondition {
  if (!isObject(filter)) throw invalid(`${at}: expected an object`);
  if (place.depth > MAX_DEPTH) throw invalid(`${at}: filters inside filters go ${MAX_DEPTH} levels deep at most`);
  const of = Object.entries(filter).map(([name, wanted]) =>
    readMember(name, wanted, { at: `${at}.${name}`, ...place }),
  );
  return allOf(of);
}

function allOf(of: readonly ThreadCondition[]): ThreadCondition {
  const [only, ...more] = of;
  return only !== undefined && more.length === 0 ? only : { kind: "all", of };
}

function readMember(name: string, wanted: Json, { at, ...place }: Place & { readonly at: string }): ThreadCondition {
  const deeper = { ...place, depth: place.depth + 1 };
  switch (name) {
    case "$and":
      return allOf(readFilters(wanted, at, deeper));
    case "$or":
      return { kind: "any", of: readFilters(wanted, at, deeper) };
    case "$not":
      return { kind: "not", of: readFilter(wanted, at, deeper) };
    default:
      return readField(name, wanted, at, place.reading);
  }
}

function readFilters(filters: Json, at: string, place: Place): readonly ThreadCondition[] {
  if (!Array.isArray(filters) || filters.length === 0) throw invalid(`${at}: expected a list of filters`);
  return filters.map((filter: Json, index) => readFilter(filter, `${at}[${index}]`, place));
}

/** An object without operators is an operand itself, as is anything else. */
function readField(name: string, wanted: Json, at: string, reading: Place["reading"]): ThreadCondition {
  const operators = isObject(wanted) ? Object.entries(wanted) : [];
  const asked: readonly (readonly [string, Json])[] = operators.some(([operator]) => operator.startsWith("$"))
    ? operators
    : [["$eq", wanted]];
  const of = asked.map(([operator, operand]) => {
    if (++reading.conditions > MAX_CONDITIONS)
      throw invalid(`${at}: a filter has ${MAX_CONDITIONS} conditions at most`);
    if (!isOperator(operator)) throw invalid(`${at}: unknown operator ${JSON.stringify(operator)}`);
    const problem = problemOf(operator, operand);
    if (problem !== undefined) throw invalid(`${at}.${operator}: ${problem}`);
    return readCondition(name, operator, operand, at);
  });
  return allOf(of);
}

function readCondition(name: string, operator: MemberOperator, operand: Json, at: string): ThreadCondition {
  const column = THREAD_FILTER_COLUMNS.find((known) => known === name);
  if (column !== undefined) {
    if (operator === "$contains") throw invalid(`${at}: ${name} is no object and no list, so nothing is in it`);
    return { kind: "column", column, operator, operand: columnOperand(column, operator, operand, at) };
  }
  const [root, ...path] = name.split(".");
  if ((root !== "metadata" && root !== "values") || path.length === 0 || path.includes("")) {
    const fields = [...THREAD_FILTER_COLUMNS, "metadata.<member>", "values.<member>"].join(", ");
    throw invalid(`${at}: not a field of threads; expected ${fields}`);
  }
  return { kind: "member", root, path, operator, operand };
}

type Column = (typeof THREAD_FILTER_COLUMNS)[number];

function columnOperand(column: Column, operator: MemberOperator, operand: Json, at: string): Json {
  if (operator === "$exists") return operand;
  const read = (value: Json): Json => columnValue(column, value, `${at}.${operator}`);
  return Array.isArray(operand) ? operand.map(read) : read(operand);
}

function columnValue(column: Column, value: Json, at: string): Json {
  if (value === null) return null;
  if (typeof value !== "string") throw invalid(`${at}: expected a text`);
  switch (column) {
    case "thread_id":
      return value;
    case "status":
      if (THREAD_STATUSES.some((status) => status === value)) return value;
      throw invalid(`${at}: expected one of ${THREAD_STATUSES.join(", ")}`);
    default: {
      const time = Date.parse(value);
      if (Number.isNaN(time) || !ISO_DATE.test(value)) throw invalid(`${at}: expected a date as 2026-01-31T12:00:00Z`);
      return time;
    }
  }
}

const ISO_DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/;

function isOperator(name: string): name is MemberOperator {
  return isJsonOperator(name) || name === "$exists" || name === "$contains";
}

function problemOf(operator: MemberOperator, operand: Json): string | undefined {
  if (operator === "$exists") return typeof operand === "boolean" ? undefined : "expected true or false";
  if (operator === "$contains") {
    return typeof operand === "object" && operand !== null ? undefined : "expected an object or a list";
  }
  return operandProblem(operator, operand);
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
