/** What becomes of writes when the database cannot take them: each caller hears why, and nothing is left half done. */
import { sql } from "kysely";
import { expect, it, onTestFinished } from "vitest";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { createDatabase } from "../../src/storage/database.js";
import { storageFailure } from "../../src/storage/failure.js";
import { migrate } from "../../src/storage/migrations.js";
import { openSqlite } from "../../src/storage/sqlite.js";
import { createWriteProbe, prepareWriteProbe } from "../../src/storage/write-probe.js";

async function open() {
  const connection = openSqlite(":memory:", "FULL");
  const database = createDatabase(connection);
  onTestFinished(() => database.destroy());
  await migrate(database);
  connection.exec("CREATE TABLE notes (text TEXT)");
  const group = createCommitGroup(database);
  const limit = (pages: number): void => void connection.pragma(`max_page_count = ${pages}`);
  return {
    connection,
    group,
    note: (text: string) => group.run((tx) => sql`insert into notes values (${text})`.execute(tx)),
    notes: () => connection.prepare("SELECT substr(text, 1, 5) FROM notes ORDER BY rowid").pluck().all(),
    fill: () => limit(Number(connection.pragma("page_count", { simple: true }))),
    makeRoom: () => limit(1_000_000),
  };
}

const BIG = "x".repeat(100_000);

it("a full disk ends the transaction: every caller of it hears that it is full, and the next one works", async () => {
  const { note, notes, fill, makeRoom } = await open();
  await note("first");
  fill();
  for (const texts of [[BIG], ["small", BIG, "after"]]) {
    const answers = await Promise.allSettled(texts.map(note));
    expect(answers.map(({ status }) => status)).toEqual(texts.map(() => "rejected"));
    for (const answer of answers) {
      const error = answer.status === "rejected" ? storageFailure(answer.reason) : undefined;
      expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("disk is full") });
    }
  }
  expect(notes()).toEqual(["first"]);
  makeRoom();
  await Promise.all(["again", BIG].map(note));
  expect(notes()).toEqual(["first", "again", "xxxxx"]);
});

it("a start that dies in the middle of the migrations leaves none of them, and the next one does them all", async () => {
  const connection = openSqlite(":memory:", "FULL");
  const database = createDatabase(connection);
  onTestFinished(() => database.destroy());
  const prepare = connection.prepare;
  connection.prepare = ((text: string) => {
    if (text.includes("write_probe")) throw new Error("died");
    return prepare.call(connection, text);
  }) as typeof prepare;
  await expect(migrate(database)).rejects.toThrow("died");
  expect(connection.inTransaction).toBe(false);
  connection.prepare = prepare;
  const tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'threads'").all();
  expect(tables).toEqual([]);
  await migrate(database);
});

it("the probes notice it before anybody else does, and leave nothing behind", async () => {
  const { connection, group, fill, makeRoom } = await open();
  const probes = [createWriteProbe(group), async () => prepareWriteProbe(connection)()];
  for (const probe of probes) await probe();
  connection.exec("VACUUM"); // what the probe gave back must not serve it again
  fill();
  for (const probe of probes) await expect(probe()).rejects.toMatchObject({ code: "unavailable" });
  makeRoom();
  for (const probe of probes) await probe();
  expect(connection.prepare("SELECT count(*) FROM write_probe").pluck().get()).toBe(0);
});

it.each([
  ["SQLITE_FULL", /disk is full/],
  ["SQLITE_BUSY_SNAPSHOT", /locked/],
  ["SQLITE_IOERR_WRITE", /does not work/],
  ["SQLITE_READONLY_DBMOVED", /read-only/],
  ["SQLITE_CORRUPT_INDEX", /damaged/],
])("%s is what to tell a client, also as a cause", (code, message) => {
  const error = Object.assign(new Error("sqlite says"), { code });
  for (const thrown of [error, new Error("higher up", { cause: error })]) {
    expect(storageFailure(thrown)).toMatchObject({ code: "unavailable", message: expect.stringMatching(message) });
  }
});

it.each([new Error("a bug"), Object.assign(new Error(), { code: "SQLITE_CONSTRAINT_UNIQUE" }), null, "text"])(
  "%s is not the storage's fault",
  (thrown) => expect(storageFailure(thrown)).toBeUndefined(),
);
