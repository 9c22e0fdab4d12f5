/** What becomes of streams and hints while Redis is away, and when it is back, with or without what it had. */
import fc from "fast-check";
import { Redis } from "ioredis";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { Log } from "../../src/core/log.js";
import { event, NEVER, readAll, shown } from "../support/events.js";
import { newKeyPrefix, openRedisProcess, type RedisProcess } from "../support/redis.js";
import { prepareRedisServer, REDIS_SERVER_MISSING } from "../support/redis-server.js";

beforeEach(({ skip }) => skip(REDIS_SERVER_MISSING !== undefined, REDIS_SERVER_MISSING));

/** A server that runs unless told otherwise, and processes that use it. */
async function open(options: { readonly started?: boolean } = {}) {
  const server = await prepareRedisServer();
  onTestFinished(() => server[Symbol.asyncDispose]());
  if (options.started !== false) await server.start();
  const { lines, log } = recordingLog();
  const keyPrefix = newKeyPrefix(server.url);
  const start = (url = server.url) => openRedisProcess({ url, keyPrefix, log });
  return { server, lines, start };
}

function recordingLog() {
  const lines: string[] = [];
  const note = (fields: object, text: string): void => void lines.push(`${text} ${JSON.stringify(fields)}`);
  const log = { debug: note, info: note, warn: note, error: note } as unknown as Log; // what the link calls
  return { lines, log };
}

async function publish({ bridge }: RedisProcess, from: number, to: number, fence = 1): Promise<void> {
  for (let seq = from; seq <= to; seq++) expect(await bridge.publish("r", event(fence, seq))).toBe(true);
}

const ids = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `1-${from + index}`);

/** Everything that is read, without what says that nothing is known. */
async function readEvents({ bridge }: RedisProcess): Promise<readonly string[]> {
  return (await readAll(bridge, "r")).filter((each) => each !== "silence");
}

/** Reads to the end, and says how far it has come. */
function follow({ bridge }: RedisProcess) {
  const seen: string[] = [];
  const ended = (async () => {
    for await (const batch of bridge.subscribe("r", { cursor: { from: "start" }, signal: NEVER })) {
      seen.push(...shown(batch));
    }
    return seen.filter((each) => each !== "silence");
  })();
  return { seen, ended };
}

function untilSeen(seen: readonly string[], id: string): Promise<void> {
  return expect.poll(() => seen).toContain(id);
}

describe("a Redis that is not there at the start", () => {
  it("keeps nobody waiting, and gets what was said meanwhile when it is there", async () => {
    const { server, lines, start } = await open({ started: false });
    const writing = await start();
    const reading = await start();
    const here = follow(writing);
    const there = follow(reading);
    await publish(writing, 1, 3);
    await untilSeen(here.seen, "1-3");
    await untilSeen(there.seen, "silence");
    expect(await reading.bridge.extent("r")).toBeUndefined();
    await server.start();
    await untilSeen(there.seen, "1-3");
    await publish(writing, 4, 5);
    await writing.bridge.end("r");
    expect(await Promise.all([here.ended, there.ended])).toEqual([ids(1, 5), ids(1, 5)]);
    expect(lines.filter((line) => line.startsWith("redis is away"))).toHaveLength(2); // one per process
    expect(lines.filter((line) => line.startsWith("redis is back"))).toHaveLength(2);
  });

  it("wakes listeners every second, and those of the same process at once", async () => {
    const { start } = await open({ started: false });
    const { signals } = await start();
    let woken = 0;
    signals.on("run:1", () => woken++);
    signals.send("run:1");
    expect(woken).toBe(1);
    await expect.poll(() => woken).toBeGreaterThan(3);
  });
});

describe("a Redis that dies", () => {
  it("and comes back empty gets what it lost, and nobody misses or sees anything twice", async () => {
    const { server, start } = await open();
    const writing = await start();
    const reading = await start();
    const [here, there] = [follow(writing), follow(reading)];
    await publish(writing, 1, 10);
    await untilSeen(there.seen, "1-10");
    await server.kill();
    await Promise.all([writing.until("away"), reading.until("away")]);
    await publish(writing, 11, 20);
    await untilSeen(here.seen, "1-20");
    await untilSeen(there.seen, "silence");
    await server.start();
    await untilSeen(there.seen, "1-20");
    await publish(writing, 21, 30);
    await writing.bridge.end("r");
    const late = await start();
    expect(await Promise.all([here.ended, there.ended, readEvents(late)])).toEqual(Array(3).fill(ids(1, 30)));
    expect((await writing.metrics.render(0)).match(/^heddle_stream_bridge_(up|outages_total) .*$/gm)).toEqual([
      "heddle_stream_bridge_up 1",
      "heddle_stream_bridge_outages_total 1",
    ]);
  });

  it("for a run that ends meanwhile is told of the end when it is back", async () => {
    const { server, start } = await open();
    const writing = await start();
    const reading = await start();
    const there = follow(reading);
    await publish(writing, 1, 2);
    await untilSeen(there.seen, "1-2");
    await server.kill();
    await writing.until("away");
    await publish(writing, 3, 4);
    await writing.bridge.end("r");
    expect(await readAll(writing.bridge, "r")).toEqual(ids(1, 4));
    await server.start();
    expect(await there.ended).toEqual(ids(1, 4));
  });

  it("hears afterwards what could not be said, and everybody is told that something may be missing", async () => {
    const { server, start } = await open();
    const [one, other] = [await start(), await start()];
    let doubts = 0;
    const heard: string[] = [];
    other.hints.on(
      "thread",
      (threadId) => heard.push(threadId),
      () => doubts++,
    );
    await server.kill();
    await Promise.all([one.until("away"), other.until("away")]);
    one.hints.send("thread", "t1");
    await server.start();
    await Promise.all([one.until("up"), other.until("up")]);
    expect(doubts).toBeGreaterThan(0);
    one.hints.send("thread", "t2");
    await expect.poll(() => heard).toContain("t2");
  });
});

describe("a Redis that does not answer", () => {
  it("holds nobody up for longer than its time, and what it took late is not there twice", async () => {
    const { server, start } = await open();
    const writing = await start();
    const reading = await start();
    const [here, there] = [follow(writing), follow(reading)];
    await publish(writing, 1, 5);
    await untilSeen(there.seen, "1-5");
    server.freeze();
    await publish(writing, 6, 10);
    await untilSeen(here.seen, "1-10"); // it is given up
    expect(writing.link.session).toBeUndefined();
    server.resume();
    await untilSeen(there.seen, "1-10");
    await publish(writing, 11, 12);
    await writing.bridge.end("r");
    expect(await Promise.all([here.ended, there.ended])).toEqual([ids(1, 12), ids(1, 12)]);
  });
});

describe("a Redis that forgets while it stays connected", () => {
  it("gets the log again with the next event, as it was", async () => {
    const { server, start } = await open();
    const writing = await start();
    const reading = await start();
    const there = follow(reading);
    await publish(writing, 1, 5);
    await untilSeen(there.seen, "1-5");
    const client = new Redis(server.url);
    onTestFinished(() => client.disconnect());
    await client.flushall();
    await publish(writing, 6, 7);
    await writing.bridge.end("r");
    const late = await start();
    expect(await Promise.all([there.ended, readEvents(late)])).toEqual([ids(1, 7), ids(1, 7)]);
  });

  it("of a run that nobody publishes any more tells a gap, not silence", async () => {
    const { server, start } = await open();
    const writing = await start();
    await publish(writing, 1, 5);
    await writing.bridge.end("r");
    const client = new Redis(server.url);
    onTestFinished(() => client.disconnect());
    await client.flushall();
    const reading = await start();
    expect(await reading.bridge.has("r")).toBe(false);
    const steps = reading.bridge.subscribe("r", { cursor: { after: { fence: 1, seq: 3 } }, signal: NEVER });
    expect((await steps[Symbol.asyncIterator]().next()).value).toEqual({ kind: "gap" });
  });
});

describe("a zombie", () => {
  it("is refused by Redis, and nobody sees its events, not even in its own process", async () => {
    const { start } = await open();
    const [zombie, owner] = [await start(), await start()];
    const [here, there] = [follow(zombie), follow(owner)];
    await publish(zombie, 1, 3);
    await untilSeen(there.seen, "1-3");
    await publish(owner, 1, 2, 2);
    await untilSeen(there.seen, "2-2");
    for (let seq = 4; seq <= 6; seq++) await zombie.bridge.publish("r", event(1, seq));
    await publish(owner, 3, 3, 2);
    await owner.bridge.end("r");
    const all = ["1-1", "1-2", "1-3", "2-1", "2-2", "2-3"];
    expect(await Promise.all([here.ended, there.ended])).toEqual([all, all]);
    expect(await zombie.bridge.publish("r", event(1, 7))).toBe(false);
  });
});

describe("many readers", () => {
  it("of one process share three connections, and each event", async () => {
    const { server, start } = await open();
    const writing = await start();
    const reading = await start();
    const readers = Array.from({ length: 1_000 }, async () => {
      const data: string[] = [];
      const { signal } = new AbortController();
      for await (const batch of reading.bridge.subscribe("r", { cursor: { from: "start" }, signal })) {
        if (batch.kind === "events") data.push(...batch.events.map((each) => each.data));
      }
      return data;
    });
    await publish(writing, 1, 100);
    const client = new Redis(server.url, { connectionName: "test" });
    onTestFinished(() => client.disconnect());
    const names = [...String(await client.client("LIST")).matchAll(/ name=(\S*)/g)].map(([, name]) => name).sort();
    await writing.bridge.end("r");
    for (const data of await Promise.all(readers)) expect(data).toEqual(ids(1, 100));
    const ofProcess = ["heddle-blocking", "heddle-commands", "heddle-subscriber"];
    expect(names).toEqual([...ofProcess.flatMap((name) => [name, name]), "test"]);
  });
});

describe("cuts and losses at any moment", () => {
  it("change nothing of what readers see in the end", async () => {
    const { server, start } = await open();
    const writing = await start();
    const reading = await start();
    const client = new Redis(server.url);
    onTestFinished(() => client.disconnect());
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant("publish" as const), count: fc.integer({ min: 1, max: 20 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("cut writer", "cut reader", "flush", "turn") }) },
    );
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 20 }), async (steps) => {
        const runId = `p${++runs}`;
        const said: string[] = [];
        const readings = [writing, reading].map(({ bridge }) => readAll(bridge, runId));
        for (const each of steps) {
          if ("count" in each) {
            for (let count = 0; count < each.count; count++) {
              const next = event(1, said.length + 1);
              expect(await writing.bridge.publish(runId, next)).toBe(true);
              said.push(next.data);
            }
          } else if (each.kind === "flush") await client.flushall();
          else if (each.kind === "turn") await new Promise(setImmediate);
          else cut(each.kind === "cut writer" ? writing : reading);
        }
        await writing.until("up");
        await writing.bridge.end(runId);
        for (const seen of await Promise.all(readings)) expect(seen.filter((each) => each !== "silence")).toEqual(said);
      }),
      { numRuns: 20 },
    );
  });

  function cut({ link }: RedisProcess): void {
    if (link.session !== undefined) link.fail(link.session, new Error("a test cuts it"));
  }
});

describe("a password", () => {
  it("is never logged, whatever goes wrong", async () => {
    const { server, lines, start } = await open();
    const url = server.url.replace("redis://", "redis://somebody:s3cret@");
    const { link } = await start(url);
    expect(link.session).toBeUndefined();
    expect(lines.join("\n")).toMatch(/redis is away.*WRONGPASS/);
    expect(lines.join("\n")).not.toContain("s3cret");
  });
});
