/** Migrated databases on a real PostgreSQL, whose time is a test's. */
import type pg from "pg";
import type { Clock } from "../../src/core/clock.js";
import { silentLog } from "../../src/core/log.js";
import { migrate } from "../../src/storage/migrations.js";
import { openPostgres, type Postgres } from "../../src/storage/postgres.js";
import { makeDatabase, onServer } from "./postgres-server.js";

/** Those of this file that are there, with nobody using them. */
const free: string[] = [];

/** A migrated database with nothing in it. Given back, it serves the next test of the file. */
async function takeDatabase(): Promise<{ readonly url: string; giveBack(): void }> {
  const known = free.pop();
  const url = known ?? (await makeDatabase());
  if (known === undefined) {
    const { database } = openPostgres({ url, poolSize: 2, timeoutMs: 60_000 }, silentLog);
    await migrate(database);
    await database.destroy();
    await onServer(FAKE_NOW, url);
    await onServer(`alter database "${new URL(url).pathname.slice(1)}" set synchronous_commit = off`, url); // tests are many
  } else {
    await onServer(EMPTY, url);
  }
  return { url, giveBack: () => void free.push(url) };
}

export interface TestPostgres extends Postgres {
  /** For another process. */
  readonly url: string;
  /** The SQL that `action` sends. */
  statementsOf(action: () => Promise<void>): Promise<readonly string[]>;
  execute(statements: string): Promise<void>;
  refuse(event: "INSERT" | "DELETE", table: string, when?: string): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** The time of the database is that of `clock`, on connections of this pool. */
export async function openTestPostgres(
  clock: Clock,
  { url: shared, poolSize = 5 }: { readonly url?: string; readonly poolSize?: number } = {},
): Promise<TestPostgres> {
  const taken = shared === undefined ? await takeDatabase() : undefined;
  const url = shared ?? taken?.url ?? "";
  const opened = openPostgres({ url, poolSize, timeoutMs: 60_000 }, silentLog);
  let statements: string[] | undefined;
  const undo: (() => Promise<void>)[] = [];
  const told = new WeakMap<pg.PoolClient, number>();
  const connect = opened.pool.connect.bind(opened.pool) as () => Promise<pg.PoolClient>;
  opened.pool.connect = (async () => {
    const client = await connect();
    const now = clock.now();
    if (told.get(client) !== now) await client.query("select set_config('heddle.now', $1, false)", [String(now)]);
    if (!told.has(client)) record(client, (sql) => statements?.push(sql));
    told.set(client, now);
    return client;
  }) as typeof opened.pool.connect;
  return {
    ...opened,
    url,
    async statementsOf(action) {
      const sent: string[] = [];
      statements = sent;
      await action();
      statements = undefined;
      return sent;
    },
    execute: (text) => onServer(text, url),
    async refuse(event, table, when = "true") {
      const end = `drop trigger refuse on ${table}; drop function refuse`;
      await onServer(
        `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'disk'; end $$;
        create trigger refuse before ${event} on ${table} for each row when (${when}) execute function refuse()`,
        url,
      );
      undo.push(() => onServer(end, url));
      return async () => {
        undo.length = 0;
        await onServer(end, url);
      };
    },
    async close() {
      for (const each of undo) await each();
      await opened.database.destroy();
      taken?.giveBack();
    },
  };
}

function record(client: pg.PoolClient, note: (sql: string) => void): void {
  const query = client.query.bind(client) as (...all: unknown[]) => unknown;
  client.query = ((first: unknown, ...others: unknown[]) => {
    note(typeof first === "string" ? first : (first as { readonly text: string }).text); // what `postgres.ts` sends
    return query(first, ...others);
  }) as typeof client.query;
}

const FAKE_NOW = `create or replace function heddle_now() returns bigint language sql stable parallel safe
  return current_setting('heddle.now')::bigint`;

/** Threads first: a run that is deleted leaves a row in the audit, at the time of a test, as long as its thread is there. */
const EMPTY = `set synchronous_commit = off; do $$ declare name text; begin
  for name in select tablename from pg_tables where schemaname = 'public' and tablename not like 'kysely%'
    order by tablename <> 'threads'
  loop
    execute format('delete from %I', name);
  end loop;
end $$`;
