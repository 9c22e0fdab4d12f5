/** Which failures a run waits for: those of the storage, and none of what it was asked. */
import { expect, it } from "vitest";
import { conflict, GatewayError } from "../../src/core/errors.js";
import { isAway, WrittenMeanwhile } from "../../src/storage/failure.js";
import { PostgresFailure } from "../../src/storage/postgres-failure.js";

const coded = (code: string) => Object.assign(new Error("no"), { code });
const lost = new PostgresFailure("PG_UNREACHABLE", new Error("gone"), { closes: true, isCommit: false });

it.each([
  ["what a store says of its database", new GatewayError("unavailable", "try again"), true],
  ["a PostgreSQL that cannot be reached", lost, true],
  ["the same below what a driver made of it", new Error("failed", { cause: new Error("why", { cause: lost }) }), true],
  ["two transactions that waited for each other", coded("40P01"), true],
  ["what somebody else wrote meanwhile", new WrittenMeanwhile("a key"), true],
  ["a full disk", coded("SQLITE_FULL"), true],
  ["a file that another program keeps locked", coded("SQLITE_BUSY_TIMEOUT"), true],
  ["a disk that does not work", coded("SQLITE_IOERR_WRITE"), true],
  ["a refusal", conflict("busy"), false],
  ["a row that is there already", coded("SQLITE_CONSTRAINT_UNIQUE"), false],
  ["a statement that is wrong", coded("42601"), false],
  ["a connection that is somebody else's", coded("ECONNREFUSED"), false],
  ["an error of code", new TypeError("x is undefined"), false],
  ["what is no error", "SQLITE_FULL", false],
  ["nothing", undefined, false],
])("%s", (_, error, expected) => {
  expect(isAway(error)).toBe(expected);
});
