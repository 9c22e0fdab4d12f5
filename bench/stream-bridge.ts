/**
 * What Redis adds to a token's way from the run to its reader: the table of docs/redis.md.
 *
 *     node --import jiti/register bench/stream-bridge.ts [redis url]
 *
 * 20 runs that say a token every 20 ms, then one that says 100,000 as fast as it can. The writer and the reader share one
 * process, so that what both do comes on one core: others do better.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { StreamBridge, StreamEvent } from "../src/bridge/bridge.js";
import { createMemoryBridge } from "../src/bridge/memory.js";
import { createRedisBridge } from "../src/bridge/redis.js";
import { createRedisHints } from "../src/bridge/redis-hints.js";
import { createRedisLink } from "../src/bridge/redis-link.js";
import { systemClock as clock } from "../src/core/clock.js";
import { newId } from "../src/core/ids.js";
import { silentLog as log } from "../src/core/log.js";
import { createMetrics } from "../src/core/metrics.js";

const URL = process.argv[2] ?? "redis://127.0.0.1:6379";
const LIMITS = { maxBytesPerRun: 32e6, maxBytesPerReader: 4e6, maxRetainedBytes: 256e6, retentionMs: 1_000 };
const RUNS = 20;
const TOKENS = 250;
const TOKEN_MS = 20;
const MANY = 100_000;

const keyPrefix = `heddle-bench:${newId()}:`;
const memory = createMemoryBridge({ clock, ...LIMITS });
const [writing, reading] = [await openRedis(), await openRedis()];

const ways: readonly (readonly [name: string, writer: StreamBridge, reader: StreamBridge])[] = [
  ["memory", memory, memory],
  ["redis, read where it is published", writing.bridge, writing.bridge],
  ["redis, read by another process", writing.bridge, reading.bridge],
];
for (const [name, writer, reader] of ways) {
  await latencyOf(writer, reader); // warm
  const ms = await latencyOf(writer, reader);
  const perSecond = await rateOf(writer, reader);
  const [p50, p99] = [0.5, 0.99].map((share) => ms[Math.floor(ms.length * share)]?.toFixed(2));
  console.log(`${name}: p50 ${p50} ms, p99 ${p99} ms; ${Math.round(perSecond)} events/s`);
}
for (const { bridge, link } of [writing, reading]) {
  await bridge.close();
  link.close();
}

async function openRedis() {
  const channel = `${keyPrefix}hints`;
  const metrics = createMetrics();
  const link = createRedisLink({ url: URL, keyPrefix, channel, clock, log, metrics });
  const hints = createRedisHints({ link, channel, processId: newId(), clock });
  const options = { ...LIMITS, maxBufferedBytes: 64e6 };
  const bridge = createRedisBridge({ link, hints, keyPrefix, clock, metrics, options });
  await link.start();
  if (link.session === undefined) throw new Error(`no Redis at ${URL}`);
  return { link, bridge };
}

/** Milliseconds from publishing to reading, sorted: several runs that say a token each 20 ms. */
async function latencyOf(writer: StreamBridge, reader: StreamBridge): Promise<readonly number[]> {
  const ms: number[] = [];
  const all = Array.from({ length: RUNS }, async (_, index) => {
    const runId = newId();
    const read = readAll(reader, runId, ({ at }) => ms.push(performance.now() - at));
    await sleep(index);
    for (let seq = 1; seq <= TOKENS; seq++) {
      await writer.publish(runId, token(seq, performance.now()));
      await sleep(TOKEN_MS);
    }
    await writer.end(runId);
    await read;
  });
  await Promise.all(all);
  return ms.sort((a, b) => a - b);
}

async function rateOf(writer: StreamBridge, reader: StreamBridge): Promise<number> {
  const runId = newId();
  const startedAt = performance.now();
  const read = readAll(reader, runId, () => {});
  for (let seq = 1; seq <= MANY; seq++) {
    await writer.publish(runId, token(seq, 0));
    if (seq % 100 === 0) await new Promise(setImmediate);
  }
  await writer.end(runId);
  await read;
  return (MANY * 1_000) / (performance.now() - startedAt);
}

async function readAll(reader: StreamBridge, runId: string, note: (event: StreamEvent) => void): Promise<void> {
  const { signal } = new AbortController();
  for await (const batch of reader.subscribe(runId, { cursor: { from: "start" }, signal })) {
    if (batch.kind === "events") for (const event of batch.events) note(event);
  }
}

function token(seq: number, at: number): StreamEvent {
  const data = JSON.stringify([{ type: "AIMessageChunk", id: "m1", content: "word " }, { langgraph_node: "agent" }]);
  return { id: { fence: 1, seq }, event: "messages", namespace: [], data, at };
}
