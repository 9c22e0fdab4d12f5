/** What a scope is in SQL, over a column of JSON. Everything from the scope is bound, never written into the statement. */
import { type ExpressionBuilder, type ExpressionWrapper, type RawBuilder, type SqlBool, sql } from "kysely";
import type { JsonObject } from "../core/model.js";
import type { Condition, Scope } from "../core/scope.js";
import { columnContains, type Schema } from "./database.js";

type MetadataColumn = "threads.metadata" | "assistant_versions.metadata" | "crons.metadata";

/** Whether the metadata in `column` is in the scope; always, for one without conditions. */
export function columnInScope(column: MetadataColumn, scope: Scope): RawBuilder<SqlBool> {
  return sql<SqlBool>`${sql.join([sql`true`, ...scope.map((condition) => fulfils(column, condition))], sql` and `)}`;
}

function fulfils(column: MetadataColumn, condition: Condition): RawBuilder<SqlBool> {
  if (condition.kind !== "any") return columnContains(column, wantedBy(condition));
  const ways = condition.of.map((scope) => sql`(${columnInScope(column, scope)})`);
  return sql<SqlBool>`(${sql.join([sql`false`, ...ways], sql` or `)})`;
}

/** The conditions as a containment filter. */
function wantedBy(condition: Exclude<Condition, { kind: "any" }>): JsonObject {
  return { [condition.key]: condition.kind === "equals" ? condition.value : condition.values };
}

/** Whether the thread that a row of `runs` belongs to is in the scope. */
export function runInScope(
  eb: ExpressionBuilder<Schema, "runs">,
  scope: Scope,
): ExpressionWrapper<Schema, "runs", SqlBool> {
  if (scope.length === 0) return eb.and([]);
  const thread = eb
    .selectFrom("threads")
    .select("threads.thread_id")
    .whereRef("threads.thread_id", "=", "runs.thread_id")
    .where(columnInScope("threads.metadata", scope));
  return eb.and([eb.exists(thread)]);
}
