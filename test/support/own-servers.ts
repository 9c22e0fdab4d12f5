/**
 * Before all tests: the PostgreSQL and the Redis that they use (`postgres-server.ts`, `redis.ts`).
 *
 * They are those of TEST_POSTGRES_URL and TEST_REDIS_URL, or those at the standard ports of this machine. Where there are
 * none that can be used, they are started from installed programs, and both variables name them; they are gone after the
 * last test. What is not installed either is said by the tests that need it.
 */
import { execFileSync } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import pg from "pg";
import { ownPort } from "./ports.js";
import { runProgram, startProgram } from "./process.js";
import { prepareRedisServer, REDIS_SERVER_MISSING, STANDARD_REDIS } from "./redis-server.js";

export const STANDARD_POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres";

/** What heddle needs at least. */
const POSTGRES_VERSION = 15;
const REDIS_VERSION = 6.2;

/** Once for every project of vitest.config.ts: the later ones find what the first one started. */
export async function setup(): Promise<() => Promise<void>> {
  const stops: (() => Promise<void>)[] = [];
  const programs = postgresPrograms();
  if (process.env.TEST_POSTGRES_URL === undefined && programs !== undefined && !(await servesPostgres())) {
    const { url, stop } = await startPostgres(programs);
    process.env.TEST_POSTGRES_URL = url;
    stops.push(stop);
  }
  if (process.env.TEST_REDIS_URL === undefined && REDIS_SERVER_MISSING === undefined && !(await servesRedis())) {
    const server = await prepareRedisServer();
    await server.start();
    process.env.TEST_REDIS_URL = server.url;
    stops.push(() => server[Symbol.asyncDispose]());
  }
  return async () => {
    for (const stop of stops) await stop();
  };
}

/** Whether one at the standard port lets tests make databases: that of a fresh Debian asks for a password. */
async function servesPostgres(): Promise<boolean> {
  const client = new pg.Client({ connectionString: STANDARD_POSTGRES, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {}); // what is asked fails by itself
  try {
    await client.connect();
    const { rows } = await client.query<{ version: string }>("select current_setting('server_version') as version");
    return Number.parseFloat(rows[0]?.version ?? "") >= POSTGRES_VERSION;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {}); // of one that was never connected
  }
}

async function servesRedis(): Promise<boolean> {
  const client = new Redis(STANDARD_REDIS, { lazyConnect: true, retryStrategy: null });
  client.on("error", () => {}); // what is asked fails by itself
  try {
    await client.connect();
    const [, version = ""] = /^redis_version:(\S+)/m.exec(await client.info("server")) ?? [];
    return Number.parseFloat(version) >= REDIS_VERSION;
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

/** The folder of the newest that is installed where Debian, and others, put it. */
function postgresPrograms(): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = (existsSync(debian) ? readdirSync(debian) : [])
    .filter((version) => Number(version) >= POSTGRES_VERSION)
    .sort((a, b) => Number(b) - Number(a));
  const folders = [...versions.map((version) => join(debian, version, "bin")), "/usr/local/bin", "/opt/homebrew/bin"];
  return folders.find((folder) => existsSync(join(folder, "initdb")));
}

/** One of this run of the tests, on a port of its own, that asks nobody for a password. */
async function startPostgres(programs: string): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-postgres-"));
  const user = unprivileged();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const options = { cwd: folder, ...user };
  const data = join(folder, "data");
  const made = await runProgram(
    join(programs, "initdb"),
    ["-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
    options,
  );
  if (made.code !== 0) throw new Error(`initdb: ${[...made.stdout, ...made.stderr].join("\n")}`);
  const port = await ownPort();
  const settings = [`port=${port}`, "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];
  const server = startProgram(
    join(programs, "postgres"),
    ["-D", data, ...settings.flatMap((setting) => ["-c", setting])],
    options,
  );
  const end = (): void => server.kill("SIGINT"); // ends connections; SIGTERM would wait for them
  process.once("exit", end);
  await server.line("stderr", /database system is ready to accept connections/);
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    async stop() {
      process.off("exit", end);
      end();
      await server.ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL does not run as root. Any other user will do, and this one every system has. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = (which: "-u" | "-g"): number => Number(execFileSync("id", [which, "nobody"], { encoding: "utf8" }));
  return { uid: idOf("-u"), gid: idOf("-g") };
}
