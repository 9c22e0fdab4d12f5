/** The real Redis that `own-servers.ts` found or started. Every test has a key prefix of its own, whose keys are gone when it is over. */
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
import { STANDARD_REDIS } from "./redis-server.js";

export const REDIS_URL = process.env.TEST_REDIS_URL ?? STANDARD_REDIS;

export const REDIS_MISSING = await whyMissing();

if (REDIS_MISSING !== undefined) {
  if (process.env.CI) throw new Error(REDIS_MISSING);
  process.stderr.write(`skipped: ${REDIS_MISSING}\n`);
}

async function whyMissing(): Promise<string | undefined> {
  const client = new Redis(REDIS_URL, { lazyConnect: true, retryStrategy: null });
  client.on("error", () => {}); // what is asked fails by itself
  try {
    await client.connect();
    await client.ping();
    return undefined;
  } catch (error) {
    const where = new URL(REDIS_URL).host;
    return `no Redis at ${where} (apt-get install redis-server, or name another with TEST_REDIS_URL): ${(error as Error).message}`;
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
