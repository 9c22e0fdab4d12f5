/** Who makes and changes the tables on PostgreSQL, when, and who must not. */
import pg from "pg";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { listKeys, makeKey } from "../../src/keys.js";
import { lookForMigrations, makeMigrations } from "../../src/maintenance/migrate.js";
import { migrate } from "../../src/storage/migrations.js";
import { migrateServer, openPostgres } from "../../src/storage/postgres.js";
import { startFaultProxy } from "../support/fault-proxy.js";
import { startTestGateway } from "../support/gateway.js";
import { makeDatabase, onServer, POSTGRES_MISSING } from "../support/postgres-server.js";

describe.skipIf(POSTGRES_MISSING !== undefined)("the tables on PostgreSQL", () => {
  let url: string;

  beforeEach(async () => {
    url = await makeDatabase();
  });

  async function ask<Row extends object>(text: string): Promise<readonly Row[]> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Every table, index and sequence, with what identifies it. */
  const schema = () =>
    ask("SELECT oid, relname, relnatts FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname");

  const config = () => ({
    dataDir: "/nowhere",
    database: { type: "postgres", url, poolSize: 2, timeoutSeconds: 15, migrate: true } as const,
  });

  async function heddleMigrate(work: typeof makeMigrations): Promise<readonly string[]> {
    const lines: string[] = [];
    await work({ config: config(), log: silentLog, print: (line) => void lines.push(line) });
    return lines;
  }

  async function serve({ migrate }: { readonly migrate: boolean }): Promise<void> {
    const gateway = await startTestGateway({
      config: { database: { type: "postgres", url, pool_size: 5, migrate }, checkpointer: { pool_size: 2 } },
    });
    try {
      const { thread_id: threadId } = await gateway.client.threads.create();
      await gateway.client.runs.wait(threadId, "echo", { input: { messages: [] } });
      expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
    } finally {
      await gateway.stop();
    }
  }

  it("are looked at in seconds, where a start finds none to make, be the connection lost without a word", async () => {
    await migrateServer(url, silentLog);
    const proxy = await startFaultProxy(url);
    const through = new URL(url);
    through.host = proxy.host;
    try {
      await migrateServer(through.href, silentLog);
      // Whoever holds the table keeps the look from its answer, as a network does that forgot the connection.
      const holder = new pg.Client({ connectionString: url });
      await holder.connect();
      await holder.query("BEGIN; LOCK TABLE kysely_migration IN ACCESS EXCLUSIVE MODE");
      const looking = migrateServer(through.href, silentLog, 3_000);
      looking.catch(() => {}); // heard of below
      await vi.waitFor(async () => {
        const { rows } = await holder.query(
          "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'kysely_migration'::regclass",
        );
        expect(rows).toHaveLength(1);
      }, 2_500);
      proxy.abandon();
      await expect(looking).rejects.toThrow(/^cannot use the database .*: /);
      await holder.end();
    } finally {
      await proxy.close();
    }
  });

  it("are made by heddle migrate, those of checkpoints included, and a gateway that may not make any serves on them", async () => {
    expect(await heddleMigrate(lookForMigrations)).toEqual(
      expect.arrayContaining(["threads and runs: 001-core is pending", "checkpoints: checkpoints 001 is pending"]),
    );
    expect(await schema()).toEqual([]);
    await heddleMigrate(makeMigrations);
    const made = await schema();
    expect(made).toEqual(expect.arrayContaining([expect.objectContaining({ relname: "state_checkpoints" })]));
    await serve({ migrate: false });
    expect(await schema()).toEqual(made);
    expect(await heddleMigrate(makeMigrations)).toContain("checkpoints: nothing is pending");
    expect(await schema()).toEqual(made);
  });

  it("are made by nobody who may not: neither all of them, nor those of checkpoints alone", async () => {
    await expect(serve({ migrate: false })).rejects.toThrow(
      /^threads and runs: \d+ migrations are pending \(001-core, .*run heddle migrate first$/,
    );
    expect(await schema()).toEqual([]);
    const { database } = openPostgres({ url, poolSize: 1, timeoutMs: 60_000 }, silentLog);
    await migrate(database);
    await database.destroy();
    const before = await schema();
    await expect(serve({ migrate: false })).rejects.toThrow(
      "checkpoints: a migration is pending (checkpoints 001), and database.migrate is false: run heddle migrate first",
    );
    expect(await schema()).toEqual(before);
  });

  it("are not made for heddle keys either where the configuration forbids it", async () => {
    const place = { ...config(), database: { ...config().database, migrate: false } };
    await expect(makeKey(place, { identity: "ada" })).rejects.toThrow("run heddle migrate first");
    expect(await schema()).toEqual([]);
    await makeKey(config(), { identity: "ada" });
    expect(await listKeys(place)).toHaveLength(1);
  });

  it("serve a version that does not know their latest migration, be it told to migrate or not", async () => {
    await heddleMigrate(makeMigrations);
    await onServer("INSERT INTO kysely_migration (name, timestamp) VALUES ('999-later', '')", url);
    await onServer("INSERT INTO state_migrations (version, works_from) VALUES (98, 1)", url);
    await serve({ migrate: false });
    await serve({ migrate: true });
    expect(await heddleMigrate(lookForMigrations)).toContain("threads and runs: 999-later was made by a later heddle");
  });

  it("are refused by a version that cannot work with them any more", async () => {
    await heddleMigrate(makeMigrations);
    await onServer("INSERT INTO state_migrations (version, works_from) VALUES (99, 99)", url);
    for (const migrate of [false, true]) {
      await expect(serve({ migrate })).rejects.toThrow("the tables of checkpoints have version 99");
    }
  });

  it("are left alone by a version that a later one overtook while both waited to migrate", async () => {
    await heddleMigrate(makeMigrations);
    const [newest] = await ask<{ name: string; timestamp: string }>(
      "DELETE FROM kysely_migration WHERE name = (SELECT max(name) FROM kysely_migration) RETURNING name, timestamp",
    );
    const later = new pg.Client({ connectionString: url });
    await later.connect();
    await later.query("BEGIN; SELECT pg_advisory_xact_lock(3853314791062309107)"); // Kysely's, by which they wait
    const { database } = openPostgres({ url, poolSize: 1, timeoutMs: 60_000 }, silentLog);
    const migrated = migrate(database);
    const isWaiting =
      "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()";
    while ((await ask(isWaiting)).length === 0);
    await later.query("INSERT INTO kysely_migration (name, timestamp) VALUES ($1, ''), ('999-later', '')", [
      newest?.name,
    ]);
    await later.query("COMMIT");
    await migrated;
    await database.destroy();
    await later.end();
    expect(await ask("SELECT 1 FROM kysely_migration WHERE name = '999-later'")).toHaveLength(1);
  });
});
