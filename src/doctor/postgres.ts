/** A PostgreSQL as heddle needs it: reachable, new enough, of this version, writable, durable, and with room for the pools. */
import pg from "pg";
import type { Clock } from "../core/clock.js";
import { checkpointServerVersion } from "../storage/checkpoint-postgres-schema.js";
import { stateAfter } from "../storage/migration-state.js";
import { judgeClock, judgeLatency, measureClock } from "./clocks.js";
import { type Finding, ok, problem, warning } from "./finding.js";
import { judgeMigrations } from "./migrations.js";

export interface PostgresTarget {
  /** What of the configuration it is, such as `database`. */
  readonly name: string;
  readonly url: string;
  /** Connections that one process opens at most. */
  readonly poolSize: number;
}

const CONNECT_MS = 5_000;
const MIN_VERSION = 150_000;
/** Two that serve and two that work: the smallest cluster that survives a death of either. */
const USUAL_PROCESSES = 4;

/** Never throws for what the server says or does not say. */
export async function examinePostgres({ name, url, poolSize }: PostgresTarget, clock: Clock): Promise<Finding[]> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: CONNECT_MS,
    application_name: "heddle doctor",
  });
  client.on("error", () => {}); // the query that it breaks says so
  try {
    await client.connect();
    return [
      ...(await versionOf(name, client)),
      ...(await migrationsOf(name, client)),
      ...(await settingsOf(name, client)),
      await roomOf({ name, poolSize }, client),
      ...(await timesOf(name, client, clock)),
    ];
  } catch (error) {
    return [problem(name, `PostgreSQL does not answer: ${messageOf(error)}`, `Look at ${name}.url.`)];
  } finally {
    await client.end().catch(() => {}); // it may never have begun
  }
}

async function versionOf(name: string, client: pg.Client): Promise<readonly Finding[]> {
  const { server_version_num: number, server_version: version } = await settings(client, [
    "server_version_num",
    "server_version",
  ]);
  if (Number(number) >= MIN_VERSION) return [ok(name, `PostgreSQL ${version} answers`)];
  return [problem(name, `PostgreSQL ${version} is too old`, "heddle needs PostgreSQL 15 or later.")];
}

async function migrationsOf(name: string, client: pg.Client): Promise<readonly Finding[]> {
  const { rows } = await client.query<{ readonly there: boolean }>(
    "select to_regclass('kysely_migration') is not null as there",
  );
  const done =
    rows[0]?.there === true
      ? (await client.query<{ readonly name: string }>("select name from kysely_migration")).rows
      : [];
  return [
    judgeMigrations(`${name} version`, stateAfter(done.map((row) => row.name))),
    judgeMigrations("checkpoints version", await checkpointServerVersion(client)),
  ];
}

/** What of the server's settings would take back what heddle has promised, by its value that does not. */
const NEEDED = {
  default_transaction_isolation: { value: "read committed", level: "problem" },
  default_transaction_read_only: { value: "off", level: "problem" },
  fsync: { value: "on", level: "problem" },
  full_page_writes: { value: "on", level: "problem" },
  synchronous_commit: { value: "on", level: "warning" },
  server_encoding: { value: "UTF8", level: "problem" },
} as const;

async function settingsOf(name: string, client: pg.Client): Promise<readonly Finding[]> {
  const check = `${name} settings`;
  const found = await settings(client, Object.keys(NEEDED));
  const { rows } = await client.query<{ readonly standby: boolean }>("select pg_is_in_recovery() as standby");
  const complaints = Object.entries(NEEDED).flatMap(([setting, { value, level }]): readonly Finding[] => {
    const actual = found[setting];
    const isStronger = setting === "synchronous_commit" && actual?.startsWith("remote_") === true;
    if (actual === value || isStronger) return [];
    return [{ check, level, message: `${setting} is ${actual}`, todo: `Set it to ${value}.` }];
  });
  if (rows[0]?.standby === true) {
    complaints.push(
      problem(check, "this server is a standby, which takes no writes", `Name the primary in ${name}.url.`),
    );
  }
  return complaints.length > 0 ? complaints : [ok(check, "read committed, durable, writable")];
}

async function roomOf({ name, poolSize }: Omit<PostgresTarget, "url">, client: pg.Client): Promise<Finding> {
  const found = await settings(client, ["max_connections", "superuser_reserved_connections", "reserved_connections"]);
  const { rows } = await client.query<{ readonly others: string }>(
    `select count(*) as others from pg_stat_activity
     where backend_type = 'client backend' and application_name not like 'heddle%'`,
  );
  const server = {
    max: Number(found.max_connections),
    reserved: Number(found.superuser_reserved_connections) + Number(found.reserved_connections ?? 0), // from PostgreSQL 16 on
    others: Number(rows[0]?.others),
  };
  return judgeRoom(name, server, poolSize);
}

/** Whether the connections that a server lets heddle have are enough for processes with so many each. */
export function judgeRoom(
  name: string,
  { max, reserved, others }: { readonly max: number; readonly reserved: number; readonly others: number },
  poolSize: number,
): Finding {
  const check = `${name} connections`;
  const room = max - reserved - others;
  const processes = Math.max(0, Math.floor(room / poolSize));
  const what = `${room} of max_connections ${max} are heddle's, ${poolSize} for each process: room for ${processes}`;
  const todo = `Lower ${name}.pool_size and checkpointer.pool_size, or raise max_connections.`;
  if (processes < 1) return problem(check, what, todo);
  return processes < USUAL_PROCESSES ? warning(check, what, todo) : ok(check, what);
}

async function timesOf(name: string, client: pg.Client, clock: Clock): Promise<readonly Finding[]> {
  const seen = await measureClock(clock, async () => {
    const { rows } = await client.query<{ readonly now: number }>(
      "select (extract(epoch from clock_timestamp()) * 1000)::float8 as now",
    );
    return rows[0]?.now ?? Number.NaN;
  });
  return [judgeLatency(`${name} latency`, seen), judgeClock(`${name} clock`, seen)];
}

async function settings(client: pg.Client, names: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const { rows } = await client.query<{ readonly name: string; readonly setting: string }>(
    "select name, setting from pg_settings where name = any($1)",
    [names],
  );
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
}

/** A name that has several addresses fails once for each. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map((each: Error) => each.message).join("; ");
  return error instanceof Error ? error.message : String(error);
}
