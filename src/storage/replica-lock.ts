/**
 * Who may work on a database of PostgreSQL beside whom: replicas beside each other, and nobody beside a process that keeps to
 * itself what others would have to see.
 *
 * It is an advisory lock of a connection that stays open, so that it ends with the process, however that dies. When the
 * connection breaks it is taken again; who has come in between is told of in the log, and leases and fences keep the data
 * right all the same.
 */
import pg from "pg";
import { withLimit } from "../core/async.js";
import { type Clock, pause } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { DataFolderError } from "./sqlite.js";

export interface ReplicaLockOptions {
  /** `alone`: the options because of which it must be. `nobody`: it is no gateway, and none may be there. */
  readonly company: "replicas" | { readonly alone: string } | "nobody";
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warn" | "error">;
}

/** Of heddle's, among the advisory locks of a database. */
const KEY = 0x6865_6464;
const TRY_AGAIN_MS = 1_000;
/** How long the process before may take to be gone. */
const TRIES = 10;
const CONNECT_MS = 15_000;
const LEAVE_MS = 2_000;

/** Throws a `DataFolderError` when somebody is there who may not be. The returned function lets others in. */
export async function lockDatabase(url: string, options: ReplicaLockOptions): Promise<() => Promise<void>> {
  const { company, clock, log } = options;
  const lock = company === "replicas" ? "pg_try_advisory_lock_shared" : "pg_try_advisory_lock";
  let isClosed = false;
  let forget = (): void => {};
  let holder: pg.Client | undefined;

  /** Whether it has the lock now. */
  async function take(): Promise<boolean> {
    const client = new pg.Client({
      connectionString: url,
      application_name: "heddle replica",
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: CONNECT_MS,
      keepAlive: true,
    });
    client.on("error", () => {}); // its end is heard below
    await client.connect();
    try {
      // The server notices within a quarter of a minute that a machine is gone.
      await client.query("set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 2");
      const { rows } = await client.query<{ readonly taken: boolean }>(`select ${lock}(${KEY}) as taken`);
      if (rows[0]?.taken !== true) {
        await client.end();
        return false;
      }
    } catch (error) {
      await client.end();
      throw error;
    }
    holder = client;
    client.once("end", () => {
      if (isClosed) return;
      log.warn("the connection that says who works on the database was lost; taking it again");
      takeLater();
    });
    return true;
  }

  function takeLater(): void {
    forget = clock.after(TRY_AGAIN_MS, () => {
      take().then(
        (isTaken) => {
          if (isTaken) return log.info("it is said again who works on the database");
          log.error(refusal(company));
          if (!isClosed) takeLater();
        },
        () => isClosed || takeLater(), // the database is away: whoever asks it anything says so
      );
    });
  }

  for (let tries = 1; !(await take()); tries++) {
    if (tries === TRIES) throw new DataFolderError(refusal(company));
    await pause(clock, TRY_AGAIN_MS);
  }
  return async () => {
    isClosed = true;
    forget();
    // A connection that was lost without a word is not waited for: its lock ends with the process.
    await withLimit(holder?.end() ?? Promise.resolve(), {
      limitMs: LEAVE_MS,
      error: new Error("no answer"),
      clock,
    }).catch((error: Error) =>
      log.warn({ reason: error.message }, "the connection that says who works on the database is left open"),
    );
  };
}

function refusal(company: ReplicaLockOptions["company"]): string {
  if (company === "nobody") return "a gateway works on this database: stop it first";
  return company === "replicas"
    ? "another gateway works on this database that must be alone: give it stream_bridge.type redis and store.type postgres, or stop it"
    : `another gateway works on this database, and ${company.alone} is for one that is alone: take stream_bridge.type redis and store.type postgres, or stop it`;
}
