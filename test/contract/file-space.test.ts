/** Space that nothing is stored in any more goes back to the disk, and what is stored stays, in its order. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { fileSpace, fillGaps, rewrite } from "../../src/storage/file-space.js";
import { openSqlite, openSqliteBeside, openSqliteReader } from "../../src/storage/sqlite.js";
import { temporaryFolder } from "../support/data-folder.js";

/** Rows of 10 KB in the order in which they were written, of which every other one is deleted. */
const FILL = `CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
    INSERT INTO kept SELECT hex(400 - i), hex(zeroblob(5000)) FROM n;
  DELETE FROM kept WHERE rowid % 2 = 0;`;

function ordered(file: string): unknown[] {
  const connection = openSqliteReader(file);
  try {
    expect(connection.pragma("integrity_check", { simple: true })).toBe("ok");
    return connection.prepare("SELECT name FROM kept ORDER BY rowid").pluck().all();
  } finally {
    connection.close();
  }
}

function newFile(): string {
  const file = join(temporaryFolder(), "a.db");
  openSqlite(file, "NORMAL").exec(FILL).close();
  return file;
}

/** As versions before this one made them. */
function oldFile(): string {
  const file = newFile();
  const connection = openSqliteBeside(file);
  connection.exec("PRAGMA auto_vacuum = NONE; VACUUM; DELETE FROM kept WHERE rowid % 4 = 1");
  connection.close();
  expect(fileSpace(file).free).toBeGreaterThan(0);
  return file;
}

it.each([
  ["this version", newFile],
  ["an older one", oldFile],
])("a file of %s that nobody uses is rewritten without gaps", (_, make) => {
  const file = make();
  const [rows, before] = [ordered(file), fileSpace(file)];
  rewrite(file);
  expect(fileSpace(file)).toEqual({ bytes: statSync(file).size, free: 0 });
  expect(fileSpace(file).bytes).toBeLessThan(before.bytes - before.free / 2);
  expect(ordered(file)).toEqual(rows);
  const connection = openSqliteReader(file);
  expect(connection.pragma("auto_vacuum", { simple: true })).toBe(2);
  connection.close();
});

it("gaps are filled in steps while somebody writes", async () => {
  const file = newFile();
  const rows = ordered(file);
  const writer = openSqlite(file, "NORMAL");
  let steps = 0;
  await fillGaps(file, async () => {
    writer.prepare("INSERT INTO kept VALUES (?, 'x')").run(`step ${++steps}`);
  });
  writer.close();
  expect(steps).toBeGreaterThan(1);
  expect(fileSpace(file).free).toBe(0);
  expect(ordered(file)).toEqual([...rows, ...Array.from({ length: steps }, (_, n) => `step ${n + 1}`)]);
});

it("gaps of a file that an older version made stay until it is rewritten", async () => {
  const file = oldFile();
  const { free } = fileSpace(file);
  await fillGaps(file, async () => {});
  expect(fileSpace(file).free).toBe(free);
});

it("opening a file that is there writes nothing to it", () => {
  const file = newFile();
  const changes = (): unknown => {
    const connection = openSqliteReader(file);
    const version = connection.pragma("data_version", { simple: true });
    connection.close();
    return [version, statSync(file).mtimeMs, statSync(file).size];
  };
  const before = changes();
  openSqlite(file, "FULL").close();
  expect(changes()).toEqual(before);
});
