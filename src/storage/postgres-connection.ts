/**
 * Asking PostgreSQL: statements that are prepared once per connection, transactions that end by themselves, and what to
 * make of a connection that breaks.
 *
 * 1. A statement that stands alone is a transaction of its own: nothing is held while its answer is on its way.
 * 2. A transaction in which nothing happens for some seconds is ended by the server: whoever is frozen in the middle of one
 *    keeps nobody from the rows that it has locked.
 * 3. When a connection breaks nobody knows whether the last statement was done. What may be done twice is tried again: for
 *    some seconds where a client waits, for a minute where a run would fail. Anything else is not.
 */
import pg, { type Pool, type PoolClient } from "pg";
import { storageFailure } from "./failure.js";
import { failureOf } from "./postgres-failure.js";

export interface Statement {
  /** Of this text only; what is prepared is found by it. */
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

export interface Result {
  readonly rows: readonly unknown[];
  readonly changes: number;
}

/** Nothing waits for ever: neither for a connection nor for an answer. */
export function openPool(connectionString: string, max: number): Pool {
  const pool = new pg.Pool({
    connectionString,
    max,
    application_name: "heddle checkpoints",
    connectionTimeoutMillis: WAIT_MS,
    statement_timeout: WAIT_MS,
    query_timeout: WAIT_MS + ANSWER_MARGIN_MS, // the server's own limit comes first, where there is a server
    idleTimeoutMillis: IDLE_MS,
    keepAlive: true,
  });
  pool.on("error", () => {}); // of a connection that nobody uses: the pool leaves it out
  pool.on("connect", (client) => client.on("error", () => {})); // what was asked of it fails, and says so
  return pool;
}

/** None is held while a graph runs: these are for what the runs of one graph thread store at the same moment. */
export const CONNECTIONS_PER_THREAD = 2;

const WAIT_MS = 15_000;
const ANSWER_MARGIN_MS = 1_000;
const IDLE_MS = 30_000;

/** Asks one statement. */
export type AskPostgres = (statement: Statement) => Promise<Result>;

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 3_200;
/** Longer than a database takes to restart, and shorter than clients wait. */
const RETRY_MS = 6_500;
/** Longer than another server takes to be found in the place of one that died. */
export const PATIENT_RETRY_MS = 60_000;

const BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'"; // 2

export function asking(connection: Pool | PoolClient): AskPostgres {
  return async ({ name, text, values }) => {
    const { rows, rowCount } = await connection.query<object>({ name, text, values: [...values], types: TYPES });
    return { rows, changes: rowCount ?? 0 };
  };
}

/** As pg reads them, whatever the pool does for others. */
const TYPES = { getTypeParser: pg.types.getTypeParser };

/** `work` in one transaction; what it throws takes everything back. */
export async function inPostgresTransaction<T>(pool: Pool, work: (ask: AskPostgres) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query(BEGIN);
    const result = await work(asking(client));
    await client.query("COMMIT");
    return result;
  } catch (error) {
    failure = error as Error; // what pg, or `work`, throws
    await client.query("ROLLBACK").then(
      () => {
        failure = undefined;
      },
      () => {}, // the connection is gone, and the transaction with it
    );
    throw error;
  } finally {
    client.release(failure);
  }
}

/** Does `work`, which may be done twice, again when the connection broke, until `limitMs` are over (3). */
export async function retrying<T>(work: () => Promise<T>, limitMs = RETRY_MS): Promise<T> {
  const startedAt = performance.now();
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!isConnectionFailure(error) || performance.now() - startedAt + pauseMs > limitMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** `work`, whose failures say what they mean for a client. */
export async function explainingPostgres<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageFailure(failureOf(error)) ?? error;
  }
}

/** Whether the connection is gone, or there was none to be had: the next one may do better. */
function isConnectionFailure(error: unknown): boolean {
  const failure = failureOf(error);
  return (
    failure?.code === "PG_UNREACHABLE" ||
    failure?.code === "PG_BUSY" ||
    (failure?.code === "PG_TIMEOUT" && failure.closes)
  );
}
