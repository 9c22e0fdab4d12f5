/** A migrated, empty database of the kind that the tests run on: SQLite, or PostgreSQL in the project `postgres` of vitest. */
import { beforeEach, it } from "vitest";
import type { Clock } from "../../src/core/clock.js";
import { createDatabase, type Database } from "../../src/storage/database.js";
import { migrate } from "../../src/storage/migrations.js";
import type { ThreadChanges } from "../../src/storage/ports/threads.js";
import { openSqlite, type SqliteDatabase } from "../../src/storage/sqlite.js";
import { watchThreads } from "../../src/storage/thread-changes.js";
import { openTestPostgres } from "./postgres.js";
import { POSTGRES_MISSING } from "./postgres-server.js";

export const ON_POSTGRES = process.env.HEDDLE_TEST_DATABASE === "postgres";

if (ON_POSTGRES && POSTGRES_MISSING !== undefined) beforeEach(({ skip }) => skip(POSTGRES_MISSING));

/** For promises about SQLite itself: its plans, its files, its triggers. */
export function onSqlite(name: string, test: () => Promise<void> | void): void {
  if (!ON_POSTGRES) it(name, test);
}

/** The same about PostgreSQL. */
export function onPostgres(name: string, test: () => Promise<void>): void {
  if (ON_POSTGRES) it(name, test);
}

export interface TestDatabase {
  readonly database: Database;
  readonly changes: ThreadChanges;
  /** Of SQLite only. */
  readonly connection: SqliteDatabase | undefined;
  /** The SQL that `action` sends; on SQLite only what was not sent before. */
  statementsOf(action: () => Promise<void>): Promise<readonly string[]>;
  /** Statements that end in a semicolon each. */
  execute(statements: string): Promise<void>;
  /** Makes the database fail with "disk" at such a statement for rows of the table, where `when` holds; returns the end of it. */
  refuse(event: "INSERT" | "DELETE", table: string, when?: string): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** Its time is that of `clock`. */
export async function openDatabase(clock: Clock): Promise<TestDatabase> {
  if (ON_POSTGRES) return { ...(await openTestPostgres(clock)), connection: undefined };
  const connection = openSqlite(":memory:", "FULL");
  const database = createDatabase(connection);
  await migrate(database);
  return {
    database,
    changes: watchThreads(connection),
    connection,
    async statementsOf(action) {
      const statements: string[] = [];
      const prepare = connection.prepare;
      connection.prepare = ((sql: string) => {
        statements.push(sql);
        return prepare.call(connection, sql);
      }) as typeof prepare;
      await action();
      connection.prepare = prepare;
      return statements;
    },
    execute: async (statements) => void connection.exec(statements),
    async refuse(event, table, when = "true") {
      connection.exec(`CREATE TRIGGER refuse BEFORE ${event} ON ${table} WHEN ${when}
        BEGIN SELECT RAISE(ABORT, 'disk'); END`);
      return async () => void connection.exec("DROP TRIGGER refuse");
    },
    close: () => database.destroy(),
  };
}
