/** `heddle migrate-data`: what a folder held is what the database holds, and a gateway on it goes on where the other one stopped. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "@langchain/langgraph-sdk";
import { CompiledQuery } from "kysely";
import pg from "pg";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { listKeys, makeKey } from "../../src/keys.js";
import { migrateData } from "../../src/maintenance/migrate-data.js";
import { LONG_STATE_CHARS } from "../../src/storage/long-states.js";
import { openPostgres } from "../../src/storage/postgres.js";
import { lockDatabase } from "../../src/storage/replica-lock.js";
import { openSqlite, openSqliteReader, type SqliteDatabase } from "../../src/storage/sqlite.js";
import { openWordFolding } from "../../src/storage/word-folding.js";
import { type Dump, dumpOf } from "../support/checkpoint-rows.js";
import { openFolder, temporaryFolder } from "../support/data-folder.js";
import { createFakeClock } from "../support/fake-clock.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { dumpFolder } from "../support/history-dump.js";
import { dumpPostgres } from "../support/history-dump-postgres.js";
import { makeDatabase, onServer, POSTGRES_MISSING } from "../support/postgres-server.js";
import { newThread, projection } from "../support/sql-stores.js";

type Row = Readonly<Record<string, unknown>>;

const HOSTILE = "a\u0000b \ud800 \u{10ffff} 😀 'q' \\u0000";

describe.skipIf(POSTGRES_MISSING !== undefined)("heddle migrate-data", () => {
  let url: string;

  beforeEach(async () => {
    url = await makeDatabase();
  });

  const databaseOf = () => ({ type: "postgres", url, poolSize: 2, timeoutSeconds: 15, migrate: true }) as const;

  async function move(dataDir: string): Promise<readonly string[]> {
    const lines: string[] = [];
    const clock = { ...createFakeClock(), after: later };
    const config = { dataDir, database: databaseOf() };
    await migrateData({ config, clock, log: silentLog, print: (line) => void lines.push(line), report: () => {} });
    return lines;
  }

  /** Time flies: what is waited for here does not come. */
  function later(_delayMs: number, callback: () => void): () => void {
    const timer = setTimeout(callback, 5);
    return () => clearTimeout(timer);
  }

  async function onPostgres(): Promise<TestGateway> {
    const gateway = await startTestGateway({
      config: { database: { type: "postgres", url, pool_size: 5 }, checkpointer: { pool_size: 2 }, auth: {} },
    });
    onTestFinished(() => gateway.stop());
    return gateway;
  }

  /** As a process that died would leave it. */
  function copyOf(dataDir: string): string {
    const copy = join(temporaryFolder(), "data");
    cpSync(dataDir, copy, { recursive: true });
    return copy;
  }

  it("moves every row, and a gateway goes on with what another one had under way", async () => {
    const one = await startTestGateway({ storage: "sqlite" });
    const { client } = one;
    const gate = `moved ${url}`;
    const used = await useGateway(client, gate);
    await expect.poll(() => unwritten(one.dataDir)).toEqual([]);
    const folder = copyOf(one.dataDir);
    const told = await readThreads(client, used.atRest);
    openGate(gate);
    await one.stop();
    const key = await makeKey(keysOf(folder), { identity: "ada", name: HOSTILE });
    addRarities(folder);

    const before = dumpFolder(folder);
    const lines = await move(folder);
    expect(lines).toContain(`threads: ${before.dump.threads.length} rows`);
    expect(lines.at(-1)).toBe(
      `${new URL(url).protocol}//${new URL(url).host}${new URL(url).pathname} holds what is in ${folder}, which was left as it is`,
    );
    expect(dumpFolder(folder)).toEqual({ ...before, dump: { ...before.dump, takenAt: expect.any(Number) } });

    const after = await dumpPostgres(url);
    expect(after.audit).toEqual(before.audit);
    const { thread_value_parts: _, ...tables } = before.dump.rowsByThread; // states are in one piece there
    expect(renamed(after.dump.rowsByThread)).toEqual(tables);
    expect({ ...after.dump, rowsByThread: {}, takenAt: 0, checkpoints: sorted(after.dump.checkpoints) }).toEqual({
      ...before.dump,
      rowsByThread: {},
      takenAt: 0,
      checkpoints: sorted(before.dump.checkpoints),
    });
    expect(await storeRows(url)).toEqual(folderRows(folder));
    expect(await stateRows(url)).toEqual(folderStates(folder));
    expect(await listKeys({ dataDir: folder, database: databaseOf() })).toEqual(await listKeys(keysOf(folder)));
    expect(key).toMatch(/^hdl_/);

    const [next] = await ask<{ number: string }>("SELECT nextval(pg_get_serial_sequence('outbox', 'id')) AS number");
    expect(next?.number).toBe("3"); // the second had gone

    const other = await onPostgres();
    expect(await readThreads(other.client, used.atRest)).toEqual(told);
    await expect
      .poll(async () => (await other.client.runs.get(used.gated.threadId, used.gated.runId)).status)
      .toBe("success");
    const { values } = await other.client.threads.getState<{ steps: string[] }>(used.gated.threadId);
    expect(values.steps).toEqual(["before", "gate", "after"]);
    await other.client.runs.wait(used.asking, "approval", { command: { resume: "yes" } });
    expect((await other.client.threads.getState<{ answers: string[] }>(used.asking)).values.answers).toEqual(["yes"]);
    const { run_id: runId } = await other.client.runs.create(used.talked, "echo", { input: { messages: [] } });
    await other.client.runs.join(used.talked, runId);
    expect((await other.client.runs.list(used.talked)).map(({ run_id }) => run_id)[0]).toBe(runId);
    expect(await wordsFind(other, "reisepl")).toEqual([used.talked]);
    expect((await other.client.store.getItem(["of", "ada"], "k"))?.value).toEqual({ text: HOSTILE });
  });

  it("brings a state that is in pieces in one", async () => {
    const folder = temporaryFolder();
    const { threads, close } = await openFolder(folder);
    const valuesJson = `{"text":"${"😀".repeat(LONG_STATE_CHARS)}"}`;
    await threads.create(newThread());
    await threads.saveProjection("t1", projection({ valuesJson }));
    await close();
    await move(folder);
    const rows = await ask<{ values: string }>('SELECT "values", version FROM thread_values');
    expect(rows.map(({ values, ...row }) => ({ ...row, isWhole: values === valuesJson }))).toEqual([
      { version: null, isWhole: true },
    ]);
  });

  it("refuses a folder that a gateway has, and one in which none has kept anything", async () => {
    const gateway = await startTestGateway({ storage: "sqlite" });
    onTestFinished(() => gateway.stop());
    await expect(move(gateway.dataDir)).rejects.toThrow("another heddle process is using it");
    await expect(move(temporaryFolder())).rejects.toThrow("no heddle.db in");
  });

  it("refuses a database that a gateway works on, and one that is not empty", async () => {
    const folder = await folderWith("t1");
    const leave = await lockDatabase(url, { company: "replicas", clock: createFakeClock(), log: silentLog });
    await expect(move(folder)).rejects.toThrow("a gateway works on this database: stop it first");
    await leave();
    await move(folder);
    await expect(move(folder)).rejects.toThrow("the database is not empty, threads has rows");
    expect(await countOf("threads")).toBe(1);
  });

  it("moves nothing when something cannot be moved, or does not arrive", async () => {
    const folder = await folderWith("t1", "t2");
    const checkpoints = openSqlite(join(folder, "checkpoints.db"), "FULL");
    checkpoints.exec("UPDATE channel_values SET channel = 'a' || char(0) WHERE thread_id = 't2'");
    await expect(move(folder)).rejects.toThrow(`thread "t2" has a name that PostgreSQL has no text for, "a\\u0000"`);
    expect([await countOf("threads"), await countOf("state_checkpoints")]).toEqual([0, 0]);
    checkpoints.exec("UPDATE channel_values SET channel = 'a' WHERE thread_id = 't2'");
    checkpoints.close();
    await onServer("CREATE RULE lost AS ON INSERT TO state_checkpoints DO INSTEAD NOTHING", url);
    await expect(move(folder)).rejects.toThrow(/state_checkpoints: 0 of \d+ rows have arrived$/);
    expect([await countOf("threads"), await countOf("state_values")]).toEqual([0, 0]);
    await onServer("DROP RULE lost ON state_checkpoints", url);
    await move(folder);
    expect(await countOf("threads")).toBe(2);
    expect(await triggersAtRest()).toEqual([]);
  });

  /** A folder in which a graph has run on each of these threads, with values that have rows of their own. */
  async function folderWith(...threadIds: readonly string[]): Promise<string> {
    const folder = temporaryFolder();
    const opened = await openFolder(folder);
    for (const threadId of threadIds) await opened.addThread(threadId, { text: "x".repeat(1_000) });
    await opened.threads.create(newThread({ threadId: "gone" }));
    await opened.threads.remove("gone");
    await opened.close();
    return folder;
  }

  async function ask<Found extends object>(text: string): Promise<readonly Found[]> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<Found>(text)).rows;
    } finally {
      await client.end();
    }
  }

  async function countOf(table: string): Promise<number> {
    return Number((await ask<{ count: string }>(`SELECT count(*) FROM ${table}`))[0]?.count);
  }

  const triggersAtRest = () => ask("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'");
});

/** A bit of everything that clients keep in a gateway. */
async function useGateway(client: Client, gate: string) {
  const human = (content: string) => ({ messages: [{ type: "human", content }] });
  const made = async (metadata = {}) => (await client.threads.create({ metadata })).thread_id;
  const talked = await made({ title: "Reisepläne", nested: { a: [1, HOSTILE] } });
  for (const text of ["hello", HOSTILE, "long ".repeat(2_000)]) {
    await client.runs.wait(talked, "echo", { input: human(text), metadata: { text } });
  }
  await client.threads.updateState(talked, { values: human("edited") });
  const asking = await made();
  await client.runs.wait(asking, "approval", { input: {} });
  const failed = await made();
  await client.runs.wait(failed, "failing", { input: {}, raiseError: false });
  const nested = await made();
  await client.runs.wait(nested, "nested", { input: {} });
  const waiting = await made();
  await client.runs.create(waiting, "echo", {
    input: human("later"),
    afterSeconds: 3_600,
    webhook: "https://hooks.example/x",
  });

  const assistant = await client.assistants.create({
    graphId: "echo",
    name: `mine ${HOSTILE}`,
    config: { tags: ["a"] },
  });
  await client.assistants.update(assistant.assistant_id, { metadata: { version: 2 } });
  await client.crons.create(assistant.assistant_id, { schedule: "0 0 1 1 *", input: human("tick") });
  await client.store.putItem(["of", "ada"], "k", { text: HOSTILE });
  await client.store.putItem(["of", "ada"], "short", { n: 1 }, { ttl: 600 });

  const threadId = await made();
  const config = { configurable: { gate } };
  const { run_id: runId } = await client.runs.create(threadId, "gated", { input: {}, config });
  await arrivedAt(gate);
  return { atRest: [talked, asking, failed, nested, waiting], talked, asking, gated: { threadId, runId } };
}

/** Runs that have ended, and whose last words are on their way to the ledger. */
function unwritten(folder: string): readonly unknown[] {
  const database = openSqliteReader(join(folder, "heddle.db"));
  try {
    return database
      .prepare(
        `SELECT run_id FROM runs WHERE status NOT IN ('pending', 'running') AND NOT EXISTS (SELECT 1 FROM run_events
           WHERE run_events.run_id = runs.run_id AND (events LIKE '%"event":"end"%' OR events LIKE '%"event":"error"%'))`,
      )
      .all();
  } finally {
    database.close();
  }
}

/** What the SDK tells about threads on which nothing goes on, and what their runs had said. */
async function readThreads(client: Client, threadIds: readonly string[]): Promise<unknown> {
  const told = [];
  for (const threadId of threadIds) {
    const runs = await client.runs.list(threadId);
    const said = [];
    for (const { run_id: runId, status } of runs) {
      if (status === "pending") continue;
      for await (const event of client.runs.joinStream(threadId, runId, { lastEventId: "-1" })) said.push(event);
    }
    const state = await client.threads.getState(threadId, undefined, { subgraphs: true });
    const history = await client.threads.getHistory(threadId, { limit: 100 });
    told.push({ thread: await client.threads.get(threadId), runs, said, state, history });
  }
  const assistants = await client.assistants.search({ metadata: { version: 2 } });
  const versions = await client.assistants.getVersions(assistants[0]?.assistant_id ?? "");
  const { items } = await client.store.searchItems(["of"]);
  return { told, assistants, versions, crons: await client.crons.search(), items };
}

async function wordsFind({ url }: TestGateway, query: string): Promise<readonly string[]> {
  const response = await fetch(`${url}/threads/search`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query }),
  });
  return ((await response.json()) as { readonly thread_id: string }[]).map(({ thread_id }) => thread_id);
}

const keysOf = (dataDir: string) => ({ dataDir, database: { url: null, timeoutSeconds: 0, migrate: true } });

/** What no client of the gateway above leaves: vectors, something in the outbox, numbers that were given before, bytes, a value of several megabytes. */
function addRarities(folder: string): void {
  const database = openSqlite(join(folder, "heddle.db"), "FULL");
  database.exec(`INSERT INTO item_models (id, embed, dims) VALUES (7, 'm', 2);
    INSERT INTO item_vectors (namespace, key, part, vector) SELECT namespace, key, 0, x'0000803f000000ff' FROM items;
    INSERT INTO outbox (run_id, kind, payload, next_at, url, host, "values") VALUES ('gone', 'letter', '{}', 1, 'u', 'h', '{}');
    INSERT INTO outbox (run_id, kind, payload, next_at) VALUES ('gone', 'letter', '{}', 1);
    DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox)`);
  database.close();
  const checkpoints = openSqlite(join(folder, "checkpoints.db"), "FULL");
  checkpoints
    .prepare(
      "INSERT INTO writes VALUES ('t', '', 'c', 'task', 0, 'r', 'bytes', 'bytes', ?), ('t', '', 'c', 'task', 0, 'r2', 'text', 'json', ?)",
    )
    .run(Buffer.from([0, 255, 0]), JSON.stringify("y".repeat(5_000_000)));
  checkpoints.close();
}

const STORE_TABLES = [
  "api_keys",
  "assistant_versions",
  "assistants",
  "cron_ticks",
  "crons",
  "idempotency_keys",
  "item_models",
  "item_vectors",
  "items",
  "outbox",
  "run_audit",
  "run_events",
  "runs",
  "thread_terms",
  "thread_texts",
  "thread_values",
  "threads",
];

/** Every row by table: without the times of leases, and words as PostgreSQL has them. */
function folderRows(folder: string): Record<string, readonly string[]> {
  const database = openSqliteReader(join(folder, "heddle.db"));
  const words = openWordFolding();
  const change = (row: Row): Row =>
    "words" in row ? { ...row, title: words.stored(String(row.title)), words: words.stored(String(row.words)) } : row;
  try {
    return byTable((table) => allOf(database, table).map(change));
  } finally {
    words.close();
    database.close();
  }
}

async function storeRows(url: string): Promise<Record<string, readonly string[]>> {
  const { database } = openPostgres({ url, poolSize: 1, timeoutMs: 60_000 }, silentLog);
  try {
    const rows = new Map<string, readonly Row[]>();
    for (const table of STORE_TABLES) {
      rows.set(table, (await database.executeQuery<Row>(CompiledQuery.raw(`SELECT * FROM ${table}`))).rows);
    }
    return byTable((table) => rows.get(table) ?? []);
  } finally {
    await database.destroy();
  }
}

function byTable(rowsOf: (table: string) => readonly Row[]): Record<string, readonly string[]> {
  const asText = ({ lease_until, reserved_until, ...row }: Row): string =>
    JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
  return Object.fromEntries(STORE_TABLES.map((table) => [table, rowsOf(table).map(asText).sort()]));
}

function folderStates(folder: string): Dump {
  const database = openSqliteReader(join(folder, "checkpoints.db"));
  try {
    return dumpOf(allOf(database, "checkpoints"), allOf(database, "channel_values"), allOf(database, "writes"));
  } finally {
    database.close();
  }
}

async function stateRows(url: string): Promise<Dump> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const rows = async (table: string) => (await client.query<Row>(`SELECT * FROM ${table}`)).rows;
    return dumpOf(await rows("state_checkpoints"), await rows("state_values"), await rows("state_writes"));
  } finally {
    await client.end();
  }
}

function allOf(database: SqliteDatabase, table: string): readonly Row[] {
  return database.prepare<[], Row>(`SELECT * FROM ${table}`).all();
}

const FILE_TABLES: Readonly<Record<string, string>> = {
  state_checkpoints: "checkpoints",
  state_values: "channel_values",
  state_writes: "writes",
};

function renamed(counts: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(counts).map(([table, count]) => [FILE_TABLES[table] ?? table, count]));
}

function sorted(rows: readonly unknown[]): readonly string[] {
  return rows.map((row) => JSON.stringify(row)).sort();
}
