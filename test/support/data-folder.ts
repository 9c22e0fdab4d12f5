/** A data folder with a few threads in it, as a gateway leaves it, and what is in one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { createDatabase } from "../../src/storage/database.js";
import { migrate } from "../../src/storage/migrations.js";
import { SqlRunStore } from "../../src/storage/runs.js";
import { openSqlite, openSqliteReader } from "../../src/storage/sqlite.js";
import { SqlThreadStore } from "../../src/storage/threads.js";
import { sequence } from "./checkpoint-graphs.js";
import { runOf } from "./checkpoint-rows.js";
import { createFakeClock } from "./fake-clock.js";
import { newThread } from "./sql-stores.js";

/** Gone when the test is over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-folder-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The stores over a folder's files. Its clock stands at `now`; the caller closes it. */
export async function openFolder(dataDir: string, now = Date.now()) {
  const connection = openSqlite(join(dataDir, "heddle.db"), "FULL");
  const database = createDatabase(connection);
  await migrate(database);
  const clock = createFakeClock(now);
  const deps = { database, commits: createCommitGroup(database), clock };
  const checkpoints = openCheckpoints(join(dataDir, "checkpoints.db"));
  const threads = new SqlThreadStore(deps);
  return {
    clock,
    connection,
    threads,
    runs: new SqlRunStore(deps),
    checkpoints,
    /** A thread on which a graph ran. */
    async addThread(
      threadId: string,
      { text = "hello", ...thread }: Partial<Parameters<typeof newThread>[0]> & { readonly text?: string } = {},
    ) {
      await threads.create(newThread({ threadId, ...thread }));
      const config = { configurable: { thread_id: threadId } };
      await sequence(runOf(checkpoints, `run of ${threadId}`, threadId).saver).invoke({ log: [text] }, config);
    },
    async close(): Promise<void> {
      await database.destroy();
      checkpoints.close();
    },
  };
}

/** The ids of the threads in each file of the folder. */
export function threadsIn(dataDir: string): { readonly rows: readonly string[]; readonly states: readonly string[] } {
  const idsOf = (file: string, sql: string): string[] => {
    const connection = openSqliteReader(join(dataDir, file));
    try {
      return connection.prepare<unknown[], string>(sql).pluck().all();
    } finally {
      connection.close();
    }
  };
  return {
    rows: idsOf("heddle.db", "SELECT thread_id FROM threads ORDER BY 1"),
    states: idsOf("checkpoints.db", "SELECT DISTINCT thread_id FROM checkpoints ORDER BY 1"),
  };
}
