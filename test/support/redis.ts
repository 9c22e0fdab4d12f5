/**
 * A real Redis for tests: that of TEST_REDIS_URL, or the one at its standard port of this machine; and servers of a test's
 * own, which it may kill. Every test has a key prefix of its own, whose keys are gone when it is over.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { createRedisBridge, type RedisBridgeDeps } from "../../src/bridge/redis.js";
import { createRedisHints } from "../../src/bridge/redis-hints.js";
import { createRedisLink } from "../../src/bridge/redis-link.js";
import { createRedisSignals } from "../../src/bridge/redis-signals.js";
import { systemClock } from "../../src/core/clock.js";
import { newId } from "../../src/core/ids.js";
import { type Log, silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import { type Program, startProgram } from "./process.js";

export const REDIS_URL = process.env.TEST_REDIS_URL ?? "redis://127.0.0.1:6379";
const SERVER = ["/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server"].find((path) =>
  existsSync(path),
);

export const REDIS_MISSING = await whyMissing();
/** Of tests that end servers. */
export const REDIS_SERVER_MISSING =
  SERVER === undefined ? "redis-server is not installed (apt-get install redis-server)" : undefined;

for (const missing of new Set([REDIS_MISSING, REDIS_SERVER_MISSING])) {
  if (missing === undefined) continue;
  if (process.env.CI) throw new Error(missing);
  process.stderr.write(`skipped: ${missing}\n`);
}

async function whyMissing(): Promise<string | undefined> {
  const client = new Redis(REDIS_URL, { lazyConnect: true, retryStrategy: null });
  client.on("error", () => {}); // what is asked fails by itself
  try {
    await client.connect();
    await client.ping();
    return undefined;
  } catch (error) {
    return `no Redis at ${new URL(REDIS_URL).host} (TEST_REDIS_URL names another): ${(error as Error).message}`;
  } finally {
    client.disconnect();
  }
}

const LIMITS = {
  maxBytesPerRun: 1e6,
  maxBytesPerReader: 1e6,
  maxRetainedBytes: 1e7,
  retentionMs: 600_000,
  maxBufferedBytes: 1e7,
};

/** A prefix that nobody else uses; to be called within a test. */
export function newKeyPrefix(url = REDIS_URL): string {
  const prefix = `heddle-test:${newId()}:`;
  onTestFinished(async () => {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: null });
    client.on("error", () => {}); // a server of the test's own is gone already
    try {
      await client.connect();
      for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1_000 })) {
        if ((keys as string[]).length > 0) await client.unlink(...(keys as string[]));
      }
    } catch {
      return; // so are its keys
    } finally {
      client.disconnect();
    }
  });
  return prefix;
}

export interface RedisProcessOptions {
  readonly url?: string;
  readonly keyPrefix: string;
  readonly log?: Log;
  readonly limits?: Partial<RedisBridgeDeps["options"]>;
}

/** What one gateway process has of Redis; closed when the test is over. */
export async function openRedisProcess({ url = REDIS_URL, keyPrefix, log = silentLog, limits }: RedisProcessOptions) {
  const clock = systemClock;
  const metrics = createMetrics();
  const channel = `${keyPrefix}hints`;
  const link = createRedisLink({ url, keyPrefix, channel, clock, log, metrics });
  const hints = createRedisHints({ link, channel, processId: newId(), clock });
  const signals = createRedisSignals({ link, hints, clock });
  const options = { ...LIMITS, ...limits };
  const bridge = createRedisBridge({ link, hints, keyPrefix, clock, metrics, options });
  await link.start();
  onTestFinished(async () => {
    await bridge.close();
    signals.close();
    link.close();
  });
  return {
    link,
    hints,
    signals,
    bridge,
    metrics,
    /** Resolves when Redis is there, or away. */
    until(state: "up" | "away"): Promise<void> {
      const isSo = (): boolean => (link.session === undefined) === (state === "away");
      return new Promise((resolve) => {
        if (isSo()) return resolve();
        const stop = link.onChange(() => {
          if (!isSo()) return;
          stop();
          resolve();
        });
      });
    },
  };
}

export type RedisProcess = Awaited<ReturnType<typeof openRedisProcess>>;

export interface RedisServer {
  readonly url: string;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Answers nothing, and stays connected, until `resume`. */
  freeze(): void;
  resume(): void;
}

/** A server of the test's own, which keeps nothing when it ends; not started yet. */
export async function prepareRedisServer(): Promise<RedisServer> {
  if (SERVER === undefined) throw new Error(REDIS_SERVER_MISSING);
  const command = SERVER;
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "heddle-redis-"));
  let program: Program | undefined;
  const kill = async (): Promise<void> => {
    program?.kill("SIGKILL");
    await program?.ended;
    program = undefined;
  };
  onTestFinished(async () => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      const settings = ["--port", String(port), "--save", "", "--appendonly", "no", "--dir", folder];
      program = startProgram(command, settings, { cwd: folder });
      await program.line("stdout", /Ready to accept connections/);
    },
    kill,
    freeze: () => program?.kill("SIGSTOP"),
    resume: () => program?.kill("SIGCONT"),
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo; // listens on TCP
      server.close(() => resolve(port));
    });
  });
}
