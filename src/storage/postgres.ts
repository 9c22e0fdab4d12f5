/**
 * PostgreSQL's side of `database.ts`: a pool of connections, and what differs below the statements.
 *
 * 1. Nothing waits for ever: for a free connection, for a connect, for an answer. A connection whose answer did not come in
 *    time is closed, since nobody knows what it would say next.
 * 2. What a client can be told of a database that is away bears a code of `PostgresFailure` (`failure.ts` has the words);
 *    what is wrong with a statement stays as the server said it.
 * 3. Texts come back as they were written, NUL and halves of surrogate pairs included, which PostgreSQL has no text for.
 * 4. Whoever changes a thread through one of these connections is heard of when the change can be seen (`ThreadChanges`).
 */
import { toUSVString } from "node:util";
import {
  type ColumnDefinitionNode,
  type DataTypeNode,
  Kysely,
  PostgresAdapter,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  PostgresQueryCompiler,
  type PostgresQueryResult,
} from "kysely";
import pg from "pg";
import type { Log } from "../core/log.js";
import { checkpointServerVersion, hasAllCheckpointTables, migrateCheckpoints } from "./checkpoint-postgres-schema.js";
import type { Database, Schema, WordIndex } from "./database.js";
import { type MigrationState, migrationState, requireMigrated } from "./migration-state.js";
import { hasAllMigrations, migrate } from "./migrations.js";
import type { ThreadChanges } from "./ports/threads.js";
import { addressOf, failureOf, type PostgresFailure } from "./postgres-failure.js";
import { THREAD_CHANGED } from "./postgres-functions.js";
import { DataFolderError } from "./sqlite.js";
import { openWordFolding } from "./word-folding.js";

export interface PostgresSettings {
  /** `postgres://user:password@host:port/database?sslmode=…`; never to be shown. */
  readonly url: string;
  /** Connections at most. */
  readonly poolSize: number;
  /** How long one statement may take. */
  readonly timeoutMs: number;
  /** How long one may wait for a connection; as long unless told otherwise. */
  readonly connectMs?: number;
}

export interface Postgres {
  /** Closes the pool when it is destroyed. */
  readonly database: Database;
  readonly changes: ThreadChanges;
  readonly pool: pg.Pool;
}

/** Of each process, besides its pool, for the leases of its runs: a statement that waits for a locked row leaves one free. */
export const RENEWAL_CONNECTIONS = 2;

/** Connects with the first statement. */
export function openPostgres(settings: PostgresSettings, log: Pick<Log, "warn">): Postgres {
  const pool = new pg.Pool({
    connectionString: settings.url,
    application_name: "heddle",
    max: settings.poolSize,
    connectionTimeoutMillis: settings.connectMs ?? settings.timeoutMs,
    idleTimeoutMillis: IDLE_MS,
    keepAlive: true,
    statement_timeout: settings.timeoutMs,
    idle_in_transaction_session_timeout: settings.timeoutMs,
    query_timeout: settings.timeoutMs + ANSWER_MARGIN_MS, // the server's own limit comes first, where there is a server
    types: { getTypeParser: parserOf },
  });
  // A connection that is lost while nothing is asked of it is left out by the pool; with a listener it harms nobody (1).
  pool.on("error", (error) => log.warn({ reason: error.message }, "a connection to the database was lost"));
  pool.on("connect", (client) => client.on("error", () => {})); // what was asked of it fails, and says so
  const listeners = new Set<(threadId: string) => void>();
  const words = openWordFolding();
  const tell = (threadId: string): void => {
    for (const listener of listeners) listener(threadId);
  };
  const guarded = guardPool(pool, { tell, close: () => words.close() });
  return {
    database: new Kysely<Schema>({ dialect: new HeddleDialect(guarded, words) }),
    changes: {
      on(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    pool,
  };
}

/**
 * As long as it takes where there is something to migrate, and as long as another process needs that does so at the same
 * time. Whether there is, must be known after `lookMs`: most starts find nothing to do, and their connection may be lost
 * without a word. Throws a `DataFolderError`.
 */
export async function migrateServer(url: string, log: Pick<Log, "warn">, lookMs = LOOK_MS): Promise<void> {
  if (await onServer({ url, log, timeoutMs: lookMs }, isServerMigrated)) return;
  await onServer({ url, log, timeoutMs: MIGRATION_MS }, async ({ database, pool }) => {
    await migrate(database);
    await migrateCheckpoints(pool);
  });
}

async function isServerMigrated({ database, pool }: Postgres): Promise<boolean> {
  return (await hasAllMigrations(database)) && (await hasAllCheckpointTables(pool));
}

/** Changes nothing. Throws a `DataFolderError`, or a `PendingMigrationsError` where there is something to migrate. */
export async function requireMigratedServer(url: string, log: Pick<Log, "warn">): Promise<void> {
  for (const [name, state] of await serverState(url, log)) requireMigrated(name, state);
}

/** How its tables stand to the migrations known here, by what they hold. Throws a `DataFolderError`. */
export function serverState(
  url: string,
  log: Pick<Log, "warn">,
): Promise<readonly (readonly [name: string, state: MigrationState])[]> {
  return onServer({ url, log, timeoutMs: LOOK_MS }, async ({ database, pool }) => [
    ["threads and runs", await migrationState(database)],
    ["checkpoints", await checkpointServerVersion(pool)],
  ]);
}

async function onServer<T>(
  { url, log, timeoutMs }: { readonly url: string; readonly log: Pick<Log, "warn">; readonly timeoutMs: number },
  work: (server: Postgres) => Promise<T>,
): Promise<T> {
  const server = openPostgres({ url, poolSize: 2, timeoutMs, connectMs: CONNECT_MS }, log);
  try {
    return await work(server);
  } catch (error) {
    throw unusableServer(url, error);
  } finally {
    await server.database.destroy();
  }
}

/** Why the server cannot be used, as one line without the password. */
export function unusableServer(url: string, error: unknown): DataFolderError {
  if (error instanceof DataFolderError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new DataFolderError(`cannot use the database ${addressOf(url)}: ${reason}`, { cause: error });
}

const MIGRATION_MS = 60 * 60_000;
const LOOK_MS = 15_000;
const CONNECT_MS = 15_000;
const IDLE_MS = 30_000;
const ANSWER_MARGIN_MS = 1_000;

// ---- statements

class HeddleDialect extends PostgresDialect {
  private readonly words: WordIndex;

  constructor(pool: PostgresPool, words: WordIndex) {
    super({ pool });
    this.words = words;
  }

  override createAdapter(): PostgresAdapter {
    return new WordAdapter(this.words);
  }

  override createQueryCompiler(): PostgresQueryCompiler {
    return new TypeCompiler();
  }
}

/** `wordIndexOf` finds it here. */
class WordAdapter extends PostgresAdapter {
  readonly words: WordIndex;

  constructor(words: WordIndex) {
    super();
    this.words = words;
  }
}

/** What the types of the migrations are here. Texts sort by their bytes, as in SQLite, whatever the database's language. */
const TYPES: Readonly<Record<string, string>> = {
  text: 'text collate "C"',
  real: "double precision",
  blob: "bytea",
};

class TypeCompiler extends PostgresQueryCompiler {
  protected override visitDataType(node: DataTypeNode): void {
    this.append(TYPES[node.dataType] ?? node.dataType);
  }

  /** A key of whole numbers counts by itself. */
  protected override visitColumnDefinition({ autoIncrement: _, ...node }: ColumnDefinitionNode): void {
    const type = node.dataType as DataTypeNode; // the only kind with a dataType of its own
    const counts = node.primaryKey === true && type.dataType === "integer";
    super.visitColumnDefinition(counts ? { ...node, dataType: BIGINT, frontModifiers: [COUNTING] } : node);
  }
}

const BIGINT = { kind: "DataTypeNode", dataType: "bigint" } as const;
const COUNTING = {
  kind: "RawNode",
  sqlFragments: ["generated by default as identity"],
  parameters: [],
} as const;

// ---- values

const [INT8, TEXT, VARCHAR, NUMERIC] = [20, 25, 1043, 1700];

/** Numbers are numbers: counts and times are far below what a double holds exactly. */
function parserOf(oid: number, format?: "text" | "binary"): (value: string) => unknown {
  if (oid === INT8 || oid === NUMERIC) return Number;
  if (oid === TEXT || oid === VARCHAR) return decodeStored;
  return pg.types.getTypeParser(oid, format as "text");
}

/** The last character there is, which is none: begins what stands for one that PostgreSQL has no text for, or for itself. */
const ESCAPE = "\u{10FFFF}";
const UNSTORABLE = /[\0\p{Cs}\u{10FFFF}]/gu;
const ESCAPED = /\u{10FFFF}([0-9a-f]{4}|!)/gu;

/** What is written for a text, or a list of texts, so that it comes back (3). */
export function encodeStored(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(encodeStored);
  if (typeof value !== "string") return value;
  if (toUSVString(value) === value && !value.includes("\0") && !value.includes(ESCAPE)) return value;
  return value.replace(UNSTORABLE, (character) =>
    character === ESCAPE ? `${ESCAPE}!` : ESCAPE + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

function decodeStored(value: string): string {
  if (!value.includes(ESCAPE)) return value;
  return value.replace(ESCAPED, (_, code: string) =>
    code === "!" ? ESCAPE : String.fromCharCode(Number.parseInt(code, 16)),
  );
}

// ---- connections

interface PoolDeps {
  readonly tell: (threadId: string) => void;
  readonly close: () => void;
}

function guardPool(pool: pg.Pool, { tell, close }: PoolDeps): PostgresPool {
  const guarded = new WeakMap<pg.PoolClient, GuardedClient>();
  return {
    async connect() {
      const client = await pool.connect().catch((error: unknown) => {
        throw failureOf(error) ?? error;
      });
      const known = guarded.get(client) ?? new GuardedClient(client, tell);
      guarded.set(client, known);
      return known;
    },
    async end() {
      await pool.end();
      close();
    },
  };
}

/** One connection, used by one caller at a time. */
class GuardedClient implements PostgresPoolClient {
  private readonly client: pg.PoolClient;
  /** Why nothing more can be asked of it. */
  private broken: PostgresFailure | undefined;
  private inTransaction = false;
  /** Threads that were changed in the transaction. */
  private changed = new Set<string>();

  constructor(client: pg.PoolClient, tell: (threadId: string) => void) {
    this.client = client;
    this.tell = tell;
    client.on("notice", ({ code, message }) => {
      if (code === THREAD_CHANGED && message !== undefined) this.changed.add(message);
    });
  }

  private readonly tell: (threadId: string) => void;

  query<Row>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>>;
  query(cursor: never): never;
  async query<Row>(text: string, parameters: readonly unknown[] = []): Promise<PostgresQueryResult<Row>> {
    // The server has undone what a lost connection had begun: what is to be told is why it was lost.
    if (text === "rollback" && this.broken !== undefined) return { command: "SELECT", rowCount: 0, rows: [] };
    try {
      const result = await this.client.query(text, parameters.map(encodeStored));
      this.follow(text);
      return result as unknown as PostgresQueryResult<Row>; // what pg makes of a statement
    } catch (error) {
      const failure = failureOf(error, { isCommit: text === "commit" });
      if (failure?.closes) this.broken = failure;
      throw failure ?? error;
    }
  }

  /** 4 */
  private follow(text: string): void {
    if (text === "begin") this.inTransaction = true;
    else if (text === "commit") this.inTransaction = false;
    else if (text === "rollback") {
      this.inTransaction = false;
      this.changed.clear();
    }
    if (this.inTransaction || this.changed.size === 0) return;
    const changed = this.changed;
    this.changed = new Set();
    for (const threadId of changed) this.tell(threadId);
  }

  release(): void {
    this.client.release(this.broken);
  }
}
