/** A whole gateway for tests: the real composition root on a free port, its graphs from `graphs.ts` and `run-graphs.ts`. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { configSchema } from "../../src/config/schema.js";
import { type SystemClock, systemClock } from "../../src/core/clock.js";
import { type Log, silentLog } from "../../src/core/log.js";
import { type Gateway, startGateway } from "../../src/server.js";
import { openSqlite, type SqliteDatabase } from "../../src/storage/sqlite.js";

const ROOT = resolve(import.meta.dirname, "../..");

/** Where graphs run: the project `threads` of vitest runs the tests once more with worker threads, those of the build. */
const ISOLATION = process.env.HEDDLE_TEST_ISOLATION === "thread" ? "thread" : "inline";
const THREAD_ENTRY = new URL("../../dist/thread.js", import.meta.url);
const ANALYSIS_ENTRY = new URL(
  ISOLATION === "thread" ? "../../dist/schemas/analysis-thread.js" : "./analysis-thread.mjs",
  import.meta.url,
);

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

export interface TestGateway extends Gateway {
  readonly client: Client;
  readonly dataDir: string;
  /** Stops it and starts another on the same data. */
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
  const dataDir = mkdtempSync(join(tmpdir(), "heddle-test-"));
  return start(options, dataDir);
}

async function start(options: TestGatewayOptions, dataDir: string): Promise<TestGateway> {
  const { server, graphs, ...sections } = options.config ?? {};
  const config = configSchema(ROOT).parse({
    graphs: {
      isolation: ISOLATION,
      ...((graphs as object | undefined) ?? { ...graphsOf("graphs", GRAPHS), ...graphsOf("run-graphs", RUN_GRAPHS) }),
    },
    database: { type: options.storage ?? "memory" },
    data_dir: dataDir,
    server: { port: 0, ...(server as object | undefined) },
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
