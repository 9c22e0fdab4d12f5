/** Many writers share a commit, and none of them notices. */
import { sql } from "kysely";
import { expect, it, onTestFinished } from "vitest";
import { type CommitGroup, createCommitGroup } from "../../src/storage/commit-group.js";
import { createDatabase, type Database } from "../../src/storage/database.js";
import { openSqlite } from "../../src/storage/sqlite.js";

async function open() {
  const connection = openSqlite(":memory:", "FULL");
  connection.exec("CREATE TABLE parents (id INTEGER PRIMARY KEY)");
  connection.exec("CREATE TABLE notes (text TEXT, parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)");
  const database = createDatabase(connection);
  onTestFinished(() => database.destroy());
  let commits = 0;
  const prepare = connection.prepare;
  connection.prepare = ((text: string) => {
    const statement = prepare.call(connection, text);
    if (text !== "commit") return statement;
    const all = statement.run;
    statement.run = ((...args: unknown[]) => {
      commits++;
      return Reflect.apply(all, statement, args);
    }) as typeof all;
    return statement;
  }) as typeof prepare;
  return {
    group: createCommitGroup(database),
    commits: () => commits,
    notes: () => connection.prepare("SELECT text FROM notes ORDER BY rowid").pluck().all(),
  };
}

const note = (group: CommitGroup, text: string, parent: number | null = null): Promise<string> =>
  group.run(async (transaction: Database) => {
    await sql`insert into notes values (${text}, ${parent})`.execute(transaction);
    return text;
  });

it("what is asked for in one turn is written in order under one commit, and each caller gets its own answer", async () => {
  const { group, commits, notes } = await open();
  const texts = Array.from({ length: 20 }, (_, index) => `n${index}`);
  expect(await Promise.all(texts.map((text) => note(group, text)))).toEqual(texts);
  expect(notes()).toEqual(texts);
  expect(commits()).toBe(1);
  await note(group, "later");
  expect(commits()).toBe(2);
});

it("a unit that throws is undone alone, and only its caller hears of it", async () => {
  const { group, notes } = await open();
  const failing = group.run(async (transaction) => {
    await sql`insert into notes values ('half', null)`.execute(transaction);
    throw new RangeError("no");
  });
  const answers = await Promise.allSettled([note(group, "before"), failing, note(group, "after")]);
  expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  await expect(failing).rejects.toThrow(RangeError);
  expect(notes()).toEqual(["before", "after"]);
});

it("a unit that is alone is undone when it throws", async () => {
  const { group, notes } = await open();
  const failing = group.run(async (transaction) => {
    await sql`insert into notes values ('half', null)`.execute(transaction);
    throw new RangeError("no");
  });
  await expect(failing).rejects.toThrow(RangeError);
  expect(notes()).toEqual([]);
});

it("nobody hears of success when the commit fails, and the next ones are written all the same", async () => {
  const { group, notes } = await open();
  const answers = await Promise.allSettled([note(group, "good"), note(group, "orphan", 7)]);
  expect(answers.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(notes()).toEqual([]);
  expect(await note(group, "next")).toBe("next");
  expect(notes()).toEqual(["next"]);
});

it("what comes while others are written makes the next commit", async () => {
  const { group, commits, notes } = await open();
  const inner: Promise<string>[] = [];
  await group.run(async () => {
    inner.push(note(group, "meanwhile"));
  });
  expect(await Promise.all(inner)).toEqual(["meanwhile"]);
  expect(commits()).toBe(2);
  expect(notes()).toEqual(["meanwhile"]);
});
