/**
 * Reads what other processes publish of the runs that somebody follows here, into this process's logs.
 *
 * 1. One connection waits for all of them: `XREAD BLOCK` over every run that is followed, however many follow it.
 * 2. What Redis has already and what comes are read the same way, so there is no seam between them. A run is loaded once
 *    this process's log has all that Redis had when it was asked.
 * 3. Where nothing comes of a run for a while, or Redis is away, its readers are told that nothing is known.
 */
import type { Clock } from "../core/clock.js";
import { formatEventId } from "./bridge.js";
import type { MemoryBridge } from "./memory.js";
import { type StreamEntry, takeEntries } from "./redis-entries.js";
import { ANSWER_MS, type RedisLink, type RedisSession } from "./redis-link.js";

export interface RedisFollowerDeps {
  readonly link: RedisLink;
  readonly logs: MemoryBridge;
  readonly keyOf: (runId: string) => string;
  readonly clock: Clock;
}

export interface RedisFollower {
  /** Goes on from the end of this process's log. Does nothing for a run that is followed. */
  follow(runId: string): void;
  unfollow(runId: string): void;
  isLoaded(runId: string): boolean;
  /** Resolves with whether the run was loaded, at the latest when Redis is away. */
  loaded(runId: string): Promise<boolean>;
  /** 3. To be called every second. */
  tellSilence(): void;
}

interface Followed {
  /** The last entry that was read. */
  position: string;
  isLoaded: boolean;
  readonly waiting: Set<(isLoaded: boolean) => void>;
  heardAt: number;
}

const BLOCK_MS = 1_000;
/** Of one run, in one answer. */
const READ_COUNT = 256;
const SILENCE_MS = 5_000;
/** How soon a read that should end is told again: it may not have begun to wait when it was told. */
const UNBLOCK_AGAIN_MS = 20;

export function createRedisFollower({ link, logs, keyOf, clock }: RedisFollowerDeps): RedisFollower {
  const followed = new Map<string, Followed>();
  /** Of the session's one read loop. */
  let reading: RedisSession | undefined;
  let isBlocked = false;

  function settle(run: Followed, isLoaded: boolean): void {
    run.isLoaded = isLoaded;
    for (const resolve of run.waiting) resolve(isLoaded);
    run.waiting.clear();
  }

  /** Starts the loop, or makes it look at what is followed now. */
  function look(): void {
    const { session } = link;
    if (session === undefined) return;
    if (reading !== session) {
      reading = session;
      void readAll(session);
    } else if (isBlocked) unblock(session);
  }

  function unblock(session: RedisSession): void {
    void link.ask(({ commands }) => commands.client("UNBLOCK", session.blockingId));
    clock.after(UNBLOCK_AGAIN_MS, () => {
      const isLate = [...followed.values()].some(({ isLoaded }) => !isLoaded);
      if (link.session === session && isBlocked && isLate) unblock(session);
    });
  }

  /** Never throws. Ends with the session, and while nothing is followed. */
  async function readAll(session: RedisSession): Promise<void> {
    while (link.session === session && followed.size > 0) {
      const asked = [...followed];
      const isLoading = asked.some(([, { isLoaded }]) => !isLoaded);
      const keys = asked.map(([runId]) => keyOf(runId));
      const positions = asked.map(([, { position }]) => position);
      const { blocking } = session;
      isBlocked = !isLoading;
      const read = await link.ask<Reply>(
        () =>
          isLoading
            ? blocking.xread("COUNT", READ_COUNT, "STREAMS", ...keys, ...positions)
            : blocking.xread("COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", ...keys, ...positions),
        isLoading ? ANSWER_MS : BLOCK_MS + ANSWER_MS,
      );
      isBlocked = false;
      if (read === undefined) break;
      const entries = new Map(read.answer);
      for (const [runId, run] of asked) take(runId, run, entries.get(keyOf(runId)) ?? []);
    }
    if (reading === session) reading = undefined;
  }

  function take(runId: string, run: Followed, entries: readonly StreamEntry[]): void {
    if (followed.get(runId) !== run) return;
    const last = entries.at(-1);
    if (last !== undefined) {
      takeEntries(logs, runId, entries);
      run.position = last[0];
      run.heardAt = clock.now();
    }
    if (!run.isLoaded && entries.length < READ_COUNT) settle(run, true);
  }

  link.onChange((session) => {
    isBlocked = false;
    if (session === undefined) for (const run of followed.values()) settle(run, false);
    else look();
  });

  return {
    follow(runId) {
      if (followed.has(runId)) return;
      const last = logs.extent(runId)?.last;
      const position = last === undefined ? "0-0" : formatEventId(last);
      followed.set(runId, { position, isLoaded: false, waiting: new Set(), heardAt: clock.now() });
      look();
    },

    unfollow(runId) {
      const run = followed.get(runId);
      if (run === undefined) return;
      followed.delete(runId);
      settle(run, false);
    },

    isLoaded: (runId) => followed.get(runId)?.isLoaded === true,

    loaded(runId) {
      const run = followed.get(runId);
      if (run === undefined || run.isLoaded || link.session === undefined)
        return Promise.resolve(run?.isLoaded === true);
      return new Promise((resolve) => void run.waiting.add(resolve));
    },

    tellSilence() {
      const isAway = link.session === undefined;
      const now = clock.now();
      for (const [runId, run] of followed) {
        if (!isAway && now - run.heardAt < SILENCE_MS) continue;
        run.heardAt = now;
        logs.tellSilence(runId);
      }
    },
  };
}

type Reply = readonly (readonly [key: string, entries: readonly StreamEntry[]])[] | null;
