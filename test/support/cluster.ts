/**
 * Many gateways as a user would run them: the built program, several times, on one PostgreSQL and one Redis, behind the real
 * nginx with the shipped configuration. Each may be killed, frozen, drained, started again, and each reaches its database
 * and its Redis through proxies of its own, so that one can be cut off while the others are not.
 *
 * Everything is the test's own: the database, the Redis, the ports, the folders. `Symbol.asyncDispose` ends it all.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { TRIED_HEADER } from "./crash-load.js";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.js";
import { dumpPostgres } from "./history-dump-postgres.js";
import { type Changes, NGINX, NGINX_MISSING, type Nginx, startNginx } from "./nginx.js";
import { ownPort } from "./ports.js";
import { makeDatabase, openTestPool, POSTGRES_MISSING } from "./postgres-server.js";
import { HEDDLE, type Program, startProgram } from "./process.js";
import { prepareRedisServer, REDIS_SERVER_MISSING, type RedisServer } from "./redis-server.js";
import { within } from "./within.js";

/** Why no cluster can be had on this machine. */
export const CLUSTER_MISSING =
  POSTGRES_MISSING ?? REDIS_SERVER_MISSING ?? (NGINX === undefined ? NGINX_MISSING : undefined);

export type Role = "all" | "api" | "worker";

export interface ClusterOptions {
  /** One replica each. Those with `api` or `all` are behind nginx. */
  readonly roles: readonly Role[];
  /** The section of config.yaml. */
  readonly graphs: Readonly<Record<string, unknown>>;
  /** More of config.yaml. */
  readonly config?: {
    readonly runs?: object;
    readonly database?: object;
    readonly checkpointer?: object;
    readonly stream_bridge?: object;
    readonly [section: string]: unknown;
  };
  readonly program?: ProgramOf;
}

/** What is started for replica number n. */
export type ProgramOf = (replica: number) => {
  readonly nodeArguments?: readonly string[];
  readonly main?: string;
  readonly env?: Record<string, string>;
};

export interface Replica {
  readonly name: string;
  readonly role: Role;
  /** Straight to it, past nginx. */
  readonly url: string;
  readonly postgres: FaultProxy;
  readonly redis: FaultProxy;
  readonly folder: string;
  readonly isAlive: boolean;
  readonly pid: number;
  /** Resolves when it serves; throws with what it printed when it ends before. */
  start(): Promise<void>;
  /** `kill -9`, also of one that is frozen. */
  kill(): Promise<void>;
  freeze(): void;
  resume(): void;
  /** As `kubectl` and `systemctl` stop it; resolves with its exit code when it is gone. */
  drain(): Promise<number | null>;
  /** What it logged at level error, over all its lives. */
  errors(): readonly string[];
}

export interface Cluster {
  /** nginx. */
  readonly url: string;
  readonly client: Client;
  readonly replicas: readonly Replica[];
  readonly redis: RedisServer;
  readonly nginx: Nginx;
  readonly databaseUrl: string;
  /** Asks the database, past all proxies. */
  sql<Row extends object>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** Holds everything of a table for so long: whoever asks the database waits, and pools run empty. */
  lockTable(table: string, ms: number): Promise<void>;
  restartNginx(): Promise<void>;
  /** How many runs are due and have not ended, and how many deletions of threads have not come to their end. */
  underWay(): Promise<number>;
  /** Of replicas that have all stopped, or have nothing to do. */
  dump(): ReturnType<typeof dumpPostgres>;
  /** Drains every replica that lives; their exit codes. */
  stop(): Promise<readonly (number | null)[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Much more than it takes a replica, whatever is broken meanwhile. */
const START_MS = 60_000;
const DRAIN_MS = 60_000;

/** All replicas serve when it resolves. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const closings: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (let closing = closings.pop(); closing !== undefined; closing = closings.pop()) await closing();
  };
  try {
    return await open(options, closings, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  options: ClusterOptions,
  closings: (() => unknown)[],
  close: () => Promise<void>,
): Promise<Cluster> {
  if (CLUSTER_MISSING !== undefined) throw new Error(CLUSTER_MISSING);
  const folder = mkdtempSync(join(tmpdir(), "heddle-cluster-"));
  closings.push(() => rmSync(folder, { recursive: true, force: true }));
  const databaseUrl = await makeDatabase();
  const pool = openTestPool(databaseUrl, { max: 4 });
  closings.push(() => pool.end());
  const redis = await prepareRedisServer();
  closings.push(() => redis[Symbol.asyncDispose]());
  await redis.start();
  const replicas: Replica[] = [];
  for (const [number, role] of options.roles.entries()) {
    const replica = await prepareReplica(options, { number, role, folder, databaseUrl, redisUrl: redis.url });
    closings.push(() => replica.dispose());
    replicas.push(replica);
  }
  await Promise.all(replicas.map((replica) => replica.start()));
  const ports = replicas.filter(({ role }) => role !== "worker").map(({ url }) => Number(new URL(url).port));
  let nginx = await startNginx(ports[0] ?? 0, [TELL_TRIES, ...upstreams(ports.slice(1))]);
  closings.push(() => nginx.stop());
  const sql = async <Row extends object>(text: string, values: readonly unknown[] = []) =>
    (await pool.query<Row>(text, [...values])).rows;
  return {
    url: nginx.url,
    client: new Client({ apiUrl: nginx.url, callerOptions: { maxRetries: 0 } }),
    replicas,
    redis,
    get nginx() {
      return nginx;
    },
    databaseUrl,
    sql,
    async lockTable(table, ms) {
      const client = await pool.connect();
      try {
        await client.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
        await client.query("SELECT pg_sleep($1)", [ms / 1_000]);
        await client.query("COMMIT");
      } finally {
        client.release(true);
      }
    },
    async restartNginx() {
      nginx = await nginx.restart();
    },
    async underWay() {
      const [row] = await sql<{ count: string }>(
        `SELECT (SELECT count(*) FROM runs WHERE status IN ('pending', 'running') AND run_after <= heddle_now())
          + (SELECT count(*) FROM threads WHERE deleting = 1) AS count`,
      );
      return Number(row?.count);
    },
    dump: () => dumpPostgres(databaseUrl),
    async stop() {
      const living = replicas.filter(({ isAlive }) => isAlive);
      return Promise.all(living.map((replica) => replica.drain()));
    },
    [Symbol.asyncDispose]: close,
  };
}

/** What may be asked twice, as a DELETE, nginx asks another replica when one dies over it. */
const TELL_TRIES = [
  "proxy_next_upstream_tries 3;",
  `proxy_next_upstream_tries 3; add_header ${TRIED_HEADER} $upstream_addr always;`,
] as const;

/** What nginx.conf says of a second gateway, for each one more. */
function upstreams(ports: readonly number[]): Changes {
  const line = (port: number) => `server 127.0.0.1:${port} max_fails=1 fail_timeout=5s;`;
  return ports.length === 0 ? [] : [[`# ${line(2025)}`, ports.map(line).join("\n    ")]];
}

interface Place {
  readonly number: number;
  readonly role: Role;
  readonly folder: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
}

async function prepareReplica(
  { graphs, config = {}, program: programOf }: ClusterOptions,
  { number, role, folder: parent, databaseUrl, redisUrl }: Place,
): Promise<Replica & { dispose(): Promise<void> }> {
  const name = `${role}-${number}`;
  const folder = mkdtempSync(join(parent, `${name}-`));
  const [postgres, redis] = await Promise.all([startFaultProxy(databaseUrl), startFaultProxy(redisUrl)]);
  const port = await ownPort();
  const settings = {
    log: { level: "warn", format: "json" },
    ...config,
    graphs,
    role,
    database: { pool_size: 6, ...config.database, type: "postgres", url: through(databaseUrl, postgres) },
    checkpointer: { pool_size: 4, ...config.checkpointer }, // servers for tests have room for 100 connections
    stream_bridge: { ...config.stream_bridge, type: "redis", url: through(redisUrl, redis) },
  };
  writeFileSync(join(folder, "config.yaml"), JSON.stringify(settings));
  let program: Program | undefined;
  const logged: string[] = [];

  async function ended(): Promise<number | null> {
    const gone = await program?.ended;
    program = undefined;
    logged.push(...(gone?.stderr ?? []));
    return gone?.code ?? null;
  }

  return {
    name,
    role,
    url: `http://127.0.0.1:${port}`,
    postgres,
    redis,
    folder,
    get isAlive() {
      return program !== undefined;
    },
    get pid() {
      return program?.pid ?? 0;
    },
    async start() {
      const { nodeArguments = [], main = HEDDLE, env = {} } = programOf?.(number) ?? {};
      const started = startProgram(process.execPath, [...nodeArguments, main, "serve", "--port", String(port)], {
        cwd: folder,
        env,
      });
      program = started;
      const listening = started.line("stdout", /^heddle listening on /);
      await within(START_MS, `the start of ${name}`, listening, () => started.printed()).catch(
        async (error: unknown) => {
          started.kill("SIGKILL");
          await ended();
          throw error;
        },
      );
    },
    async kill() {
      program?.kill("SIGKILL");
      await ended();
    },
    freeze: () => program?.kill("SIGSTOP"),
    resume: () => program?.kill("SIGCONT"),
    async drain() {
      program?.kill("SIGTERM");
      return within(DRAIN_MS, `the end of ${name}`, ended(), () => program?.printed() ?? "");
    },
    errors: () => logged.filter((line) => /"level":"error"|^(?!\{)/.test(line)),
    async dispose() {
      program?.kill("SIGKILL");
      await program?.ended;
      await Promise.all([postgres.close(), redis.close()]);
    },
  };
}

/** The same address by way of the proxy. */
function through(url: string, proxy: FaultProxy): string {
  const address = new URL(url);
  address.host = proxy.host;
  return address.href;
}
