/** Numbered migrations, in code, the same for every database. A migration that has shipped is never edited. */
import { type Kysely, type Migration, Migrator, sql } from "kysely";
import type { JsonObject } from "../core/model.js";
import { type Database, isPostgres } from "./database.js";
import {
  createClaimCounter,
  createFunctions,
  createRunAudit,
  createThreadNotices,
  createWordIndex,
} from "./postgres-functions.js";
import { SHOWN_COLUMNS } from "./thread-changes.js";
import { indexTitle, indexValues } from "./thread-index.js";

/**
 * Brings the database to the newest version; throws the first failure with the migration's name. A PostgreSQL that has all
 * that is known here is left alone, also one that a newer version has brought further: versions next to each other work
 * side by side (docs/decisions/022-postgresql.md). Of several processes one migrates, the others wait for it.
 */
export async function migrate(database: Database): Promise<void> {
  if (isPostgres(database) && (await hasAllMigrations(database))) return;
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => MIGRATIONS } });
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  if (isPostgres(database) && (await hasAllMigrations(database))) return; // a newer version came first
  const failed = results?.find((result) => result.status === "Error")?.migrationName ?? "start";
  throw new Error(`database migration ${failed} failed: ${(error as Error).message}`, { cause: error });
}

/** Whether a PostgreSQL has all that is known here, whatever else a later version has made. */
export async function hasAllMigrations(database: Database): Promise<boolean> {
  const { rows } = await sql<{ readonly exists: boolean }>`
    select to_regclass('kysely_migration') is not null as exists`.execute(database);
  if (rows[0]?.exists !== true) return false;
  const done = await sql<{ readonly name: string }>`select name from kysely_migration`.execute(database);
  const names = new Set(done.rows.map(({ name }) => name));
  return Object.keys(MIGRATIONS).every((name) => names.has(name));
}

/** Whether the database is of this version: nothing is missing, and nothing is in it that is not known here. */
export async function isMigrated(database: Database): Promise<boolean> {
  const { rows } = await sql<{ readonly name: string }>`select name from kysely_migration order by name`.execute(
    database,
  );
  const known = Object.keys(MIGRATIONS).sort();
  return rows.length === known.length && rows.every(({ name }, index) => name === known[index]);
}

/** By name, in order. */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  "001-core": {
    async up(db: Kysely<unknown>): Promise<void> {
      if (isOnPostgres(db)) await createFunctions(db);
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
      if (isOnPostgres(db)) await createThreadNotices(db, SHOWN_COLUMNS);
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

  // Every transition of a run, written by the database in the transition's own transaction: no code can forget it.
  "002-run-audit": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("run_audit")
        .addColumn("seq", "integer", (column) => column.primaryKey().autoIncrement())
        .addColumn("run_id", "text", (column) => column.notNull())
        .addColumn("thread_id", "text", (column) =>
          column.notNull().references("threads.thread_id").onDelete("cascade"),
        )
        .addColumn("at", "bigint", (column) => column.notNull())
        .addColumn("old_status", "text")
        .addColumn("new_status", "text")
        .addColumn("fence", "bigint", (column) => column.notNull())
        .addColumn("attempt", "integer", (column) => column.notNull())
        .addColumn("worker_id", "text")
        .execute();
      await db.schema.createIndex("run_audit_thread").on("run_audit").columns(["thread_id", "seq"]).execute();
      if (isOnPostgres(db)) return createRunAudit(db);
      const insert = sql.raw(
        "INSERT INTO run_audit (run_id, thread_id, at, old_status, new_status, fence, attempt, worker_id)",
      );
      await sql`CREATE TRIGGER run_admitted AFTER INSERT ON runs BEGIN
        ${insert} VALUES (NEW.run_id, NEW.thread_id, NEW.updated_at, NULL, NEW.status, NEW.fence, NEW.attempt, NEW.worker_id);
      END`.execute(db);
      await sql`CREATE TRIGGER run_changed AFTER UPDATE ON runs WHEN OLD.status <> NEW.status OR OLD.fence <> NEW.fence BEGIN
        ${insert} VALUES (NEW.run_id, NEW.thread_id, NEW.updated_at, OLD.status, NEW.status, NEW.fence, NEW.attempt, NEW.worker_id);
      END`.execute(db);
      // Not of a run that goes with its thread.
      await sql`CREATE TRIGGER run_removed AFTER DELETE ON runs
        WHEN EXISTS (SELECT 1 FROM threads WHERE thread_id = OLD.thread_id) BEGIN
        ${insert} VALUES (OLD.run_id, OLD.thread_id, OLD.updated_at, OLD.status, NULL, OLD.fence, OLD.attempt, OLD.worker_id);
      END`.execute(db);
    },
  },

  // What runs said, for readers that come after the process or the memory log is gone.
  "003-run-ledger": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("run_events")
        .addColumn("run_id", "text", (column) => column.notNull().references("runs.run_id").onDelete("cascade"))
        .addColumn("fence", "bigint", (column) => column.notNull())
        .addColumn("first_seq", "bigint", (column) => column.notNull())
        .addColumn("last_seq", "bigint", (column) => column.notNull())
        .addColumn("segment", "integer", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("bytes", "bigint", (column) => column.notNull())
        // Last, so that looking at the other columns reads no text.
        .addColumn("events", "text", (column) => column.notNull())
        .addPrimaryKeyConstraint("run_events_pk", ["run_id", "fence", "last_seq"])
        .execute();
      await db.schema.createIndex("run_events_created_at").on("run_events").column("created_at").execute();
    },
  },

  // Empty but for the moment of a probe (`write-probe.ts`).
  "003-write-probe": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("write_probe")
        .addColumn("payload", "blob", (column) => column.notNull())
        .execute();
    },
  },

  // A thread numbers the claims of its runs (`run-claim.ts`): the order of what its runs say.
  "004-claims": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .alterTable("threads")
        .addColumn("claims", "bigint", (column) => column.notNull().defaultTo(0))
        .execute();
      await db.schema.alterTable("runs").addColumn("first_claim", "bigint").execute();
      // As they must have started. What is in flight comes last: when it is claimed again its numbers go on.
      await sql`UPDATE runs SET first_claim = numbered.first_claim FROM (
        SELECT seq, 1 - fence + sum(fence) OVER (PARTITION BY thread_id
          ORDER BY status IN ('pending', 'running'), run_after, seq ROWS UNBOUNDED PRECEDING) AS first_claim
        FROM runs WHERE fence > 0) AS numbered WHERE numbered.seq = runs.seq`.execute(db);
      await sql`UPDATE threads SET claims = counted.claims FROM (
        SELECT thread_id, sum(fence) AS claims FROM runs GROUP BY thread_id) AS counted
        WHERE counted.thread_id = threads.thread_id`.execute(db);
      await sql`CREATE UNIQUE INDEX runs_started ON runs (thread_id, first_claim)
        WHERE first_claim IS NOT NULL`.execute(db);
      if (isOnPostgres(db)) return createClaimCounter(db);
      // By the database, in the claim's own statement: no code can forget it, and no claim costs another one.
      const count = sql.raw("UPDATE threads SET claims = claims + 1 WHERE thread_id = NEW.thread_id");
      await sql`CREATE TRIGGER run_admitted_claimed AFTER INSERT ON runs WHEN NEW.fence > 0 BEGIN
        ${count};
      END`.execute(db);
      await sql`CREATE TRIGGER run_claimed AFTER UPDATE OF fence ON runs WHEN NEW.fence > OLD.fence BEGIN
        ${count};
      END`.execute(db);
    },
  },

  // A copy of the payload's member, for whoever has no other use for the payload.
  "005-temporary-runs": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .alterTable("runs")
        .addColumn("temporary", "integer", (column) => column.notNull().defaultTo(0))
        .execute();
      if (isOnPostgres(db)) return; // nothing was there before
      await sql`UPDATE runs SET temporary = 1 WHERE payload ->> '$.temporary' = 1`.execute(db);
    },
  },

  "006-crons": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("crons")
        .addColumn("cron_id", "text", (column) => column.primaryKey())
        .addColumn("assistant_id", "text", (column) =>
          column.notNull().references("assistants.assistant_id").onDelete("cascade"),
        )
        .addColumn("thread_id", "text", (column) => column.references("threads.thread_id").onDelete("cascade"))
        .addColumn("schedule", "text", (column) => column.notNull())
        .addColumn("timezone", "text")
        .addColumn("end_at", "bigint")
        .addColumn("enabled", "integer", (column) => column.notNull())
        .addColumn("on_run_completed", "text")
        .addColumn("payload", "text", (column) => column.notNull())
        .addColumn("metadata", "text", (column) => column.notNull())
        .addColumn("user_id", "text")
        .addColumn("identity", "text")
        .addColumn("next_run_at", "bigint")
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("updated_at", "bigint", (column) => column.notNull())
        .execute();
      await sql`CREATE INDEX crons_due ON crons (next_run_at, cron_id) WHERE next_run_at IS NOT NULL`.execute(db);
      for (const column of ["assistant_id", "thread_id"]) {
        await db.schema.createIndex(`crons_${column}`).on("crons").column(column).execute();
      }
      // Its key is the wall behind the moving on of a cron: no tick becomes two runs.
      await db.schema
        .createTable("cron_ticks")
        .addColumn("cron_id", "text", (column) => column.notNull().references("crons.cron_id").onDelete("cascade"))
        .addColumn("tick_at", "bigint", (column) => column.notNull())
        .addColumn("run_id", "text")
        .addPrimaryKeyConstraint("cron_ticks_pk", ["cron_id", "tick_at"])
        .execute();
    },
  },

  // Nothing was ever written to the outbox before.
  "007-webhooks": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema.alterTable("runs").addColumn("webhook", "text").execute();
      await db.schema.alterTable("runs").addColumn("started_at", "bigint").execute();
      for (const column of ["url", "host"]) {
        await db.schema
          .alterTable("outbox")
          .addColumn(column, "text", (definition) => definition.notNull().defaultTo(""))
          .execute();
      }
      await db.schema
        .alterTable("outbox")
        .addColumn("updated_at", "bigint", (column) => column.notNull().defaultTo(0))
        .execute();
      for (const column of ["goes_with", "values"]) {
        await db.schema.alterTable("outbox").addColumn(column, "text").execute();
      }
      await sql`CREATE INDEX outbox_due ON outbox (next_at, id, host)
        WHERE kind = 'webhook' AND done_at IS NULL`.execute(db);
      await db.schema.createIndex("outbox_goes_with").on("outbox").columns(["goes_with", "run_id"]).execute();
    },
  },

  // Which threads are to go, in the order in which their time is over. Threads without a ttl cost nothing here.
  "008-retention": {
    async up(db: Kysely<unknown>): Promise<void> {
      await sql`CREATE INDEX threads_expiring ON threads (expires_at) WHERE expires_at IS NOT NULL`.execute(db);
    },
  },

  // What items mean, for search by meaning (`item-vectors.ts`).
  "009-item-vectors": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema.alterTable("items").addColumn("index_paths", "text").execute();
      await db.schema.alterTable("items").addColumn("embedded_by", "integer").execute();
      await sql`CREATE INDEX items_embedded_by ON items (embedded_by) WHERE embedded_by IS NOT NULL`.execute(db);
      await db.schema
        .createTable("item_models")
        .addColumn("id", "integer", (column) => column.primaryKey())
        .addColumn("embed", "text", (column) => column.notNull())
        .addColumn("dims", "integer", (column) => column.notNull())
        .addUniqueConstraint("item_models_unique", ["embed", "dims"])
        .execute();
      await db.schema
        .createTable("item_vectors")
        .addColumn("namespace", "text", (column) => column.notNull())
        .addColumn("key", "text", (column) => column.notNull())
        .addColumn("part", "integer", (column) => column.notNull())
        .addColumn("vector", "blob", (column) => column.notNull())
        .addPrimaryKeyConstraint("item_vectors_pk", ["namespace", "key", "part"])
        .addForeignKeyConstraint("item_vectors_item", ["namespace", "key"], "items", ["namespace", "key"], (key) =>
          key.onDelete("cascade"),
        )
        .execute();
    },
  },

  // Threads by their words, and by what stands at the top of their states (`thread-index.ts`).
  "010-thread-search": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("thread_texts")
        .addColumn("id", "integer", (column) => column.primaryKey())
        .addColumn("thread_id", "text", (column) =>
          column.notNull().unique().references("threads.thread_id").onDelete("cascade"),
        )
        .addColumn("title", "text", (column) => column.notNull())
        .addColumn("words", "text", (column) => column.notNull())
        .execute();
      if (isOnPostgres(db)) return createWordIndex(db);
      await sql`CREATE VIRTUAL TABLE thread_fts USING fts5(title, words, content='thread_texts', content_rowid='id',
        tokenize="unicode61 remove_diacritics 2")`.execute(db);
      // What is taken out of the index is gone from its pages at once: a deleted thread leaves no words.
      await sql`INSERT INTO thread_fts (thread_fts, rank) VALUES ('secure-delete', 1)`.execute(db);
      const add = sql.raw("INSERT INTO thread_fts (rowid, title, words) VALUES (NEW.id, NEW.title, NEW.words)");
      const remove = sql.raw(
        "INSERT INTO thread_fts (thread_fts, rowid, title, words) VALUES ('delete', OLD.id, OLD.title, OLD.words)",
      );
      await sql`CREATE TRIGGER thread_text_added AFTER INSERT ON thread_texts BEGIN ${add}; END`.execute(db);
      await sql`CREATE TRIGGER thread_text_removed AFTER DELETE ON thread_texts BEGIN ${remove}; END`.execute(db);
      await sql`CREATE TRIGGER thread_text_changed AFTER UPDATE ON thread_texts BEGIN ${remove}; ${add}; END`.execute(
        db,
      );
      await indexThreads(db as Database);
    },
  },

  "011-callers": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("api_keys")
        .addColumn("key_id", "text", (column) => column.primaryKey())
        .addColumn("hash", "text", (column) => column.notNull().unique())
        .addColumn("shown", "text", (column) => column.notNull())
        .addColumn("name", "text", (column) => column.notNull())
        .addColumn("identity", "text", (column) => column.notNull())
        .addColumn("permissions", "text", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("expires_at", "bigint")
        .addColumn("revoked_at", "bigint")
        .execute();
      // What somebody has in flight, for their limits.
      await sql`CREATE INDEX runs_of_owner ON runs (owner, status)
        WHERE owner IS NOT NULL AND status IN ('pending', 'running')`.execute(db);
    },
  },

  // Until when a thread that is taken is its owner's: others free it when that owner died. What is taken now was taken
  // without an end, and is over at once.
  "012-reservation-leases": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .alterTable("threads")
        .addColumn("reserved_until", "bigint", (column) => column.notNull().defaultTo(0))
        .execute();
      await sql`CREATE INDEX threads_reserved ON threads (reserved_until) WHERE reserved_by IS NOT NULL`.execute(db);
    },
  },

  // Since when nobody has read a run whose client left and wanted it to stop then: other replicas may have readers of it.
  "013-abandoned-runs": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema.alterTable("runs").addColumn("abandoned_at", "bigint").execute();
      await sql`CREATE INDEX runs_abandoned ON runs (abandoned_at)
        WHERE abandoned_at IS NOT NULL AND status IN ('pending', 'running')`.execute(db);
    },
  },

  // Long states of threads in pieces, where one connection reads and writes for everybody.
  "014-long-states": {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema.alterTable("thread_values").addColumn("version", "text").execute();
      if (isOnPostgres(db)) {
        await sql`CREATE VIEW thread_states AS
          SELECT thread_id, "values", octet_length("values") AS bytes FROM thread_values`.execute(db);
        return;
      }
      await sql`CREATE TABLE thread_value_parts (
        version TEXT NOT NULL,
        part INTEGER NOT NULL,
        thread_id TEXT NOT NULL REFERENCES threads (thread_id) ON DELETE CASCADE,
        text TEXT NOT NULL,
        PRIMARY KEY (version, part)
      )`.execute(db);
      await sql`CREATE INDEX thread_value_parts_thread ON thread_value_parts (thread_id)`.execute(db);
      const remove = sql.raw("DELETE FROM thread_value_parts WHERE version = OLD.version");
      await sql`CREATE TRIGGER thread_values_replaced AFTER UPDATE OF version ON thread_values
        WHEN OLD.version IS NOT NEW.version AND OLD.version IS NOT NULL BEGIN ${remove}; END`.execute(db);
      await sql`CREATE TRIGGER thread_values_removed AFTER DELETE ON thread_values
        WHEN OLD.version IS NOT NULL BEGIN ${remove}; END`.execute(db);
      await sql`CREATE VIEW thread_states AS SELECT thread_id,
        iif(version IS NULL, "values", (SELECT group_concat(text, '') FROM (
          SELECT text FROM thread_value_parts WHERE thread_value_parts.version = thread_values.version ORDER BY part
        ))) AS "values",
        iif(version IS NULL, octet_length("values"), (
          SELECT sum(octet_length(text)) FROM thread_value_parts WHERE thread_value_parts.version = thread_values.version
        )) AS bytes
        FROM thread_values`.execute(db);
    },
  },
};

function isOnPostgres(db: Kysely<unknown>): boolean {
  return isPostgres(db as Database);
}

/** Gives the threads that are there what they are found by; one state at a time, since they may be large. */
async function indexThreads(db: Database): Promise<void> {
  for (let last = ""; ; ) {
    const row = await db
      .selectFrom("threads")
      .leftJoin("thread_values", "thread_values.thread_id", "threads.thread_id")
      .select(["threads.thread_id", "threads.metadata", "thread_values.values"])
      .where("threads.thread_id", ">", last)
      .orderBy("threads.thread_id")
      .limit(1)
      .executeTakeFirst();
    if (row === undefined) return;
    last = row.thread_id;
    await indexTitle(db, last, JSON.parse(row.metadata) as JsonObject); // a column of metadata
    await indexValues(db, last, row.values);
  }
}
