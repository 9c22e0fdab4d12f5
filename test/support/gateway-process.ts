/** One life of a gateway below HTTP: every service, new, over databases and a clock that outlive it. */

import { createMemoryBridge, createMemorySignals } from "../../src/bridge/memory.js";
import { ANYONE } from "../../src/core/caller.js";
import { createSteadyClock } from "../../src/core/clock.js";
import { type Log, silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { GraphHost } from "../../src/graphs/host.js";
import { takeBack } from "../../src/runs/ending.js";
import { createRunManager } from "../../src/runs/manager.js";
import { createRunReader } from "../../src/runs/reading.js";
import { createWorker } from "../../src/runs/worker.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { createDatabase } from "../../src/storage/database.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import type { RunStore } from "../../src/storage/ports/runs.js";
import type { ThreadStore } from "../../src/storage/ports/threads.js";
import { latestTransition, SqlRunStore } from "../../src/storage/runs.js";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";
import { SqlThreadStore } from "../../src/storage/threads.js";
import { createDeletion } from "../../src/threads/deletion.js";
import { createReservations } from "../../src/threads/reservation.js";
import { createRetention } from "../../src/threads/retention.js";
import { createThreadStateService } from "../../src/threads/state.js";
import { createThreadService } from "../../src/threads/threads.js";
import type { FakeClock } from "./fake-clock.js";
import { die, type Life, mortal, mortalClock } from "./mortal.js";
import { withoutLedger } from "./no-ledger.js";
import { ALONE, newAssistant } from "./sql-stores.js";

export interface ProcessOptions {
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly maxPendingPerThread: number;
}

export interface ProcessDeps<Host extends GraphHost> {
  /** Of a migrated database. */
  readonly connection: SqliteDatabase;
  readonly checkpoints: Checkpoints;
  readonly clock: FakeClock;
  readonly createHost: (checkpoints: Checkpoints) => Host;
  readonly options: ProcessOptions;
  /** Stands before every call of a store: decides when it happens. */
  readonly gate: (call: string) => Promise<void> | undefined;
  readonly onUse: () => void;
  readonly log?: Log;
}

export type GatewayProcess<Host extends GraphHost> = Awaited<ReturnType<typeof startProcess<Host>>>;

/** Starts as `server.ts` does: what a crash left is put right before anything else. */
export async function startProcess<Host extends GraphHost>(deps: ProcessDeps<Host>) {
  const { options, log = silentLog, onUse } = deps;
  const life: Life = { isAlive: true };
  const checkpoints = mortal(deps.checkpoints, life);
  const database = createDatabase(mortal(deps.connection, life, onUse));
  const clock = mortalClock(createSteadyClock(deps.clock, await latestTransition(database)), life);
  const commits = createCommitGroup(database);
  const runs: RunStore = gated(new SqlRunStore({ database, commits, clock }), "runs", deps.gate);
  const threads: ThreadStore = gated(new SqlThreadStore({ database, commits, clock }), "threads", deps.gate);
  const host = deps.createHost(checkpoints);
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: 1e6,
    maxBytesPerReader: 1e6,
    maxRetainedBytes: 1e7,
    retentionMs: 600_000,
  });
  const signals = createMemorySignals();
  const { maxAttempts, timeoutMs } = options;
  const kept = withoutLedger({ bridge, runs });
  const shared = { runs, threads, checkpoints, host, bridge, signals, clock, log, metrics: createMetrics(), ...kept };
  const worker = createWorker({
    ...shared,
    concurrency: options.concurrency,
    options: { ...ALONE, timeoutMs, maxAttempts, keepPartialOnCancel: false },
  });
  const manager = createRunManager({
    ...shared,
    reader: createRunReader(shared),
    findAssistant: async () => ({ ...newAssistant(), version: 1, createdAt: 0, updatedAt: 0 }),
    reserveSlot: () => worker.reserve(),
    requireWebhook: () => {},
    requireOpen: () => {},
    options: {
      defaultMultitaskStrategy: "enqueue",
      recordAll: true,
      defaultTtl: null,
      maxPendingPerThread: options.maxPendingPerThread,
      maxInFlightPerCaller: null,
      maxPendingPerCaller: null,
      maxInheritedBytes: 1e9,
    },
  });
  const reservations = createReservations({
    threads,
    activeRun: (threadId) => manager.as(ANYONE).active(threadId),
    onFree: () => signals.send("runs"),
    clock,
    log,
    lease: ALONE,
  });
  const state = createThreadStateService({
    threads,
    checkpoints,
    host,
    configOf: async () => ({}),
    whileReserved: reservations.whileReserved,
    clock,
    log,
  });
  const finishDeletion = createDeletion({ threads, runs, checkpoints, bridge });
  const threadService = createThreadService({
    threads,
    checkpoints,
    host,
    state,
    reservations,
    stopRuns: (threadId) => manager.stopThread(threadId),
    finishDeletion,
    defaultTtl: null,
  });
  await runs.recoverOrphans();
  for (const run of await runs.listRollingBack()) await takeBack({ runs, checkpoints }, run);
  await threadService.finishDeletions();
  await state.finishUpdates();
  worker.start();

  return {
    clock,
    host,
    manager: manager.as(ANYONE),
    state: state.as(ANYONE),
    threads: threadService.as(ANYONE),
    /** Ends the time of the thread, sweeps, and lets it live on if it still does; whether this sweep deleted it. */
    async expire(threadId: string, strategy: "delete" | "keep_latest"): Promise<boolean> {
      const deleted = new Set<string>();
      const sweep = createRetention(
        {
          threads,
          checkpoints,
          log,
          async finishDeletion(id) {
            await finishDeletion(id);
            deleted.add(id);
          },
        },
        { limit: 1_000 },
      );
      await threads.patch(threadId, { ttl: { strategy, ttlMinutes: Number.MIN_VALUE } });
      for (let more = true; more; ) ({ more } = await sweep());
      await threads.patch(threadId, { ttl: null });
      return deleted.has(threadId);
    },
    /** Looks for runs that can start, as after any signal, be it for nothing. */
    look: () => signals.send("runs"),
    /** What the process does from now on has no effect. */
    kill: () => die(deps.connection, life),
    /** Gives its runs back and ends its streams, as a stop without grace does. */
    async stop(): Promise<void> {
      let isStopped = false;
      const stopped = worker.stop(0).finally(() => {
        isStopped = true;
      });
      while (!isStopped) {
        await new Promise((resolve) => setImmediate(resolve));
        deps.clock.advance(0); // no grace is a timer, too
      }
      await stopped;
      await bridge.close();
      life.isAlive = false;
    },
  };
}

/** Every call waits at the gate first. */
function gated<T extends object>(store: T, name: string, gate: ProcessDeps<GraphHost>["gate"]): T {
  return new Proxy(store, {
    get(of, key) {
      const member: unknown = Reflect.get(of, key, of);
      if (typeof member !== "function") return member;
      if (key === "within") return (...args: unknown[]) => gated(member.apply(of, args) as T, name, gate);
      return async (...args: unknown[]) => {
        await gate(`${name}.${String(key)}`);
        return member.apply(of, args);
      };
    },
  });
}
