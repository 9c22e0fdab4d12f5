/** How durable a commit is: what is asked for is what SQLite says it does. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { openSqlite } from "../../src/storage/sqlite.js";

it.each([
  ["FULL", 2],
  ["NORMAL", 1],
] as const)("a file that is opened with synchronous=%s has it, with a write-ahead log", (synchronous, value) => {
  const folder = mkdtempSync(join(tmpdir(), "heddle-sqlite-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const database = openSqlite(join(folder, "file.db"), synchronous);
  expect(database.pragma("synchronous", { simple: true })).toBe(value);
  expect(database.pragma("journal_mode", { simple: true })).toBe("wal");
  database.close();
});

it("is refused where SQLite cannot have a write-ahead log", () => {
  const temporary = ""; // SQLite's name for a file that goes with its connection
  expect(() => openSqlite(temporary, "FULL")).toThrow("journal_mode");
});
