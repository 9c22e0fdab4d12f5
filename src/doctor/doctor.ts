/**
 * `heddle doctor`: looks at everything that a gateway needs, and changes nothing. Whatever is wrong is a finding; what a
 * finding makes impossible to look at is left out.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { issueTicket } from "../auth/doctor-tickets.js";
import { ConfigError } from "../config/config-error.js";
import { type Config, type ConfigSource, loadConfig } from "../config.js";
import type { Clock } from "../core/clock.js";
import { projectFile } from "../graphs/project-export.js";
import { withKeys } from "../keys.js";
import { PendingMigrationsError } from "../storage/migration-state.js";
import { RENEWAL_CONNECTIONS } from "../storage/postgres.js";
import { CONNECTIONS_PER_THREAD } from "../storage/postgres-connection.js";
import { DataFolderError } from "../storage/sqlite.js";
import { examineDataFolder } from "./data-folder.js";
import { type Finding, ok, problem, warning } from "./finding.js";
import { examineNode } from "./node-version.js";
import { examinePostgres } from "./postgres.js";
import { examineAddress } from "./public-address.js";
import { examineRedis } from "./redis.js";

export interface DoctorDeps {
  readonly source: ConfigSource;
  /** The public address to test; null: none. */
  readonly url: string | null;
  /** What Node versions the package says that it runs on. */
  readonly engines: string;
  readonly clock: Clock;
}

/** Each finding as soon as there is one. */
export async function* examine({ source, url, engines, clock }: DoctorDeps): AsyncGenerator<Finding> {
  yield examineNode(engines, process.versions.node);
  const { config, findings } = readConfig(source);
  yield* findings;
  if (config === undefined) return;
  yield* await examineDatabase(config, clock);
  const { url: redisUrl } = config.streamBridge;
  if (redisUrl !== null) yield* await examineRedis("stream_bridge", redisUrl, clock);
  if (url !== null) yield* examinePublicly(config, url, clock);
}

function readConfig(source: ConfigSource): { readonly config?: Config; readonly findings: readonly Finding[] } {
  const check = "configuration";
  try {
    const { config, warnings } = loadConfig(source);
    const missing = missingFiles(config);
    const findings = [
      ...warnings.map((each) => warning(check, each)),
      ...missing.map(([key, file]) => problem(check, `${key}: there is no file ${file}`)),
    ];
    return { config, findings: missing.length > 0 ? findings : [ok(check, "it can be used"), ...findings] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { findings: error.problems.map((each) => problem(check, each)) };
  }
}

/** Files that the configuration names, by the key that names them. */
function missingFiles({ graphs, auth, server, baseDir }: Config): readonly (readonly [key: string, file: string])[] {
  const named = [
    ...Object.entries(graphs).map(([id, { path }]) => [`graphs.${id}`, path] as const),
    ["auth.path", auth.path] as const,
    ["server.app", server.app] as const,
  ];
  return named.flatMap(([key, path]) => {
    if (path === null) return [];
    const file = projectFile({ path, baseDir });
    return existsSync(file) ? [] : [[key, file] as const];
  });
}

function examineDatabase(config: Config, clock: Clock): Promise<readonly Finding[]> | readonly Finding[] {
  const { database, dataDir } = config;
  const { url } = database;
  if (url !== null) return examinePostgres({ name: "database", url, poolSize: connectionsOf(config) }, clock);
  if (database.type === "memory") return [ok("database", "in memory: forgotten when the process ends")];
  return examineDataFolder(dataDir);
}

/** What one process opens on PostgreSQL at most. */
function connectionsOf({ database, checkpointer, graphHost: { isolation, threads } }: Config): number {
  const ofThreads = isolation === "inline" ? 0 : threads * CONNECTIONS_PER_THREAD;
  return database.poolSize + RENEWAL_CONNECTIONS + checkpointer.poolSize + ofThreads + 1; // the lock of the replica
}

async function* examinePublicly(config: Config, url: string, clock: Clock): AsyncGenerator<Finding> {
  const { publicUrl } = config.server;
  if (publicUrl !== null && publicUrl !== url.replace(/\/+$/, "")) {
    yield warning("address", `server.public_url is ${publicUrl}: agent cards name that instead`);
  }
  const isKept = config.database.url !== null || existsSync(join(config.dataDir, "heddle.db"));
  if (config.database.type === "memory" || !isKept) {
    yield warning("address", "not tested: there is no database that this doctor and the gateway could share");
    return;
  }
  try {
    yield* await examineWithTicket(config, url, clock);
  } catch (error) {
    if (error instanceof PendingMigrationsError) {
      yield warning("address", "not tested: migrations are pending", "Run heddle migrate.");
    } else if (error instanceof DataFolderError) {
      yield warning("address", `not tested: ${error.message}`); // what is wrong with it was told before
    } else {
      throw error;
    }
  }
}

/** Throws a `PendingMigrationsError` where the database is behind, and a `DataFolderError` where it cannot be used. */
function examineWithTicket(config: Config, url: string, clock: Clock): Promise<readonly Finding[]> {
  const place = { ...config, database: { ...config.database, migrate: false } }; // a doctor only looks
  return withKeys(place, async (keys) => {
    const found: Finding[] = [];
    const ticket = await issueTicket(keys, clock);
    try {
      const { bodyLimit } = config.server;
      for await (const finding of examineAddress({ url, ticket: ticket.text, bodyLimit, clock })) found.push(finding);
    } finally {
      await ticket.withdraw();
    }
    return found;
  });
}
