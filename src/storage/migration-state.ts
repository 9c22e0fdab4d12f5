/** How a database stands to the migrations that this heddle knows; looking changes nothing. */
import { sql } from "kysely";
import type { Database } from "./database.js";
import { MIGRATIONS } from "./migrations.js";

export interface MigrationState {
  /** Names, in the order in which they would be made. */
  readonly pending: readonly string[];
  /** What is in the database and not known here: a later heddle made it. */
  readonly unknown: readonly string[];
}

/** Of a database in which nothing is, everything is pending. */
export async function migrationState(database: Database): Promise<MigrationState> {
  return stateAfter(await namesOf(database));
}

/** `done`: the names that are in the table `kysely_migration`. */
export function stateAfter(done: readonly string[]): MigrationState {
  const known = Object.keys(MIGRATIONS).sort();
  return {
    pending: known.filter((name) => !done.includes(name)),
    unknown: done.filter((name) => !known.includes(name)),
  };
}

async function namesOf(database: Database): Promise<readonly string[]> {
  const tables = await database.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(({ name }) => name === "kysely_migration")) return [];
  const { rows } = await sql<{ readonly name: string }>`select name from kysely_migration order by name`.execute(
    database,
  );
  return rows.map(({ name }) => name);
}

/** One line for people who start a gateway that is not to migrate, on a database that needs it. */
export class PendingMigrationsError extends Error {
  override readonly name = "PendingMigrationsError";
}

/** Throws a `PendingMigrationsError`. `what`: the database, for the message. */
export function requireMigrated(what: string, { pending }: MigrationState): void {
  if (pending.length === 0) return;
  const count = pending.length === 1 ? "a migration is" : `${pending.length} migrations are`;
  throw new PendingMigrationsError(
    `${what}: ${count} pending (${pending.join(", ")}), and database.migrate is false: run heddle migrate first`,
  );
}
