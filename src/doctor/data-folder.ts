/** The data folder of SQLite: writable, with room, its files of this version. Looking changes nothing, and no lock is taken. */
import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkpointVersion } from "../storage/checkpoint-schema.js";
import { requireRestored, unusableFile } from "../storage/data-file.js";
import { createDatabase } from "../storage/database.js";
import { migrationState } from "../storage/migration-state.js";
import { openSqliteReader } from "../storage/sqlite.js";
import { type Finding, ok, problem, warning } from "./finding.js";
import { judgeMigrations } from "./migrations.js";

const check = "data folder";
const LITTLE_BYTES = 1_024 ** 3;
const TOO_LITTLE_BYTES = 64 * 1_024 ** 2;

/** Never throws for what is there or not there. */
export async function examineDataFolder(folder: string): Promise<readonly Finding[]> {
  const place = existsSync(folder) ? folder : dirname(folder);
  try {
    accessSync(place, constants.W_OK);
    requireRestored(folder);
  } catch (error) {
    return [problem(check, `${folder} cannot be used: ${(error as Error).message}`)];
  }
  const room = judgeRoom(place);
  if (place !== folder) return [ok(check, `${folder} will be made at the first start`), room];
  return [ok(check, `${folder} is writable`), room, ...(await examineDatabase(folder)), ...examineCheckpoints(folder)];
}

function judgeRoom(folder: string): Finding {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const what = `${(free / 1_024 ** 3).toFixed(1)} GB are free`;
  if (free >= LITTLE_BYTES) return ok("disk", what);
  const todo = "Make room: heddle gc tells what takes it.";
  return free >= TOO_LITTLE_BYTES ? warning("disk", what, todo) : problem("disk", what, todo);
}

async function examineDatabase(folder: string): Promise<readonly Finding[]> {
  const file = join(folder, "heddle.db");
  if (!existsSync(file)) return [];
  try {
    const database = createDatabase(openSqliteReader(file));
    try {
      return [judgeMigrations("database version", await migrationState(database))];
    } finally {
      await database.destroy();
    }
  } catch (error) {
    return [problem("database", unusableFile(file, error).message)];
  }
}

function examineCheckpoints(folder: string): readonly Finding[] {
  const file = join(folder, "checkpoints.db");
  if (!existsSync(file)) return [];
  try {
    const reader = openSqliteReader(file);
    try {
      return [judgeMigrations("checkpoints version", checkpointVersion(reader))];
    } finally {
      reader.close();
    }
  } catch (error) {
    return [problem("checkpoints", unusableFile(file, error).message)];
  }
}
