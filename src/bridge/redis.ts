/**
 * The bridge of processes that share a Redis (6.2 or later): one Redis Stream per run, whose entries have the events' ids.
 *
 * 1. Readers read this process's logs (`bridge/memory.ts`): of a run that this process executes its writer fills them, of
 *    any other the follower, while somebody reads it here. An event is decoded once, however many read it.
 * 2. The number of connections depends on neither runs nor readers.
 * 3. A run without an owner is followed from Redis, so a reader sees what comes after its owner has changed.
 * 4. While Redis is away a reader is told that nothing is known, and reads on when it is back. What Redis lost is a gap, or
 *    comes again from the process that published it.
 */
import type { Clock } from "../core/clock.js";
import type { Metrics } from "../core/metrics.js";
import {
  compareEventIds,
  type EventId,
  type LogExtent,
  type Silence,
  type StreamBatch,
  type StreamBridge,
  StreamBrokenError,
} from "./bridge.js";
import { createMemoryBridge, type MemoryBridgeOptions } from "./memory.js";
import { DROPPED_FIELDS, LAST_ID, readEntry } from "./redis-entries.js";
import { createRedisFollower } from "./redis-follower.js";
import type { RedisHints } from "./redis-hints.js";
import type { RedisLink } from "./redis-link.js";
import { createRedisWriter } from "./redis-writer.js";

export interface RedisBridgeDeps {
  readonly link: RedisLink;
  readonly hints: RedisHints;
  readonly keyPrefix: string;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "unsharedEvents">;
  readonly options: Omit<MemoryBridgeOptions, "clock"> & {
    /** What of all runs together may be on its way to Redis. */
    readonly maxBufferedBytes: number;
  };
}

const TICK_MS = 1_000;
/** How long the log of a run that nobody reads here any more, and that others write, is kept. */
const UNREAD_MS = 10_000;
/** For so long Redis takes nothing of a run that was deleted. */
const DROPPED_MS = 60_000;

export function createRedisBridge({ link, hints, keyPrefix, clock, metrics, options }: RedisBridgeDeps): StreamBridge {
  const keyOf = (runId: string): string => `${keyPrefix}run:${runId}`;
  const logs = createMemoryBridge({ clock, ...options });
  const writer = createRedisWriter({ link, logs, keyOf, clock, metrics, onLeft: onLeftBy, options });
  const follower = createRedisFollower({ link, logs, keyOf, clock });
  const readers = new Map<string, number>();
  /** Logs that others fill, or may, by when nobody read them any more; null while somebody does. */
  const shared = new Map<string, number | null>();
  const pausing = new Set<() => void>();
  let isClosed = false;
  let forgetTick = (): void => {};

  /** 1, 3. Follows the run while somebody reads it here and this process does not write it. */
  function arrange(runId: string): void {
    const isRead = readers.has(runId);
    if (isRead && !writer.isWriting(runId) && !logs.isEnded(runId)) {
      shared.set(runId, null);
      follower.follow(runId);
    } else {
      follower.unfollow(runId);
      if (shared.has(runId)) shared.set(runId, isRead ? null : clock.now());
    }
  }

  function onLeftBy(runId: string): void {
    if (!logs.isEnded(runId)) shared.set(runId, clock.now());
    arrange(runId);
  }

  function tick(): void {
    writer.sweep();
    for (const runId of readers.keys()) arrange(runId);
    follower.tellSilence();
    const now = clock.now();
    for (const [runId, unreadSince] of shared) {
      if (unreadSince === null || now - unreadSince < UNREAD_MS || writer.isWriting(runId)) continue;
      shared.delete(runId);
      logs.drop(runId);
    }
    forgetTick = clock.after(TICK_MS, tick);
  }

  function enter(runId: string): void {
    readers.set(runId, (readers.get(runId) ?? 0) + 1);
    arrange(runId);
  }

  function leave(runId: string): void {
    const left = (readers.get(runId) ?? 1) - 1;
    if (left > 0) readers.set(runId, left);
    else {
      readers.delete(runId);
      arrange(runId);
    }
  }

  /** Whether this process's log has what there is, or all that can be had of it. */
  async function isAtHand(runId: string, signal: AbortSignal): Promise<boolean> {
    if (logs.isEnded(runId)) return true;
    if (writer.isWriting(runId)) {
      await untilAborted(writer.shown(runId), signal);
      return true;
    }
    const isLoaded = await untilAborted(follower.loaded(runId), signal);
    return isLoaded === true || logs.isEnded(runId) || writer.isWriting(runId) || logs.extent(runId) !== undefined;
  }

  /** A moment, or less when Redis is back. */
  function pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        forgetTimer();
        pausing.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const forgetTimer = clock.after(TICK_MS, done);
      pausing.add(done);
      signal.addEventListener("abort", done);
    });
  }

  async function newestEntry(runId: string) {
    const found = await link.ask(({ commands }) => commands.xrevrange(keyOf(runId), "+", "-", "COUNT", 2));
    return found?.answer.map(readEntry);
  }

  async function extentInRedis(runId: string): Promise<LogExtent | undefined> {
    const newest = await newestEntry(runId);
    if (newest === undefined) return logs.extent(runId); // 4
    const last = newest.find((entry) => entry.kind === "event");
    if (last?.kind !== "event" || newest[0]?.kind === "dropped") return undefined;
    const oldest = await link.ask(({ commands }) => commands.xrange(keyOf(runId), "-", "+", "COUNT", 1));
    const [first] = oldest?.answer.map(readEntry) ?? [];
    if (first?.kind !== "event") return undefined;
    return { first: firstHere(runId, first.event.id), last: last.event.id, ended: newest[0]?.kind === "end" };
  }

  /** What this process's log let go is not read again from Redis, which may have kept it: readers read that log (1). */
  function firstHere(runId: string, firstInRedis: EventId): EventId {
    const here = logs.extent(runId);
    return here !== undefined && compareEventIds(here.last, firstInRedis) >= 0 ? here.first : firstInRedis;
  }

  /** This process's log is what everybody knows. */
  function isComplete(runId: string): boolean {
    return logs.isEnded(runId) || writer.isWriting(runId) || (follower.isLoaded(runId) && link.session !== undefined);
  }

  function forget(runId: string): void {
    writer.forget(runId);
    follower.unfollow(runId);
    shared.delete(runId);
    logs.drop(runId);
  }

  const stopHearing = hints.on("dropped", forget);
  const stopWatching = link.onChange((session) => {
    if (session !== undefined) for (const resume of [...pausing]) resume();
  });
  tick();

  return {
    publish: writer.publish,
    end: writer.end,

    async has(runId) {
      if (writer.isWriting(runId) || logs.isEnded(runId)) return true;
      const newest = await newestEntry(runId);
      if (newest === undefined) return logs.extent(runId) !== undefined;
      return newest.length > 0 && newest[0]?.kind !== "dropped";
    },

    async extent(runId) {
      if (writer.isWriting(runId)) await writer.shown(runId); // the ledger may have it sooner, and folded
      return isComplete(runId) ? logs.extent(runId) : extentInRedis(runId);
    },

    async *subscribe(runId, subscription): AsyncGenerator<StreamBatch | Silence> {
      const { signal } = subscription;
      enter(runId);
      try {
        while (!(await isAtHand(runId, signal))) {
          if (signal.aborted) return;
          if (isClosed) throw new StreamBrokenError("the gateway is stopping");
          yield { kind: "silence" };
          await pause(signal);
        }
        yield* logs.subscribe(runId, subscription);
      } finally {
        leave(runId);
      }
    },

    async drop(runId) {
      forget(runId);
      hints.send("dropped", runId);
      const key = keyOf(runId);
      await link.ask(({ commands }) =>
        commands
          .multi()
          .del(key)
          .xadd(key, LAST_ID, ...DROPPED_FIELDS)
          .pexpire(key, DROPPED_MS)
          .exec(),
      );
    },

    async close() {
      await writer.drained();
      isClosed = true;
      forgetTick();
      stopHearing();
      stopWatching();
      for (const resume of [...pausing]) resume();
      logs.close();
    },
  };
}

/** undefined when the signal aborts first. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(undefined);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
