/**
 * What nothing needs any more, besides threads: expired items, events and transitions of runs, idempotency keys. Measured
 * without changing anything, or deleted as the gateway's sweepers do it, in transactions that are short enough for a gateway
 * that writes to the same file.
 */
import { type RawBuilder, type SqlBool, sql } from "kysely";
import type { CommitGroup } from "./commit-group.js";
import { bytesOf, type Database, type Schema } from "./database.js";
import { expireKeys, KEY_LIFE_MS, KEY_SWEEP_ROWS } from "./idempotency-keys.js";
import { ITEM_SWEEP_ROWS, sweepItems } from "./item-queries.js";
import type { Size } from "./ports/checkpoints.js";
import type { RunLedger } from "./ports/ledger.js";
import { AUDIT_LIFE_MS, AUDIT_SWEEP_ROWS, expireAudit } from "./run-audit.js";
import { SWEEP_SEGMENTS } from "./run-ledger.js";

/** Rows of one kind, in the plural. */
export interface Garbage extends Size {
  readonly what: string;
}

interface Moment {
  readonly now: number;
  /** How long a run's events are kept after the last of them was written. */
  readonly ledgerMs: number;
}

interface Sweep {
  readonly commits: CommitGroup;
  readonly ledger: RunLedger;
}

interface Kind {
  readonly what: string;
  readonly table: keyof Schema;
  /** The column that may be long. */
  readonly column: string;
  readonly isOver: RawBuilder<SqlBool>;
  /** Deletes up to `batch` of them; returns how many. */
  readonly sweep: (sweep: Sweep) => Promise<number>;
  readonly batch: number;
}

export async function measureGarbage(database: Database, moment: Moment): Promise<readonly Garbage[]> {
  const found: Garbage[] = [];
  for (const { what, table, column, isOver } of kindsAt(moment)) {
    const { rows } = await sql<Size>`select count(*) as count, coalesce(sum(${bytesOf([column])}), 0) as bytes
      from ${sql.table(table)} where ${isOver}`.execute(database);
    found.push({ what, count: rows[0]?.count ?? 0, bytes: rows[0]?.bytes ?? 0 });
  }
  return found;
}

/** Returns how many went. `pause`: others have the file to themselves. */
export async function deleteGarbage(
  sweep: Sweep,
  { pause, ...moment }: Moment & { readonly pause: () => Promise<void> },
): Promise<readonly Omit<Garbage, "bytes">[]> {
  const done: Omit<Garbage, "bytes">[] = [];
  for (const kind of kindsAt(moment)) {
    let count = 0;
    for (let deleted = kind.batch; deleted === kind.batch; await pause()) {
      deleted = await kind.sweep(sweep);
      count += deleted;
    }
    done.push({ what: kind.what, count });
  }
  return done;
}

function kindsAt({ now, ledgerMs }: Moment): readonly Kind[] {
  const [written, keyed, changed] = [now - ledgerMs, now - KEY_LIFE_MS, now - AUDIT_LIFE_MS];
  return [
    {
      what: "expired items",
      table: "items",
      column: "value",
      isOver: sql`expires_at <= ${now}`,
      sweep: ({ commits }) => commits.run((transaction) => sweepItems({ transaction, now }, ITEM_SWEEP_ROWS)),
      batch: ITEM_SWEEP_ROWS,
    },
    {
      what: "segments of what runs said",
      table: "run_events",
      column: "events",
      isOver: sql`${hasEnded("run_events")} and not exists (
        select 1 from run_events n where n.run_id = run_events.run_id and n.created_at > ${written})`,
      sweep: ({ ledger }) => ledger.expire(written, SWEEP_SEGMENTS),
      batch: SWEEP_SEGMENTS,
    },
    {
      what: "idempotency keys",
      table: "idempotency_keys",
      column: "key",
      isOver: sql`created_at <= ${keyed}`,
      sweep: ({ commits }) => commits.run((transaction) => expireKeys(transaction, keyed)),
      batch: KEY_SWEEP_ROWS,
    },
    {
      what: "transitions of runs",
      table: "run_audit",
      column: "run_id",
      isOver: sql`at <= ${changed} and ${hasEnded("run_audit")}`,
      sweep: ({ commits }) => commits.run((transaction) => expireAudit(transaction, changed)),
      batch: AUDIT_SWEEP_ROWS,
    },
  ];
}

function hasEnded(table: "run_events" | "run_audit"): RawBuilder<SqlBool> {
  return sql`not exists (select 1 from runs r where r.run_id = ${sql.ref(`${table}.run_id`)}
    and r.status in ('pending', 'running'))`;
}
