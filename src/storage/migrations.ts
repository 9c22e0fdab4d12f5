/** Numbered migrations, in code, the same for every database. A migration that has shipped is never edited. */
import { type Kysely, type Migration, Migrator, sql } from "kysely";
import type { Database } from "./database.js";

/** Brings the database to the newest version; throws the first failure with the migration's name. */
export async function migrate(database: Database): Promise<void> {
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => MIGRATIONS } });
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const failed = results?.find((result) => result.status === "Error")?.migrationName ?? "start";
  throw new Error(`database migration ${failed} failed: ${(error as Error).message}`, { cause: error });
}

const MIGRATIONS: Record<string, Migration> = {
  "001-core": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("threads")
        .addColumn("thread_id", "text", (column) => column.primaryKey())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("updated_at", "bigint", (column) => column.notNull())
        .addColumn("state_updated_at", "bigint")
        .addColumn("metadata", "text", (column) => column.notNull())
        .addColumn("config", "text", (column) => column.notNull())
        .addColumn("status", "text", (column) => column.notNull())
        .addColumn("interrupts", "text", (column) => column.notNull())
        .addColumn("next", "text", (column) => column.notNull())
        .addColumn("error", "text")
        .addColumn("ttl_strategy", "text")
        .addColumn("ttl_minutes", "real")
        .addColumn("expires_at", "bigint")
        .addColumn("reserved_by", "text")
        .addColumn("deleting", "integer", (column) => column.notNull().defaultTo(0))
        .execute();
      // No index on what changes with every run but `updated_at`, the order of thread lists: each costs pages per commit.
      for (const column of ["created_at", "updated_at"]) {
        await db.schema.createIndex(`threads_${column}`).on("threads").columns([column, "thread_id"]).execute();
      }
      await sql`CREATE INDEX threads_deleting ON threads (thread_id) WHERE deleting = 1`.execute(db);
      await db.schema
        .createTable("thread_values")
        .addColumn("thread_id", "text", (column) =>
          column.primaryKey().references("threads.thread_id").onDelete("cascade"),
        )
        .addColumn("values", "text", (column) => column.notNull())
        .execute();
      await db.schema
        .createTable("thread_terms")
        .addColumn("thread_id", "text", (column) =>
          column.notNull().references("threads.thread_id").onDelete("cascade"),
        )
        .addColumn("term", "text", (column) => column.notNull())
        .addPrimaryKeyConstraint("thread_terms_pk", ["term", "thread_id"])
        .execute();
      await db.schema.createIndex("thread_terms_thread").on("thread_terms").column("thread_id").execute();

      await db.schema
        .createTable("runs")
        .addColumn("seq", "integer", (column) => column.primaryKey())
        .addColumn("run_id", "text", (column) => column.notNull().unique())
        .addColumn("thread_id", "text", (column) =>
          column.notNull().references("threads.thread_id").onDelete("cascade"),
        )
        .addColumn("assistant_id", "text", (column) => column.notNull())
        .addColumn("graph_id", "text", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("updated_at", "bigint", (column) => column.notNull())
        .addColumn("status", "text", (column) => column.notNull())
        .addColumn("metadata", "text", (column) => column.notNull())
        .addColumn("multitask_strategy", "text", (column) => column.notNull())
        .addColumn("payload", "text", (column) => column.notNull())
        .addColumn("attempt", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("fence", "bigint", (column) => column.notNull().defaultTo(0))
        .addColumn("run_after", "bigint", (column) => column.notNull())
        .addColumn("worker_id", "text")
        .addColumn("lease_until", "bigint")
        .addColumn("cancel_action", "text")
        .addColumn("cancel_requested_at", "bigint")
        .addColumn("rolling_back", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("owner", "text")
        .addColumn("error", "text")
        .addColumn("thread_metadata_before", "text", (column) => column.notNull())
        .addColumn("thread_updated_at_before", "bigint", (column) => column.notNull())
        .execute();
      await sql`CREATE UNIQUE INDEX one_running ON runs (thread_id) WHERE status = 'running'`.execute(db);
      // Ends with the status so that it covers "is anything in flight?": otherwise SQLite walks all runs of the thread.
      await sql`CREATE INDEX runs_in_flight ON runs (thread_id, run_after, seq, status)
        WHERE status IN ('pending', 'running')`.execute(db);
      await sql`CREATE INDEX runs_claimable ON runs (run_after, seq) WHERE status = 'pending'`.execute(db);
      await db.schema.createIndex("runs_by_thread").on("runs").columns(["thread_id", "seq"]).execute();

      await db.schema
        .createTable("idempotency_keys")
        .addColumn("owner", "text", (column) => column.notNull())
        .addColumn("key", "text", (column) => column.notNull())
        .addColumn("request_hash", "text", (column) => column.notNull())
        .addColumn("run_id", "text", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addPrimaryKeyConstraint("idempotency_keys_pk", ["owner", "key"])
        .execute();
      await db.schema.createIndex("idempotency_keys_created_at").on("idempotency_keys").column("created_at").execute();
      await db.schema
        .createTable("outbox")
        .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
        .addColumn("run_id", "text")
        .addColumn("kind", "text", (column) => column.notNull())
        .addColumn("payload", "text", (column) => column.notNull())
        .addColumn("next_at", "bigint", (column) => column.notNull())
        .addColumn("attempts", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("done_at", "bigint")
        .execute();

      await db.schema
        .createTable("assistants")
        .addColumn("assistant_id", "text", (column) => column.primaryKey())
        .addColumn("version", "integer", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("updated_at", "bigint", (column) => column.notNull())
        .execute();
      await db.schema
        .createTable("assistant_versions")
        .addColumn("assistant_id", "text", (column) =>
          column.notNull().references("assistants.assistant_id").onDelete("cascade"),
        )
        .addColumn("version", "integer", (column) => column.notNull())
        .addColumn("graph_id", "text", (column) => column.notNull())
        .addColumn("name", "text", (column) => column.notNull())
        .addColumn("description", "text")
        .addColumn("config", "text", (column) => column.notNull())
        .addColumn("context", "text", (column) => column.notNull())
        .addColumn("metadata", "text", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addPrimaryKeyConstraint("assistant_versions_pk", ["assistant_id", "version"])
        .execute();

      await db.schema
        .createTable("items")
        .addColumn("namespace", "text", (column) => column.notNull())
        .addColumn("key", "text", (column) => column.notNull())
        .addColumn("value", "text", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("updated_at", "bigint", (column) => column.notNull())
        .addColumn("ttl_minutes", "real")
        .addColumn("expires_at", "bigint")
        .addPrimaryKeyConstraint("items_pk", ["namespace", "key"])
        .execute();
      await sql`CREATE INDEX items_expiring ON items (expires_at) WHERE expires_at IS NOT NULL`.execute(db);
    },
  },
};
