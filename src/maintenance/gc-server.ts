/**
 * `heddle gc` on PostgreSQL: what `gc.ts` does beside a gateway, since replicas may work on the database at any time. What a
 * crash left is finished by them (decision 025), and the space that falls free is the server's to give to what comes next.
 */
import { type Clock, createSteadyClock, systemClock } from "../core/clock.js";
import { openPostgresCheckpoints, stateSizes } from "../storage/checkpoints-postgres.js";
import { openDatabaseClock } from "../storage/database-clock.js";
import { openPostgres, type Postgres, serverState, unusableServer } from "../storage/postgres.js";
import { openPool } from "../storage/postgres-connection.js";
import { addressOf } from "../storage/postgres-failure.js";
import { DataFolderError } from "../storage/sqlite.js";
import { collect, type GcDeps, ledgerMsOf } from "./gc-collect.js";
import { describe, look } from "./gc-report.js";

/** Prints what there is, and what would go. Throws a `DataFolderError` where the server cannot be used. */
export async function lookOnServer(deps: GcDeps, url: string): Promise<void> {
  await onServer(deps, url, (server) => printServer(deps, server));
  deps.print("nothing was changed");
}

/** Prints what there is, deletes what is to go, and prints what went. Throws as above. */
export async function collectOnServer(deps: GcDeps, url: string): Promise<void> {
  const { config, log, print } = deps;
  await onServer(deps, url, async (server) => {
    await printServer(deps, server);
    const pool = openPool(config.checkpointer.url ?? url, POOL_SIZE);
    try {
      const { database, clock } = server;
      const checkpoints = await openPostgresCheckpoints(pool);
      for (const line of await collect({ database, checkpoints, clock, config, log, isAlone: false })) print(line);
    } finally {
      await pool.end();
    }
  });
  print("the server has what fell free for what is stored next; VACUUM (FULL) gives it back to the disk");
}

interface Server extends Pick<Postgres, "database" | "pool"> {
  readonly clock: Clock;
}

const POOL_SIZE = 2;
/** As long as it takes to look at everything. */
const TIMEOUT_MS = 60 * 60_000;
const CONNECT_MS = 15_000;

async function onServer(
  { log }: Pick<GcDeps, "log">,
  url: string,
  work: (server: Server) => Promise<void>,
): Promise<void> {
  for (const [name, { pending }] of await serverState(url, log)) {
    if (pending.length === 0) continue;
    throw new DataFolderError(`${addressOf(url)}, ${name}: migrations are pending: run heddle migrate first`);
  }
  const { database, pool } = openPostgres(
    { url, poolSize: POOL_SIZE, timeoutMs: TIMEOUT_MS, connectMs: CONNECT_MS },
    log,
  );
  try {
    const databaseClock = await openDatabaseClock(database, { system: systemClock, log });
    try {
      await work({ database, pool, clock: createSteadyClock(databaseClock, 0) });
    } finally {
      await databaseClock.stop();
    }
  } catch (error) {
    throw unusableServer(url, error);
  } finally {
    await database.destroy();
  }
}

async function printServer({ config, print }: GcDeps, { database, pool, clock }: Server): Promise<void> {
  const moment = { now: clock.now(), ledgerMs: ledgerMsOf(config) };
  for (const line of describe(await look({ database, stateSizes: await stateSizes(pool), ...moment }))) print(line);
}
