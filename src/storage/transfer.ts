/**
 * Everything that the files of a data folder hold, copied to a PostgreSQL in which nothing is.
 *
 * 1. One transaction there: all of it arrives, counted on both sides, or nothing does.
 * 2. Rows keep their ids, their numbers and their order. What says that a process of the folder is at work on something says
 *    afterwards that its time is over: whoever serves the database takes it over.
 * 3. Triggers rest meanwhile: what they would write is among the rows.
 * 4. However much there is, a few megabytes of it are held at a time, or one row.
 */
import pg from "pg";
import { isStorable, metadataColumns } from "./checkpoint-postgres-tables.js";
import type { Schema } from "./database.js";
import { encodeStored } from "./postgres.js";
import { DataFolderError, type SqliteDatabase } from "./sqlite.js";
import { openWordFolding } from "./word-folding.js";

type Row = Readonly<Record<string, unknown>>;

export interface TransferSource {
  /** `heddle.db` and `checkpoints.db`, as of one moment and of this version. */
  readonly database: SqliteDatabase;
  readonly checkpoints: SqliteDatabase;
}

export interface Transferred {
  /** As PostgreSQL calls it. */
  readonly table: string;
  readonly rows: number;
}

interface TableCopy {
  readonly table: string;
  readonly source: SqliteDatabase;
  /** Counts, and reads in the order in which rows are to be written. */
  readonly count: string;
  readonly read: string;
  readonly change: (row: Row) => Row;
  /** A column that PostgreSQL numbers, and SQLite has numbered. */
  readonly numbered?: string | undefined;
}

/**
 * Copies to the migrated database at `url`, and tells which part of each table is there, 0 to 1. Throws a `DataFolderError` for a
 * database that is not empty, and for a row that PostgreSQL has no text for.
 */
export async function transfer(
  source: TransferSource,
  url: string,
  onProgress: (table: string, done: number) => void,
): Promise<readonly Transferred[]> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "heddle migrate-data",
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
  });
  client.on("error", () => {}); // what is asked of it fails, and says so
  await client.connect();
  const words = openWordFolding();
  try {
    const copies = [...storeCopies(source.database, words.stored), ...checkpointCopies(source.checkpoints)];
    await client.query("BEGIN");
    await client.query("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0");
    await setTriggers(client, "DISABLE"); // which keeps other writers from the tables, too
    await requireEmpty(client, copies);
    const done: Transferred[] = [];
    for (const copy of copies) done.push(await copyTable(client, copy, onProgress));
    await setTriggers(client, "ENABLE");
    await client.query("COMMIT");
    await client.query(`ANALYZE ${copies.map(({ table }) => table).join(", ")}`); // plans are made by what it finds
    return done;
  } finally {
    words.close();
    await client.end(); // with what was not committed
  }
}

const CONNECT_MS = 15_000;

// ---- which tables, and how

interface StoreTable {
  /** Its rows in order; as they are unless given. */
  readonly read?: string;
  readonly change?: (row: Row, stored: (text: string) => string) => Row;
  readonly numbered?: string;
}

/** All of them but views, and those that are always empty here; each after those that its rows refer to. */
const STORE_TABLES: Readonly<Record<Exclude<keyof Schema, "thread_states">, StoreTable>> = {
  threads: { change: (row) => ({ ...row, reserved_until: 0 }) }, // 2
  thread_values: { read: `SELECT thread_id, "values", NULL AS version FROM thread_states ORDER BY thread_id` }, // in one piece
  thread_terms: {},
  thread_texts: {
    numbered: "id",
    change: (row, stored) => ({ ...row, title: stored(String(row.title)), words: stored(String(row.words)) }),
  },
  runs: { numbered: "seq", change: (row) => ({ ...row, lease_until: row.lease_until === null ? null : 0 }) }, // 2
  run_audit: { numbered: "seq" },
  run_events: {},
  idempotency_keys: {},
  outbox: { numbered: "id" },
  assistants: {},
  assistant_versions: {},
  crons: {},
  cron_ticks: {},
  item_models: { numbered: "id" },
  items: {},
  item_vectors: {},
  api_keys: {},
};

function storeCopies(source: SqliteDatabase, stored: (text: string) => string): readonly TableCopy[] {
  return Object.entries(STORE_TABLES).map(([table, { read, change, numbered }]) => ({
    table,
    source,
    count: `SELECT count(*) FROM ${table}`,
    read: read ?? `SELECT * FROM ${table} ORDER BY rowid`,
    numbered,
    change: (row) => encodeAll(change === undefined ? row : change(row, stored)),
  }));
}

function encodeAll(row: Row): Row {
  return Object.fromEntries(Object.entries(row).map(([column, value]) => [column, encodeStored(value)]));
}

/** Texts as bytes: they go as they are, and long ones stay out of the heap. */
const CHECKPOINTS = `SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type,
  CAST(checkpoint AS BLOB) AS checkpoint, metadata_type, CAST(metadata AS BLOB) AS metadata, channels
  FROM checkpoints ORDER BY rowid`;
const VALUES = `SELECT thread_id, checkpoint_ns, channel, checkpoint_id, type, CAST(value AS BLOB) AS value
  FROM channel_values ORDER BY rowid`;
const WRITES = `SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, channel, type,
  CAST(value AS BLOB) AS value FROM writes ORDER BY rowid`;

function checkpointCopies(source: SqliteDatabase): readonly TableCopy[] {
  return [
    {
      table: "state_checkpoints",
      source,
      count: "SELECT count(*) FROM checkpoints",
      read: CHECKPOINTS,
      change: toState,
    },
    { table: "state_values", source, count: "SELECT count(*) FROM channel_values", read: VALUES, change: toValue },
    { table: "state_writes", source, count: "SELECT count(*) FROM writes", read: WRITES, change: toValue },
  ];
}

function toState(row: Row): Row {
  const names = Object.keys(JSON.parse(String(row.channels)) as object); // as a saver wrote it
  requireNames(row, [row.thread_id, row.checkpoint_ns, row.checkpoint_id, ...names]);
  return { ...row, ...metadataColumns(String(row.metadata)) };
}

function toValue({ value, ...row }: Row): Row {
  requireNames(row, [row.thread_id, row.checkpoint_ns, row.checkpoint_id, row.channel, row.task_id ?? ""]);
  return row.type === "bytes" ? { ...row, value: null, bytes: value } : { ...row, value, bytes: null };
}

function requireNames(row: Row, names: readonly unknown[]): void {
  const found = names.find((name) => !isStorable(String(name)));
  if (found === undefined) return;
  throw new DataFolderError(
    `thread ${JSON.stringify(row.thread_id)} has a name that PostgreSQL has no text for, ${JSON.stringify(found)}: delete the thread first`,
  );
}

// ---- copying

const MAX_ROWS = 500;
const MAX_BYTES = 4 * 1_024 ** 2;

async function copyTable(
  client: pg.Client,
  { table, source, count, read, change, numbered }: TableCopy,
  onProgress: (table: string, done: number) => void,
): Promise<Transferred> {
  const total = Number(source.prepare<[], number>(count).pluck().get());
  let copied = 0;
  for (const rows of batches(source.prepare<[], Row>(read).iterate(), change)) {
    await insert(client, table, rows);
    copied += rows.length;
    onProgress(table, copied / total);
  }
  if (numbered !== undefined) await goOnAfter(client, { table, column: numbered, last: lastNumber(source, table) });
  const { rows } = await client.query<{ count: string }>(`SELECT count(*) FROM ${table}`);
  const arrived = Number(rows[0]?.count);
  if (arrived === total && copied === total) return { table, rows: total };
  throw new Error(`${table}: ${arrived} of ${total} rows have arrived`);
}

function* batches(rows: Iterable<Row>, change: (row: Row) => Row): Generator<readonly Row[]> {
  let batch: Row[] = [];
  let bytes = 0;
  for (const row of rows) {
    const changed = change(row);
    batch.push(changed);
    for (const value of Object.values(changed)) bytes += sizeOf(value);
    if (batch.length < MAX_ROWS && bytes < MAX_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

function sizeOf(value: unknown): number {
  return typeof value === "string" || value instanceof Uint8Array ? value.length : 8;
}

/** Rows of one table, which have the same columns. */
async function insert(client: pg.Client, table: string, rows: readonly Row[]): Promise<void> {
  const columns = Object.keys(rows[0] ?? {});
  const values: unknown[] = [];
  const places = rows.map((row) => `(${columns.map((column) => `$${values.push(row[column])}`).join(", ")})`);
  const names = columns.map((column) => `"${column}"`).join(", ");
  await client.query(`INSERT INTO ${table} (${names}) VALUES ${places.join(", ")}`, values);
}

/** The last number that SQLite gave, be its row still there or not; 0 for none. */
function lastNumber(source: SqliteDatabase, table: string): number {
  return Number(
    source.prepare<[string], number>("SELECT max(seq) FROM sqlite_sequence WHERE name = ?").pluck().get(table) ?? 0,
  );
}

async function goOnAfter(
  client: pg.Client,
  { table, column, last }: { readonly table: string; readonly column: string; readonly last: number },
): Promise<void> {
  await client.query(
    `SELECT setval(pg_get_serial_sequence($1, $2), greatest(max("${column}"), $3, 1), greatest(max("${column}"), $3) > 0)
     FROM ${table}`,
    [table, column, last],
  );
}

/** 3 */
async function setTriggers(client: pg.Client, state: "DISABLE" | "ENABLE"): Promise<void> {
  for (const table of Object.keys(STORE_TABLES)) await client.query(`ALTER TABLE ${table} ${state} TRIGGER USER`);
}

async function requireEmpty(client: pg.Client, copies: readonly TableCopy[]): Promise<void> {
  for (const { table } of copies) {
    const { rows } = await client.query(`SELECT 1 FROM ${table} LIMIT 1`);
    if (rows.length === 0) continue;
    throw new DataFolderError(
      `the database is not empty, ${table} has rows: name one in which no gateway and no heddle keys has kept anything`,
    );
  }
}
