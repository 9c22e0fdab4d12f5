/** The conditions that statements about items share, each for a statement that reads or writes `items`. */
import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { Moment } from "./database.js";
import type { ItemCondition } from "./item-filter.js";
import type { NamespaceRange } from "./item-namespace.js";
import type { ItemAddress } from "./item-operation.js";

type Condition = RawBuilder<SqlBool>;

export function at({ namespace, key }: ItemAddress): Condition {
  return sql<SqlBool>`items.namespace = ${namespace} and items.key = ${key}`;
}

export function isWithin(table: "items" | "item_vectors", { from, to }: NamespaceRange): Condition {
  const namespace = sql.ref(`${table}.namespace`);
  const bounds = [
    ...(from === null ? [] : [sql`${namespace} >= ${from}`]),
    ...(to === null ? [] : [sql`${namespace} < ${to}`]),
  ];
  return bounds.length === 0 ? sql<SqlBool>`true` : sql<SqlBool>`${sql.join(bounds, sql` and `)}`;
}

/** Not expired. */
export function isLive(now: Moment): Condition {
  return sql<SqlBool>`(items.expires_at is null or items.expires_at > ${now})`;
}

/** Its value meets all of the filter. */
export function meets(conditions: readonly ItemCondition[]): Condition {
  if (conditions.length === 0) return sql<SqlBool>`true`;
  return sql<SqlBool>`item_matches(items.value, ${JSON.stringify(conditions)})`;
}
