/**
 * What is done with checkpoints in several statements, written once for every database.
 *
 * A program yields its statements and gets their answers. SQLite runs it in one go, with no other code in between; a server
 * is asked statement by statement. Either way what changes something is one transaction.
 */
import type { Statement } from "better-sqlite3";
import { inTransaction, type SqliteDatabase } from "./sqlite.js";

/** Where the statements differ by database. */
export interface Dialect {
  readonly checkpoints: string;
  readonly values: string;
  readonly writes: string;
  /** Grows with each checkpoint, and each write, in the order in which they were written. */
  readonly order: string;
  /** Of the metadata of a checkpoint: LangGraph's step and source. */
  readonly step: string;
  readonly source: string;
  /** JSON object: the checkpoints under which it was written, by namespace. */
  readonly parents: string;
  /** The one of them at the root. */
  readonly rootId: string;
  /** Whether `@id` in the namespace `@ns` is one of them. */
  readonly isUnderParent: string;
  /** Rows with the `key`s of its channels that are stored as deltas. */
  readonly deltaChannels: string;
  /** Rows with the `key`s and `value`s of its channels. */
  readonly channelRefs: string;
  /** JSON array of the `key`s. */
  readonly channelNames: string;
  /** Rows whose `value` is an element of the JSON array `@kept`. */
  readonly kept: string;
  /** The bytes of a value. */
  readonly valueBytes: string;
  /** What a copy takes along besides the thread's id, table by table. */
  readonly columns: { readonly checkpoints: string; readonly values: string; readonly writes: string };
}

/** Arguments are named `@name`. */
export type Sql = (dialect: Dialect) => string;

export type Args = Readonly<Record<string, string | number>>;

export interface Answer {
  readonly rows: readonly unknown[];
  /** How many rows were changed. */
  readonly changes: number;
}

export type Program<T> = Generator<{ readonly sql: Sql; readonly args: Args }, T, Answer>;

/** `Row`: what the statement selects. */
export function* rowsOf<Row>(sql: Sql, args: Args): Program<readonly Row[]> {
  const { rows } = yield { sql, args };
  return rows as readonly Row[]; // as the statement names its columns
}

export function* isAny(sql: Sql, args: Args): Program<boolean> {
  const { rows } = yield { sql, args };
  return rows.length > 0;
}

/** Returns how many rows were changed. */
export function* changing(sql: Sql, args: Args): Program<number> {
  const { changes } = yield { sql, args };
  return changes;
}

const SQLITE: Dialect = {
  checkpoints: "checkpoints",
  values: "channel_values",
  writes: "writes",
  order: "rowid",
  step: "metadata ->> '$.step'",
  source: "metadata ->> '$.source'",
  parents: "metadata -> '$.parents'",
  rootId: `metadata ->> '$.parents.""'`,
  isUnderParent:
    "EXISTS (SELECT 1 FROM json_each(metadata, '$.parents') AS parent WHERE parent.key = @ns AND parent.value = @id)",
  deltaChannels: "json_each(c.metadata, '$.counters_since_delta_snapshot')",
  channelRefs: "json_each(c.channels)",
  channelNames: "(SELECT json_group_array(key) FROM json_each(channels))",
  kept: "json_each(@kept)",
  valueBytes: "octet_length(value)",
  columns: {
    checkpoints:
      "checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, checkpoint, metadata_type, metadata, channels",
    values: "checkpoint_ns, channel, checkpoint_id, type, value",
    writes: "checkpoint_ns, checkpoint_id, task_id, idx, run_id, channel, type, value",
  },
};

export interface SqlitePrograms {
  read<T>(program: Program<T>): T;
  /** In one transaction. */
  change<T>(program: Program<T>): T;
}

export function prepareOnSqlite(connection: SqliteDatabase): SqlitePrograms {
  const statements = new Map<Sql, Statement<unknown[], unknown>>();

  function answer(sql: Sql, args: Args): Answer {
    const statement = statements.get(sql) ?? connection.prepare<unknown[], unknown>(sql(SQLITE));
    statements.set(sql, statement);
    if (statement.reader) return { rows: statement.all(args), changes: 0 };
    return { rows: [], changes: statement.run(args).changes };
  }

  function read<T>(program: Program<T>): T {
    let step = program.next();
    while (step.done !== true) step = program.next(answer(step.value.sql, step.value.args));
    return step.value;
  }

  const transaction = inTransaction(connection, read as (program: Program<unknown>) => unknown);
  return { read, change: <T>(program: Program<T>) => transaction(program) as T }; // what the program returned
}
