/**
 * Thread filters as SQL. Names of columns and operators come from tables here; whatever a client wrote is a bound value.
 *
 * A filter is a list of conditions that must all hold. Some are decided by an index (`thread-index.ts`): they can be asked
 * of each thread, or, where they hold for few, be where a search starts. Those that look into states are marked, because a
 * state may be large: a search bounds how many of them it reads.
 */
import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { Json, JsonObject } from "../core/model.js";
import type { Scope } from "../core/scope.js";
import { scalarTerm, termFilter } from "./containment.js";
import { columnContains, type WordIndex } from "./database.js";
import type { ThreadCondition, ThreadFilter } from "./ports/threads.js";
import { columnInScope } from "./scope-sql.js";
import { type IndexedRoot, termIn } from "./thread-index.js";

export interface Conjunct {
  /** Asked of one row of `threads`. */
  readonly holds: RawBuilder<SqlBool>;
  /** Where a search can start instead; null: no index decides it. */
  readonly source: ThreadSource | null;
  /** Whether it looks into states. */
  readonly readsStates: boolean;
}

/** An index that knows exactly the threads for which a condition holds. */
export interface ThreadSource {
  /** The same condition, as where the search starts. */
  readonly isIn: RawBuilder<SqlBool>;
  /** One row for each of them, `limit` at most; with terms a thread may have several. */
  rows(limit: number): RawBuilder<unknown>;
  /** The one term that decides; null where there are several, or none. */
  readonly term: string | null;
}

/** All that must hold for a thread to be found by whoever sees `scope`; the first is that it is not being deleted. */
export function conjunctsOf(
  filter: ThreadFilter,
  { scope, wordIndex }: { readonly scope: Scope; readonly wordIndex: WordIndex },
): readonly Conjunct[] {
  const { status, ids, words, where } = filter;
  return [
    plain(sql<SqlBool>`threads.deleting = 0`),
    ...inScope(scope),
    ...containment("metadata", filter.metadata),
    ...containment("values", filter.values),
    ...(status === undefined ? [] : [plain(sql<SqlBool>`threads.status = ${status}`)]),
    ...(ids === undefined ? [] : [plain(isOneOf("threads.thread_id", ids))]),
    ...(words === undefined || words.length === 0 ? [] : [byWords(wordIndex.query(words))]),
    ...(where === undefined ? [] : parts(where).map(conjunct)),
  ];
}

/** What the index decides is asked of it, too. */
function inScope(scope: Scope): readonly Conjunct[] {
  const others = scope.filter(({ kind }) => kind !== "equals");
  return [
    ...scope.flatMap((each) => (each.kind === "equals" ? containment("metadata", { [each.key]: each.value }) : [])),
    ...(others.length === 0 ? [] : [plain(columnInScope("threads.metadata", others))]),
  ];
}

export function allHold(conjuncts: readonly Conjunct[]): RawBuilder<SqlBool> {
  return every(conjuncts.map(({ holds }) => holds));
}

function plain(holds: RawBuilder<SqlBool>): Conjunct {
  return { holds, source: null, readsStates: false };
}

function byTerms(terms: readonly string[]): Conjunct {
  const wanted = sql`thread_terms.term in (${sql.join(terms)})`;
  return {
    holds: sql<SqlBool>`exists (select 1 from thread_terms
      where thread_terms.thread_id = threads.thread_id and ${wanted})`,
    source: {
      isIn: sql<SqlBool>`threads.thread_id in (select thread_terms.thread_id from thread_terms where ${wanted})`,
      rows: (limit) => sql`select 1 from thread_terms where ${wanted} limit ${limit}`,
      term: terms.length === 1 ? (terms[0] ?? null) : null,
    },
    readsStates: false,
  };
}

function byWords(query: string): Conjunct {
  const found = sql`thread_fts(${query})`;
  return {
    // The index is asked once for all rows: one by one it would go through its list every time.
    holds: sql<SqlBool>`coalesce((select thread_texts.id from thread_texts
      where thread_texts.thread_id = threads.thread_id) in (select rowid from ${found}), false)`,
    source: {
      isIn: sql<SqlBool>`threads.thread_id in (select thread_texts.thread_id from thread_texts where thread_texts.id in
        (select rowid from ${found}))`,
      rows: (limit) => sql`select 1 from ${found} limit ${limit}`,
      term: null,
    },
    readsStates: false,
  };
}

/** The index first; the text itself only for what the terms leave open. */
function containment(root: IndexedRoot, filter: JsonObject | undefined): readonly Conjunct[] {
  if (filter === undefined || Object.keys(filter).length === 0) return [];
  const { terms, exact } = termFilter(filter);
  const indexed = terms.map((term) => byTerms([termIn(root, term)]));
  if (exact) return indexed;
  if (root === "metadata") return [...indexed, plain(columnContains("threads.metadata", filter))];
  const holds = sql<SqlBool>`exists (select 1 from thread_states
    where thread_states.thread_id = threads.thread_id and ${columnContains("thread_states.values", filter)})`;
  return [...indexed, { holds, source: null, readsStates: true }];
}

/** The conditions that a filter consists of: `all` says what a list of them says. */
function parts(condition: ThreadCondition): readonly ThreadCondition[] {
  return condition.kind === "all" ? condition.of.flatMap(parts) : [condition];
}

function conjunct(condition: ThreadCondition): Conjunct {
  const terms = termsOf(condition);
  if (terms !== null) return byTerms(terms);
  return { holds: holds(condition), source: null, readsStates: readsStates(condition) };
}

function readsStates(condition: ThreadCondition): boolean {
  switch (condition.kind) {
    case "all":
    case "any":
      return condition.of.some(readsStates);
    case "not":
      return readsStates(condition.of);
    case "member":
      return condition.root === "values" && termsOf(condition) === null;
    case "column":
      return false;
  }
}

/** The terms of which a thread must have one; null where terms do not decide. */
function termsOf(condition: ThreadCondition): readonly string[] | null {
  if (condition.kind === "any") {
    const all = condition.of.map(termsOf);
    return all.every((terms) => terms !== null) ? all.flat() : null;
  }
  if (condition.kind !== "member") return null;
  const { root, path, operator, operand } = condition;
  const [name, ...rest] = path;
  if (name === undefined || rest.length > 0 || (operator !== "$eq" && operator !== "$in")) return null;
  const wanted = operator === "$in" ? (operand as readonly Json[]) : [operand]; // `$in` was checked to have a list
  const terms = wanted.map((value) => scalarTerm(name, value));
  if (terms.length === 0 || terms.length > MAX_ALTERNATIVES) return null;
  return terms.every((term) => term !== undefined) ? terms.map((term) => termIn(root, term)) : null;
}

/** More would not be looked up any faster than the documents are read. */
const MAX_ALTERNATIVES = 100;

function holds(condition: ThreadCondition): RawBuilder<SqlBool> {
  const terms = termsOf(condition);
  if (terms !== null) return byTerms(terms).holds;
  switch (condition.kind) {
    case "all":
      return every(condition.of.map(holds));
    case "any":
      return sql<SqlBool>`(${sql.join(condition.of.map(holds), sql` or `)})`;
    case "not":
      return sql<SqlBool>`not ${holds(condition.of)}`;
    case "column":
      return columnHolds(condition);
    case "member": {
      const { path, operator, operand } = condition;
      const asked = JSON.stringify({ path, operator, operand });
      return sql<SqlBool>`member_matches(${condition.root === "metadata" ? METADATA : STATE}, ${asked})`;
    }
  }
}

const METADATA = sql`threads.metadata`;
const STATE = sql`(select thread_states."values" from thread_states where thread_states.thread_id = threads.thread_id)`;

function every(conditions: readonly RawBuilder<SqlBool>[]): RawBuilder<SqlBool> {
  return conditions.length === 0 ? sql<SqlBool>`true` : sql<SqlBool>`(${sql.join(conditions, sql` and `)})`;
}

type ColumnCondition = Extract<ThreadCondition, { kind: "column" }>;

/** Never null, so that `not` means the opposite. A date that is missing is before and after nothing. */
function columnHolds({ column, operator, operand }: ColumnCondition): RawBuilder<SqlBool> {
  const name = `threads.${column}`;
  const ref = sql.ref(name);
  switch (operator) {
    case "$exists":
      return operand === true ? sql<SqlBool>`${ref} is not null` : sql<SqlBool>`${ref} is null`;
    case "$eq":
      return sql<SqlBool>`${ref} is not distinct from ${operand}`;
    case "$ne":
      return sql<SqlBool>`${ref} is distinct from ${operand}`;
    case "$in":
      return isOneOf(name, operand as readonly Json[]); // checked to be a list
    case "$nin":
      return sql<SqlBool>`not ${isOneOf(name, operand as readonly Json[])}`;
    default:
      return sql<SqlBool>`(${ref} is not null and ${ref} ${ORDER[operator]} ${operand})`;
  }
}

const ORDER = { $gt: sql`>`, $gte: sql`>=`, $lt: sql`<`, $lte: sql`<=` } as const;

/** Null is one of the values where it is named. */
function isOneOf(column: string, values: readonly Json[]): RawBuilder<SqlBool> {
  const ref = sql.ref(column);
  const known = values.filter((value) => value !== null);
  const named = known.length === 0 ? sql<SqlBool>`false` : sql<SqlBool>`${ref} in (${sql.join(known)})`;
  const isNull = values.length > known.length ? sql<SqlBool>`true` : sql<SqlBool>`false`;
  return sql<SqlBool>`(case when ${ref} is null then ${isNull} else ${named} end)`;
}
