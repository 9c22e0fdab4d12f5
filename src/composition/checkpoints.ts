/** Opens the checkpoints: in a file or in memory, or on PostgreSQL beside the runs. */
import { ConfigError } from "../config/config-error.js";
import type { Config } from "../config.js";
import { openCheckpoints, type SqliteCheckpoints } from "../storage/checkpoints.js";
import type { Database } from "../storage/database.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import type { ThreadData } from "../thread.js";
import type { OnStop } from "./on-stop.js";

export interface OpenedCheckpoints {
  readonly checkpoints: Checkpoints;
  /** Through which graph threads write; null where they write themselves. */
  readonly ownCheckpoints: SqliteCheckpoints | null;
  /** Where graph threads find them. */
  readonly checkpointPlace: ThreadData["checkpointPlace"];
}

export function openCheckpointFile(file: string, onStop: OnStop): OpenedCheckpoints {
  const checkpoints = openCheckpoints(file);
  onStop(() => checkpoints.close());
  return { checkpoints, ownCheckpoints: checkpoints, checkpointPlace: { kind: "file", file } };
}

/** `database`: that of the runs, migrated. */
export async function openCheckpointServer(
  config: Pick<Config, "database" | "checkpointer">,
  database: Database,
  onStop: OnStop,
): Promise<OpenedCheckpoints> {
  const url = config.checkpointer.url ?? config.database.url;
  if (url === null) throw new Error("database.url is missing"); // the configuration was checked
  const [{ unusableServer }, { openPool }, { openPostgresCheckpoints, requireDatabaseOfRuns }] = await Promise.all([
    import("../storage/postgres.js"),
    import("../storage/postgres-connection.js"),
    import("../storage/checkpoints-postgres.js"), // with LangGraph's saver, which SQLite has no use for
  ]);
  const pool = openPool(url, config.checkpointer.poolSize);
  onStop(() => pool.end());
  if (config.checkpointer.url !== null) {
    await requireDatabaseOfRuns(pool, database).catch((error: unknown) => {
      throw new ConfigError(`checkpointer.url: ${(error as Error).message}`);
    });
  }
  const checkpoints = await openPostgresCheckpoints(pool).catch((error: unknown) => {
    throw unusableServer(url, error);
  });
  return { checkpoints, ownCheckpoints: null, checkpointPlace: { kind: "server", url } };
}
