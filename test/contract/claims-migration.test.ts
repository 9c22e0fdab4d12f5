/** Threads of a database from before claims were numbered get the numbers that they would have had. */
import { Migrator } from "kysely";
import { expect, it, onTestFinished } from "vitest";
import type { RunStatus } from "../../src/core/model.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { createDatabase } from "../../src/storage/database.js";
import { MIGRATIONS, migrate } from "../../src/storage/migrations.js";
import { SqlRunStore } from "../../src/storage/runs.js";
import { openSqlite } from "../../src/storage/sqlite.js";
import { createFakeClock } from "../support/fake-clock.js";
import { LEASE_MS, PAYLOAD } from "../support/sql-stores.js";

interface OldRun {
  readonly runId: string;
  readonly threadId: string;
  readonly status: RunStatus;
  readonly fence: number;
  readonly runAfter: number;
}

async function openOldDatabase() {
  const connection = openSqlite(":memory:", "FULL");
  const database = createDatabase(connection);
  onTestFinished(() => database.destroy());
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => MIGRATIONS } });
  const { error } = await migrator.migrateTo("003-write-probe");
  expect(error).toBeUndefined();
  const insertThread = connection.prepare(
    `INSERT INTO threads (thread_id, created_at, updated_at, metadata, config, status, interrupts, next)
      VALUES (?, 1, 1, '{}', '{}', 'idle', '{}', '[]')`,
  );
  const insertRun = connection.prepare(
    `INSERT INTO runs (run_id, thread_id, assistant_id, graph_id, created_at, updated_at, status, metadata,
      multitask_strategy, payload, fence, run_after, thread_metadata_before, thread_updated_at_before)
      VALUES (@runId, @threadId, 'a1', 'g1', 1, 1, @status, '{}', 'enqueue', @payload, @fence, @runAfter, '{}', 1)`,
  );
  for (const threadId of ["a", "b", "unused"]) insertThread.run(threadId);
  return {
    connection,
    database,
    insert: (run: OldRun) => void insertRun.run({ ...run, payload: JSON.stringify(PAYLOAD) }),
    numbers: () => connection.prepare("SELECT run_id, first_claim, fence FROM runs ORDER BY seq").raw().all(),
    claims: () => connection.prepare("SELECT thread_id, claims FROM threads ORDER BY thread_id").raw().all(),
  };
}

it("runs that were claimed get consecutive numbers in the order in which they were due, and go on from there", async () => {
  const { connection, database, insert, numbers, claims } = await openOldDatabase();
  insert({ runId: "a-later", threadId: "a", status: "success", fence: 1, runAfter: 9 });
  insert({ runId: "a-first", threadId: "a", status: "error", fence: 3, runAfter: 1 });
  insert({ runId: "b-first", threadId: "b", status: "success", fence: 2, runAfter: 5 });
  insert({ runId: "a-cancelled", threadId: "a", status: "interrupted", fence: 0, runAfter: 2 });
  insert({ runId: "b-in-flight", threadId: "b", status: "running", fence: 1, runAfter: 4 });
  insert({ runId: "b-waiting", threadId: "b", status: "pending", fence: 0, runAfter: 6 });
  insert({ runId: "a-twin", threadId: "a", status: "success", fence: 1, runAfter: 9 });
  const audited = connection.prepare("SELECT count(*) FROM run_audit").pluck();
  const before = audited.get();

  await migrate(database);

  expect(numbers()).toEqual([
    ["a-later", 4, 1],
    ["a-first", 1, 3],
    ["b-first", 1, 2],
    ["a-cancelled", null, 0],
    ["b-in-flight", 3, 1], // last of its thread: it will be claimed again
    ["b-waiting", null, 0],
    ["a-twin", 5, 1],
  ]);
  expect(claims()).toEqual([
    ["a", 5],
    ["b", 3],
    ["unused", 0],
  ]);
  expect(audited.get()).toBe(before);

  const runs = new SqlRunStore({ database, commits: createCommitGroup(database), clock: createFakeClock() });
  await runs.recoverOrphans();
  expect(await runs.claim("w1", LEASE_MS)).toMatchObject({ runId: "b-in-flight", firstClaim: 3, fence: 2 });
  expect(claims()).toContainEqual(["b", 4]);
});

it("a start that dies in the middle of it leaves the database as it was, and the next one numbers the claims", async () => {
  const { connection, database, insert, numbers } = await openOldDatabase();
  insert({ runId: "r1", threadId: "a", status: "success", fence: 1, runAfter: 1 });
  const schema = () => connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").raw().all();
  const before = schema();
  const prepare = connection.prepare;
  connection.prepare = ((text: string) => {
    if (text.includes("runs_started")) throw new Error("died");
    return prepare.call(connection, text);
  }) as typeof prepare;
  await expect(migrate(database)).rejects.toThrow("died");
  connection.prepare = prepare;
  expect(schema()).toEqual(before);
  await migrate(database);
  expect(numbers()).toEqual([["r1", 1, 1]]);
});
