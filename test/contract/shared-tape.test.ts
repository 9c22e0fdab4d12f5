/** A run's events for those who follow it in another process than the one that executes it: one database, one Redis. */
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { Cursor, StreamBatch, StreamEvent } from "../../src/bridge/bridge.js";
import { systemClock } from "../../src/core/clock.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { Run } from "../../src/core/model.js";
import { createLedgerWriter } from "../../src/runs/ledger-writer.js";
import { createRunPages } from "../../src/runs/paging.js";
import { createRunTape } from "../../src/runs/tape.js";
import { NEVER } from "../support/events.js";
import { newKeyPrefix, openRedisProcess, type RedisProcessOptions } from "../support/redis.js";
import { prepareRedisServer, REDIS_SERVER_MISSING } from "../support/redis-server.js";
import { admitAndClaim, leaseOf, openSqlStores, outcome, type SqlStores } from "../support/sql-stores.js";

const START: Cursor = { from: "start" };

beforeEach(({ skip }) => skip(REDIS_SERVER_MISSING !== undefined, REDIS_SERVER_MISSING));

/** One gateway process over the stores. */
async function startProcess({ clock, ledger, runs }: SqlStores, options: RedisProcessOptions) {
  const redis = await openRedisProcess(options);
  const { bridge } = redis;
  const ledgerWriter = createLedgerWriter({
    ledger,
    clock: systemClock,
    log: silentLog,
    metrics: createMetrics(),
    options: { maxBytesPerRun: 1e7, maxBufferedBytes: 1e7 },
  });
  onTestFinished(() => ledgerWriter.stop());
  const asRowsTell = { now: () => clock.now(), after: systemClock.after };
  const tape = createRunTape({ bridge, ledger, ledgerWriter, runs, others: { lagMs: 750, clock: asRowsTell } });
  async function say(runId: string, fence: number, from: number, to: number, event = "custom"): Promise<void> {
    for (let seq = from; seq <= to; seq++) {
      const said: StreamEvent = { id: { fence, seq }, event, namespace: [], data: `"${fence}-${seq}"`, at: seq };
      if (await bridge.publish(runId, said)) ledgerWriter.append(runId, said);
    }
  }
  return {
    redis,
    bridge,
    ledgerWriter,
    tape,
    say,
    pages: createRunPages({ tape, clock: systemClock }),
    async end(run: Run, fence: number, seq: number): Promise<void> {
      await runs.finish(leaseOf({ ...run, fence }), outcome());
      await say(run.runId, fence, seq, seq, "__result__");
      await say(run.runId, fence, seq + 1, seq + 1, "end");
      await bridge.end(run.runId);
      ledgerWriter.end(run.runId);
    },
    /** Reads to the end, and says how far it has come. */
    follow(run: Run, cursor: Cursor = START) {
      const seen: string[] = [];
      const ended = (async () => {
        for await (const batch of tape.read(run, { cursor, signal: NEVER })) seen.push(...shown(batch));
        return seen;
      })();
      return { seen, ended };
    },
  };
}

function shown(batch: StreamBatch): readonly string[] {
  return batch.kind === "gap" ? ["gap"] : batch.events.map(({ id }) => `${id.fence}-${id.seq}`);
}

const ids = (fence: number, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `${fence}-${from + index}`);

/** A run that the first process executes and the second one follows. */
async function open() {
  const server = await prepareRedisServer();
  onTestFinished(() => server[Symbol.asyncDispose]());
  await server.start();
  const stores = await openSqlStores();
  const run = await admitAndClaim(stores, "r1");
  const place = { url: server.url, keyPrefix: newKeyPrefix(server.url) };
  const start = (limits: RedisProcessOptions["limits"] = {}) => startProcess(stores, { ...place, limits });
  return { server, stores, run, start, owner: await start(), other: await start() };
}

async function claimAgain({ runs }: SqlStores): Promise<Run> {
  await runs.recoverOrphans();
  const run = await runs.claim("w2", 15_000);
  if (run === undefined) throw new Error("nothing to claim");
  return run;
}

function untilSeen(seen: readonly string[], id: string): Promise<void> {
  return expect.poll(() => seen).toContain(id);
}

describe("who follows a run that another process executes", () => {
  it("sees it live, from any cursor, and its end", async () => {
    const { run, owner, other } = await open();
    const early = other.follow(run);
    await owner.say("r1", 1, 1, 5);
    await untilSeen(early.seen, "1-5");
    const late = other.follow(run, { after: { fence: 1, seq: 3 } });
    await untilSeen(late.seen, "1-5");
    await owner.end(run, 1, 6);
    expect(await early.ended).toEqual(ids(1, 1, 7));
    expect(await late.ended).toEqual(ids(1, 4, 7));
    expect(await other.tape.end(run)).toEqual({ last: { fence: 1, seq: 7 }, isComplete: true, isLive: true });
  });

  it("from now on sees all that is said once it has come, however late it begins to read", async () => {
    const { run, owner, other } = await open();
    const atFirst = await other.tape.now(run);
    await owner.say("r1", 1, 1, 5);
    await expect.poll(async () => (await other.tape.end(run)).last).toEqual({ fence: 1, seq: 5 });
    const later = await other.tape.now(run);
    await owner.end(run, 1, 6);
    expect(await other.follow(run, atFirst).ended).toEqual(ids(1, 1, 7));
    expect(await other.follow(run, later).ended).toEqual(ids(1, 6, 7));
    expect(await other.follow(run, await other.tape.now(run)).ended).toEqual(ids(1, 7, 7));
  });

  it("sees what Redis has and this process has no room for, by the ledger", async () => {
    const { run, owner, start } = await open();
    await owner.say("r1", 1, 1, 50);
    await owner.ledgerWriter.flush("r1");
    const small = await start({ maxBytesPerRun: 1_000 });
    const readings = [small.follow(run), small.follow(run, { after: { fence: 1, seq: 7 } })] as const;
    for (const { seen } of readings) await untilSeen(seen, "1-50");
    await owner.end(run, 1, 51);
    expect(await readings[0].ended).toEqual(ids(1, 1, 52));
    expect(await readings[1].ended).toEqual(ids(1, 8, 52));
  });

  it("sees it go on under another owner, without a gap, wherever it follows it", async () => {
    const { stores, run, start, owner, other } = await open();
    const third = await start();
    const readings = [owner, other, third].map((each) => each.follow(run));
    await owner.say("r1", 1, 1, 5);
    for (const { seen } of readings) await untilSeen(seen, "1-5");
    const claimed = await claimAgain(stores);
    await other.say("r1", 2, 1, 3);
    await owner.say("r1", 1, 6, 8); // it has not noticed yet
    await other.end(claimed, 2, 4);
    const late = (await start()).follow(run);
    const seen = await Promise.all([...readings, late].map(({ ended }) => ended));
    expect(seen).toEqual(seen.map(() => seen[0]));
    expect(seen[0]?.filter((each) => each.startsWith("2-"))).toEqual(ids(2, 1, 5));
    expect(seen[0]?.slice(0, 5)).toEqual(ids(1, 1, 5));
  });

  it("sees the end of a run whose owner died between its commit and its last word", async () => {
    const { stores, run, owner, other } = await open();
    const { seen, ended } = other.follow(run);
    await owner.say("r1", 1, 1, 3);
    await untilSeen(seen, "1-3");
    await owner.ledgerWriter.flush("r1");
    await stores.runs.finish(leaseOf(run), outcome());
    expect(await ended).toEqual([...ids(1, 1, 3), "gap"]); // who shows it tells the end by the row
    expect(await other.tape.end(run)).toMatchObject({ isComplete: true });
  });

  it("waits for what is still on its way to the ledger when the row says that the run has ended", async () => {
    const { server, stores, run, owner, other } = await open();
    const { seen, ended } = other.follow(run);
    await owner.say("r1", 1, 1, 3);
    await untilSeen(seen, "1-3");
    await server.kill();
    await Promise.all([owner.redis.until("away"), other.redis.until("away")]);
    await owner.ledgerWriter.flush("r1");
    await stores.runs.finish(leaseOf(run), outcome());
    // A second and more after the commit: its machine, or the database, has much to do.
    await new Promise<void>((resolve) => void systemClock.after(1_700, resolve));
    await owner.say("r1", 1, 4, 4, "__result__");
    await owner.say("r1", 1, 5, 5, "end");
    await owner.ledgerWriter.flush("r1");
    expect(await ended).toEqual(ids(1, 1, 5));
  });

  it("goes on from the ledger while Redis is away, and live when it is back", async () => {
    const { server, run, owner, other } = await open();
    const { seen, ended } = other.follow(run);
    await owner.say("r1", 1, 1, 5);
    await untilSeen(seen, "1-5");
    await server.kill();
    await Promise.all([owner.redis.until("away"), other.redis.until("away")]);
    await owner.say("r1", 1, 6, 9);
    await untilSeen(seen, "1-9");
    const late = other.follow(run, { after: { fence: 1, seq: 7 } });
    await untilSeen(late.seen, "1-9");
    await server.start();
    await Promise.all([owner.redis.until("up"), other.redis.until("up")]);
    await owner.say("r1", 1, 10, 12);
    await owner.end(run, 1, 13);
    expect(await ended).toEqual(ids(1, 1, 14));
    expect(await late.ended).toEqual(ids(1, 8, 14));
  });

  it("sees the end while Redis is away", async () => {
    const { server, run, owner, other } = await open();
    const { seen, ended } = other.follow(run);
    await owner.say("r1", 1, 1, 2);
    await untilSeen(seen, "1-2");
    await server.kill();
    await Promise.all([owner.redis.until("away"), other.redis.until("away")]);
    await owner.say("r1", 1, 3, 4);
    await owner.end(run, 1, 5);
    expect(await ended).toEqual(ids(1, 1, 6));
    expect(await other.follow(run).ended).toEqual(ids(1, 1, 6));
    expect(await other.tape.end(run)).toMatchObject({ last: { fence: 1, seq: 6 }, isComplete: true });
  });

  it("misses nothing that an owner said to the ledger alone before it died", async () => {
    const { stores, run, owner, other } = await open();
    const { seen, ended } = other.follow(run);
    await owner.say("r1", 1, 1, 3);
    await untilSeen(seen, "1-3");
    owner.redis.link.close(); // cut off from Redis, and never back
    await owner.bridge.close();
    const unshared = [4, 5].map((seq): StreamEvent => ({ ...event(seq), data: `"1-${seq}"` }));
    for (const each of unshared) owner.ledgerWriter.append("r1", each);
    await owner.ledgerWriter.stop();
    const claimed = await claimAgain(stores);
    await other.say("r1", 2, 1, 2);
    await other.end(claimed, 2, 3);
    expect(await ended).toEqual([...ids(1, 1, 5), ...ids(2, 1, 4)]);
  });

  it("gets a snapshot, never a silent gap, when neither has what follows", async () => {
    const { stores, run, owner, start } = await open();
    for (let seq = 1; seq <= 9; seq++) await owner.bridge.publish("r1", event(seq)); // it dies before the ledger has it
    await expect.poll(async () => (await owner.bridge.extent("r1"))?.last.seq).toBe(9);
    await owner.redis.link.ask(({ commands }) => commands.flushall());
    const claimed = await claimAgain(stores);
    const later = await start();
    const reading = later.follow(run, { after: { fence: 1, seq: 4 } });
    await later.say("r1", 2, 1, 1);
    await later.end(claimed, 2, 2);
    expect(await reading.ended).toEqual(["gap", ...ids(2, 1, 3)]);
  });

  it("reads pages of it, to the end", async () => {
    const { run, owner, other } = await open();
    await owner.say("r1", 1, 1, 5);
    const request = { after: null, limit: 100, waitMs: 5_000, signal: NEVER } as const;
    await expect.poll(async () => (await other.tape.end(run)).last).toEqual({ fence: 1, seq: 5 });
    const first = await other.pages.read(run, request);
    expect(first.events.map(({ data }) => data)).toEqual(ids(1, 1, 5).map((id) => `"${id}"`));
    const next = other.pages.read(run, { ...request, after: first.next });
    await owner.end(run, 1, 6);
    const rest = await next;
    const last = rest.isDone ? rest : await other.pages.read(run, { ...request, after: rest.next });
    expect(last.isDone).toBe(true);
  });
});

function event(seq: number): StreamEvent {
  return { id: { fence: 1, seq }, event: "custom", namespace: [], data: "", at: seq };
}
