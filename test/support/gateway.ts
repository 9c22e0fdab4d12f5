/**
 * A whole gateway for tests: the real composition root on a free port, its graphs from `graphs.ts` and `run-graphs.ts`. In the
 * project `cluster` of vitest it is the built program instead: two api and two workers behind nginx.
 */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { configSchema } from "../../src/config/schema.js";
import { type SystemClock, systemClock } from "../../src/core/clock.js";
import { type Log, silentLog } from "../../src/core/log.js";
import { type Gateway, startGateway } from "../../src/server.js";
import { openSqlite, type SqliteDatabase } from "../../src/storage/sqlite.js";
import type { startCluster as StartCluster } from "./cluster.js";
import { GATES_PORT, serveGates } from "./gates.js";
import { metricOf } from "./metrics.js";

const ROOT = resolve(import.meta.dirname, "../..");

/** Where graphs run: the project `threads` of vitest runs the tests once more with worker threads, those of the build. */
const ISOLATION = process.env.HEDDLE_TEST_ISOLATION === "thread" ? "thread" : "inline";
const THREAD_ENTRY = new URL("../../dist/thread.js", import.meta.url);
const ANALYSIS_ENTRY = new URL(
  ISOLATION === "thread" ? "../../dist/schemas/analysis-thread.js" : "./analysis-thread.mjs",
  import.meta.url,
);

const REDIS_URL = process.env.TEST_REDIS_URL ?? "redis://127.0.0.1:6379";

/** Whether the gateway is several processes; what needs the inside of one is left out then, with the reason as `meta`. */
export const ON_CLUSTER = process.env.HEDDLE_TEST_CLUSTER !== undefined;
export const NEEDS_CLOCK = { meta: { leftOut: "several processes have no clock that a test could drive" } };
export const NEEDS_ONE_MEMORY = { meta: { leftOut: "its graph's saver keeps its state in the memory of one process" } };
const clusters = ON_CLUSTER ? await import("./cluster.js") : undefined;

/** Where events are shared; the variable lets the tests run once more over a Redis. */
export const BRIDGE = ON_CLUSTER || process.env.HEDDLE_TEST_BRIDGE === "redis" ? "redis" : "memory";

/** Every graph of `graphs.ts` under its export's name. */
const GRAPHS = [
  "echo",
  "chat",
  "approval",
  "twoApprovals",
  "slow",
  "failing",
  "nested",
  "counter",
  "hostile",
  "stubborn",
  "parallel",
  "custom",
  "ownSaver",
  "factory",
  "breakpoints",
  "deep",
] as const;

/** Every graph of `run-graphs.ts`. */
const RUN_GRAPHS = [
  "gated",
  "talk",
  "duet",
  "choir",
  "story",
  "toolbox",
  "flood",
  "recital",
  "deaf",
  "spill",
  "slowFactory",
  "reluctantFactory",
  "undecided",
  "word",
  "nothing",
] as const;

function graphsOf(file: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, `./test/support/${file}.ts:${name}`]));
}

const ALL_GRAPHS = { ...graphsOf("graphs", GRAPHS), ...graphsOf("run-graphs", RUN_GRAPHS) };

export interface TestGateway extends Gateway {
  readonly client: Client;
  readonly dataDir: string;
  /** A figure of `/metrics`; of a cluster, the sum of those who serve clients. */
  metric(name: string): Promise<number>;
  /** Stops it and starts another on the same data; of a cluster every replica. */
  restart(): Promise<TestGateway>;
  /**
   * Starts another on a copy of what is on the disk now, as after the death of this one's process. `change` may change
   * the copy of the database before, `otherwise` how it is started.
   */
  revive(change?: (database: SqliteDatabase) => void, otherwise?: TestGatewayOptions): Promise<TestGateway>;
}

export interface TestGatewayOptions {
  /** Sections of config.yaml; `graphs` replaces the default ones. */
  readonly config?: Record<string, unknown>;
  /** `sqlite` keeps files for a restart; `memory` is faster. */
  readonly storage?: "sqlite" | "memory";
  readonly log?: Log;
  readonly clock?: SystemClock;
}

export async function startTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  if (clusters !== undefined) return startAsCluster(clusters.startCluster, options);
  const dataDir = mkdtempSync(join(tmpdir(), "heddle-test-"));
  return start(options, dataDir);
}

/** Its clock is the machine's, its storage PostgreSQL, and it writes its log where nobody looks for it. */
async function startAsCluster(
  startCluster: typeof StartCluster,
  { config = {}, clock, log }: TestGatewayOptions,
): Promise<TestGateway> {
  if (clock !== undefined || log !== undefined) throw new Error(INSIDE);
  const { graphs = ALL_GRAPHS, ...sections } = config;
  const gates = await serveGates();
  const cluster = await startCluster({
    roles: ["api", "api", "worker", "worker"],
    graphs: withRoot(graphs) as Record<string, unknown>,
    config: withRoot(sections) as Record<string, unknown>,
    program: () => ({ env: { [GATES_PORT]: String(gates.port) } }),
  }).catch((error: unknown) => {
    gates.close();
    throw error;
  });
  const gateway: TestGateway = {
    url: cluster.url,
    client: cluster.client,
    get dataDir(): string {
      throw new Error(INSIDE);
    },
    metric: (name) =>
      sumOf(
        name,
        cluster.replicas.filter(({ role }) => role === "api"),
      ),
    async stop() {
      const codes = await cluster.stop();
      gates.close();
      await cluster[Symbol.asyncDispose]();
      if (codes.some((code) => code !== 0)) throw new Error(`replicas stopped with ${codes}`);
    },
    async restart() {
      await cluster.stop();
      await Promise.all(cluster.replicas.map((replica) => replica.start()));
      return gateway;
    },
    revive: () => Promise.reject(new Error(INSIDE)),
  };
  return gateway;
}

async function sumOf(name: string, processes: readonly { readonly url: string }[]): Promise<number> {
  const figures = await Promise.all(processes.map(({ url }) => metricOf(url, name)));
  return figures.reduce((sum, figure) => sum + figure, 0);
}

const INSIDE = "a cluster has no clock, log or folder that a test could reach";

/** Paths of the project as whoever starts in another folder finds them. */
function withRoot(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith("./") ? join(ROOT, value) : value;
  if (Array.isArray(value)) return value.map(withRoot);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withRoot(each)]));
}

async function start(options: TestGatewayOptions, dataDir: string): Promise<TestGateway> {
  const { server, graphs, stream_bridge: bridge, ...sections } = options.config ?? {};
  // A folder's gateways are those of one data set, and share what is in Redis.
  const shared = BRIDGE === "redis" ? { type: BRIDGE, url: REDIS_URL, key_prefix: `${basename(dataDir)}:` } : {};
  const config = configSchema(ROOT).parse({
    graphs: {
      isolation: ISOLATION,
      ...((graphs as object | undefined) ?? ALL_GRAPHS),
    },
    database: { type: options.storage ?? "memory" },
    data_dir: dataDir,
    server: { port: 0, ...(server as object | undefined) },
    stream_bridge: { ...shared, ...(bridge as object | undefined) },
    ...sections,
  });
  const { log = silentLog, clock = systemClock } = options;
  const entries = { threadEntry: THREAD_ENTRY, analysisEntry: ANALYSIS_ENTRY };
  const gateway = await startGateway(config, { log, clock, watch: false, ...entries });
  const removeData = (): void => rmSync(dataDir, { recursive: true, force: true });
  return {
    url: gateway.url,
    client: new Client({ apiUrl: gateway.url, callerOptions: { maxRetries: 0 } }),
    dataDir,
    metric: (name) => sumOf(name, [gateway]),
    async stop() {
      await gateway.stop();
      removeData();
    },
    async restart() {
      await gateway.stop();
      return start(options, dataDir);
    },
    async revive(change, otherwise = {}) {
      const copy = mkdtempSync(join(tmpdir(), "heddle-test-"));
      cpSync(dataDir, copy, { recursive: true });
      const database = openSqlite(join(copy, "heddle.db"), "FULL");
      change?.(database);
      database.close();
      return start({ ...options, ...otherwise }, copy);
    },
  };
}
