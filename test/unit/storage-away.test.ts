/** Which failures a run waits for: those of the storage, and none of what it was asked. */
import { expect, it, onTestFinished } from "vitest";
import { openCheckpointServer } from "../../src/composition/checkpoints.js";
import { configSchema } from "../../src/config/schema.js";
import { conflict, GatewayError } from "../../src/core/errors.js";
import { unusableStorage } from "../../src/storage/data-file.js";
import type { Database } from "../../src/storage/database.js";
import { isAway, WrittenMeanwhile } from "../../src/storage/failure.js";
import { PostgresFailure } from "../../src/storage/postgres-failure.js";
import { DataFolderError } from "../../src/storage/sqlite.js";

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

it.each([
  [
    "the server, without its user and password",
    lost,
    "cannot use the database postgres://db:5432/heddle: the database cannot be reached",
  ],
  [
    "the folder, although there is a server",
    coded("SQLITE_FULL"),
    "cannot use the data folder /data: the disk is full",
  ],
])("what a start cannot go on without is told: %s", (_, error, expected) => {
  const place = { folder: "/data", url: "postgres://user:secret@db:5432/heddle" };
  expect(unusableStorage(place, error)).toMatchObject({ message: expect.stringContaining(expected) as string });
});

it("a start that meets no server for checkpoints says so in one line", async () => {
  const url = "postgres://user:secret@127.0.0.1:1/none"; // nobody listens there
  const config = configSchema(".").parse({
    graphs: { agent: "./agent.ts:graph" },
    database: { type: "postgres", url },
  });
  const opened = openCheckpointServer(config, {} as Database, (close) => onTestFinished(async () => close()));
  await expect(opened).rejects.toThrow("cannot use the database postgres://127.0.0.1:1/none: connect ECONNREFUSED");
  await expect(opened).rejects.toBeInstanceOf(DataFolderError);
});
