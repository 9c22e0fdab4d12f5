/** What `heddle gc` tells and takes: in a folder that a gateway has, in one that none has, and on PostgreSQL. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import { silentLog } from "../../src/core/log.js";
import { collectGarbage, lookForGarbage } from "../../src/maintenance/gc.js";
import { migrateData } from "../../src/maintenance/migrate-data.js";
import { fileSpace } from "../../src/storage/file-space.js";
import { lockDataFolder } from "../../src/storage/sqlite.js";
import { openFolder, temporaryFolder, threadsIn } from "../support/data-folder.js";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";
import { admission } from "../support/sql-stores.js";

const HOUR_MS = 3_600_000;
const both = (...ids: string[]) => ({ rows: ids, states: ids });

/** Threads that were made two hours ago: one of each kind. */
async function usedFolder(): Promise<string> {
  const dataDir = join(temporaryFolder(), "data");
  mkdirSync(dataDir);
  const folder = await openFolder(dataDir, Date.now() - 2 * HOUR_MS);
  await folder.addThread("over", { ttl: { strategy: "delete", ttlMinutes: 60 }, text: "x".repeat(3_000_000) });
  await folder.addThread("outgrown", { ttl: { strategy: "keep_latest", ttlMinutes: 60 } });
  await folder.addThread("stays");
  await folder.addThread("longer", { ttl: { strategy: "delete", ttlMinutes: 1_000 } });
  await folder.addThread("in use", { ttl: { strategy: "delete", ttlMinutes: 60 } });
  await folder.runs.admit(admission({ runId: "r1", threadId: "in use" }));
  await folder.addThread("half deleted");
  await folder.threads.markDeleting("half deleted");
  folder.connection.exec(`INSERT INTO items (namespace, key, value, created_at, updated_at, ttl_minutes, expires_at)
    VALUES ('["a"]', 'old', '{}', 0, 0, 1, 1), ('["a"]', 'new', '{}', 0, 0, NULL, NULL)`);
  folder.connection.exec(
    `INSERT INTO idempotency_keys (owner, key, request_hash, run_id, created_at) VALUES ('', 'k', 'h', 'r', 1)`,
  );
  await folder.close();
  return dataDir;
}

/** `url`: of a PostgreSQL that the configuration names. */
async function printed(work: typeof collectGarbage, dataDir: string, url: string | null = null): Promise<string[]> {
  const lines: string[] = [];
  const config = {
    dataDir,
    runLedger: { retentionDays: 3, maxBytesPerRun: 1e6 },
    database: { url },
    checkpointer: { url: null },
  };
  await work({ config, log: silentLog, print: (line) => void lines.push(line) });
  return lines;
}

/** By thread: bytes, and what is to become of it. */
function tableOf(lines: readonly string[]): Record<string, { readonly bytes: number; readonly fate: string }> {
  const rows = lines.flatMap((line) => {
    const [, bytes, fate, thread] = /^ *([\d,]+) {2}(delete|prune|) *(\S.*)$/.exec(line) ?? [];
    return thread === undefined ? [] : [[thread.trim(), { bytes: Number(bytes?.replaceAll(",", "")), fate }]];
  });
  return Object.fromEntries(rows);
}

describe("looking", () => {
  it("tells what each thread takes and what would go, the largest first, and changes nothing", async () => {
    const dataDir = await usedFolder();
    const before = threadsIn(dataDir);
    const lines = await printed(lookForGarbage, dataDir);
    const table = tableOf(lines);

    expect(Object.entries(table).map(([thread, { fate }]) => [thread, fate])).toEqual(
      [
        ["over", "delete"],
        ...["half deleted", "in use", "longer", "outgrown", "stays"].map((thread) => [
          thread,
          thread === "outgrown" ? "prune" : "",
        ]),
      ].toSorted(([a = ""], [b = ""]) => (table[b]?.bytes ?? 0) - (table[a]?.bytes ?? 0)),
    );
    expect(table.over?.bytes).toBeGreaterThan(3_000_000);
    expect(lines.join("\n")).toContain(
      "to delete: 1 expired items (2 bytes), 0 segments of what runs said (0 bytes), 1 idempotency keys",
    );
    expect(lines.at(-1)).toBe("nothing was changed");
    expect(threadsIn(dataDir)).toEqual(before);
    expect(await printed(lookForGarbage, dataDir)).toEqual(lines);
  });

  it("needs no folder of its own: one that no gateway has used is told", async () => {
    await expect(printed(lookForGarbage, temporaryFolder())).rejects.toThrow("no heddle.db in");
  });
});

describe("collecting", () => {
  it("takes what has expired, finishes what a crash left, and gives the space back", async () => {
    const dataDir = await usedFolder();
    const sizeBefore = fileSpace(join(dataDir, "checkpoints.db")).bytes;
    const lines = await printed(collectGarbage, dataDir);

    expect(threadsIn(dataDir)).toEqual(both("in use", "longer", "outgrown", "stays"));
    expect(lines).toContain("deleted: 2 threads; pruned: 1 threads");
    expect(lines).toContainEqual(expect.stringMatching(/^deleted: 1 expired items, 0 .*, 1 idempotency keys, 0 /));
    const { bytes, free } = fileSpace(join(dataDir, "checkpoints.db"));
    expect(bytes).toBeLessThan(sizeBefore - 2_500_000);
    expect(free).toBe(0);

    const again = await openFolder(dataDir);
    expect((await again.threads.get("outgrown"))?.ttl?.expiresAt).toBeGreaterThan(Date.now() + HOUR_MS / 2);
    expect((await again.checkpoints.sizesOf("outgrown")).checkpoints.count).toBe(1);
    await again.close();
  });

  it("beside a gateway takes what has expired, and leaves alone what that has under way", async () => {
    const dataDir = await usedFolder();
    const unlock = lockDataFolder(dataDir);
    const gateway = await openFolder(dataDir);
    try {
      const lines = await printed(collectGarbage, dataDir);
      expect(lines).toContain("deleted: 1 threads; pruned: 1 threads");
      expect(lines.at(-1)).toContain("a gateway uses the files");
      expect(fileSpace(join(dataDir, "checkpoints.db")).free).toBe(0);
      expect(await gateway.threads.get("over")).toBeUndefined();
      expect(await gateway.threads.listDeleting()).toEqual(["half deleted"]);
      expect(await gateway.threads.get("in use")).toMatchObject({ status: "busy" });
      await gateway.addThread("later"); // and it writes on
    } finally {
      await gateway.close();
      unlock();
    }
    expect(threadsIn(dataDir)).toEqual(both("half deleted", "in use", "later", "longer", "outgrown", "stays"));
  });

  it("does not touch a folder of another version beside its gateway", async () => {
    const dataDir = await usedFolder();
    const folder = await openFolder(dataDir);
    folder.connection.exec("DELETE FROM kysely_migration WHERE name = '008-retention'");
    await folder.close();
    const unlock = lockDataFolder(dataDir);
    try {
      await expect(printed(collectGarbage, dataDir)).rejects.toThrow("of another version of heddle");
      await expect(printed(lookForGarbage, dataDir)).rejects.toThrow("of another version of heddle");
    } finally {
      unlock();
    }
  });
});

describe.skipIf(POSTGRES_MISSING !== undefined)("on PostgreSQL", () => {
  /** What `usedFolder` holds, and that folder. */
  async function usedServer() {
    const dataDir = await usedFolder();
    const url = await makeDatabase();
    const database = { type: "postgres", url, poolSize: 2, timeoutSeconds: 15, migrate: true } as const;
    const deps = { config: { dataDir, database }, clock: systemClock, log: silentLog };
    await migrateData({ ...deps, print: () => {}, report: () => {} });
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {}); // the database is dropped when the file is done
    await client.connect();
    onTestFinished(() => client.end());
    const idsIn = async (table: string) => {
      const { rows } = await client.query<{ id: string }>(`SELECT DISTINCT thread_id AS id FROM ${table} ORDER BY 1`);
      return rows.map(({ id }) => id);
    };
    const threads = async () => ({ rows: await idsIn("threads"), states: await idsIn("state_checkpoints") });
    return { dataDir, url, client, threads };
  }

  it("it tells what each thread takes and what would go, as in the folder, and changes nothing", async () => {
    const { dataDir, url, threads } = await usedServer();
    const before = await threads();
    const lines = await printed(lookForGarbage, dataDir, url);
    const inFolder = await printed(lookForGarbage, dataDir);

    const fates = (of: readonly string[]) => Object.entries(tableOf(of)).map(([thread, { fate }]) => [thread, fate]);
    expect(fates(lines).toSorted()).toEqual(fates(inFolder).toSorted());
    expect(tableOf(lines).over?.bytes).toBeGreaterThan(3_000_000);
    expect(lines.slice(-2)).toEqual(inFolder.slice(-2));
    expect(await threads()).toEqual(before);
  });

  it("it takes what has expired, leaves alone what replicas may have under way, and does not touch the folder", async () => {
    const { dataDir, url, client, threads } = await usedServer();
    const lines = await printed(collectGarbage, dataDir, url);

    expect(lines).toContain("deleted: 1 threads; pruned: 1 threads");
    expect(lines).toContainEqual(expect.stringMatching(/^deleted: 1 expired items, 0 .*, 1 idempotency keys, 0 /));
    expect(await threads()).toEqual(both("half deleted", "in use", "longer", "outgrown", "stays"));
    const { rows } = await client.query(
      "SELECT expires_at > heddle_now() AS renewed FROM threads WHERE thread_id = 'outgrown'",
    );
    expect(rows).toEqual([{ renewed: true }]);
    const left = await client.query("SELECT 1 FROM state_checkpoints WHERE thread_id = 'outgrown'");
    expect(left.rowCount).toBe(1);
    expect(threadsIn(dataDir).rows).toContain("over");
    expect(await printed(collectGarbage, dataDir, url)).toContain("deleted: 0 threads; pruned: 0 threads");
  });

  it("it makes no migrations, and says who does", async () => {
    const url = await makeDatabase();
    for (const work of [lookForGarbage, collectGarbage]) {
      await expect(printed(work, temporaryFolder(), url)).rejects.toThrow("run heddle migrate first");
    }
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    await client.end();
    expect(rows).toEqual([]);
  });
});
