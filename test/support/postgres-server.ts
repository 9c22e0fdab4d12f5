/**
 * The real PostgreSQL that `own-servers.ts` found or started. Every test gets databases of its own, which are dropped when its
 * file is done; who makes some outside of a test drops them.
 */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll } from "vitest";
import { STANDARD_POSTGRES } from "./own-servers.js";

const SERVER = process.env.TEST_POSTGRES_URL ?? STANDARD_POSTGRES;

export const POSTGRES_MISSING = await whyMissing();

if (POSTGRES_MISSING !== undefined && process.env.CI) throw new Error(POSTGRES_MISSING);

async function whyMissing(): Promise<string | undefined> {
  try {
    await onServer("select 1");
    return undefined;
  } catch (error) {
    const where = new URL(SERVER).host;
    return `no PostgreSQL at ${where} (apt-get install postgresql, or name another with TEST_POSTGRES_URL): ${(error as Error).message}`;
  }
}

/** Asks one thing, of the server itself or of one of its databases. */
export async function onServer(text: string, database = SERVER): Promise<void> {
  const client = new pg.Client({ connectionString: database, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {}); // of a connection that the server ends; what was asked fails by itself
  try {
    await client.connect();
    await client.query(text);
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * A pool for a test. Its end does not wait for its connections: one that the server still holds is told that its database is
 * dropped, and what nobody hears ends the process.
 */
export function openTestPool(connectionString: string, options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ ...options, connectionString });
  pool.on("error", () => {}); // of a connection that nobody uses
  pool.on("connect", (client) => client.on("error", () => {})); // what was asked of it fails by itself
  return pool;
}

const made: string[] = [];

if (process.env.VITEST !== undefined) afterAll(dropDatabases);

/** All that were made here. */
export async function dropDatabases(): Promise<void> {
  for (const name of made.splice(0)) await onServer(`drop database if exists "${name}" with (force)`);
}

/** An empty database without a schema. */
export async function makeDatabase(): Promise<string> {
  const name = `heddle_test_${randomBytes(6).toString("hex")}`;
  await onServer(
    `create database "${name}" template template0 encoding 'UTF8' lc_collate 'C.UTF-8' lc_ctype 'C.UTF-8'`,
  );
  made.push(name);
  const url = new URL(SERVER);
  url.pathname = `/${name}`;
  return url.href;
}
