/**
 * Several replicas in one process, below HTTP: each with a worker, services and sweeps of its own, over one database in
 * memory, one bridge, and one clock that a replica can be frozen under.
 */
import { onTestFinished } from "vitest";
import type { Signals } from "../../src/bridge/bridge.js";
import { createMemoryBridge, createMemorySignals } from "../../src/bridge/memory.js";
import { ANYONE } from "../../src/core/caller.js";
import type { Clock } from "../../src/core/clock.js";
import { sharedLease } from "../../src/core/lease.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import { keepsNothing } from "../../src/runs/ledger-writer.js";
import { createRunManager } from "../../src/runs/manager.js";
import { createRunReader } from "../../src/runs/reading.js";
import { createRunTakeover } from "../../src/runs/takeover.js";
import { createRunTape } from "../../src/runs/tape.js";
import { createWorker } from "../../src/runs/worker.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { createDeletion } from "../../src/threads/deletion.js";
import { createReservations } from "../../src/threads/reservation.js";
import { createThreadTakeover } from "../../src/threads/takeover.js";
import type { FakeClock } from "./fake-clock.js";
import { settle } from "./run-kit.js";
import { createScriptedHost } from "./scripted-host.js";
import { LEASE_MS, newAssistant, newThread, openSqlStores } from "./sql-stores.js";

export const HEARTBEAT_MS = 5_000;

export interface ReplicaOptions {
  readonly role?: "all" | "api" | "worker";
  /** `own`: hints of others do not reach it, nor its own others. */
  readonly signals?: "shared" | "own";
  readonly stubborn?: boolean;
}

export async function openCluster() {
  const stores = await openSqlStores();
  const { clock, runs, threads, ledger } = stores;
  await threads.create(newThread());
  const checkpoints = openCheckpoints(":memory:");
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: 1e6,
    maxBytesPerReader: 1e6,
    maxRetainedBytes: 1e7,
    retentionMs: 600_000,
  });
  const sharedSignals = createMemorySignals();
  const lease = sharedLease({ leaseMs: LEASE_MS, heartbeatMs: HEARTBEAT_MS });
  onTestFinished(() => checkpoints.close());

  async function replica({ role = "all", signals: whose = "shared", stubborn = false }: ReplicaOptions = {}) {
    const life = freezable();
    const time = life.clock(clock);
    const signals = life.signals(whose === "shared" ? sharedSignals : createMemorySignals());
    const host = createScriptedHost({ stubborn });
    const tape = createRunTape({ bridge, ledger, ledgerWriter: keepsNothing, runs });
    const deps = {
      runs,
      threads,
      checkpoints,
      host,
      bridge,
      ledgerWriter: keepsNothing,
      tape,
      signals,
      clock: time,
      log: silentLog,
      metrics: createMetrics(),
    };
    const options = { ...lease, timeoutMs: 3_600_000, maxAttempts: 3, keepPartialOnCancel: false };
    const worker = createWorker({ ...deps, concurrency: 5, options });
    const managers = createRunManager({
      ...deps,
      reader: createRunReader(deps),
      findAssistant: async () => ({ ...newAssistant(), version: 1, createdAt: 0, updatedAt: 0 }),
      reserveSlot: () => worker.reserve(),
      requireWebhook: () => {},
      requireOpen: () => {},
      options: {
        defaultMultitaskStrategy: "enqueue",
        recordAll: true,
        defaultTtl: null,
        maxPendingPerThread: 64,
        maxInFlightPerCaller: null,
        maxPendingPerCaller: null,
        maxInheritedBytes: 1e9,
      },
    });
    const onFree = (): void => signals.send("runs");
    const reservations = createReservations({
      ...deps,
      activeRun: (threadId) => managers.as(ANYONE).active(threadId),
      onFree,
      lease,
    });
    const shown: string[] = [];
    const finishDeletion = createDeletion(deps);
    const takeOverThreads = createThreadTakeover({
      ...deps,
      whileHeld: reservations.whileHeld,
      showHead: async (threadId) => void shown.push(threadId),
      stopRuns: (threadId, signal) => managers.stopThread(threadId, signal),
      finishDeletion,
      onFree,
      leaseMs: LEASE_MS,
    });
    const takeOverRuns = createRunTakeover({ ...deps, leaseMs: LEASE_MS });
    if (role !== "api") worker.start();
    await settle();
    onTestFinished(async () => {
      life.freeze(); // what it still waits for never comes
      worker.drain();
    });
    return {
      ...deps,
      worker,
      reservations,
      finishDeletion,
      manager: { ...managers.as(ANYONE), stopThread: managers.stopThread },
      /** Threads whose state it has shown because their writers were gone. */
      shown,
      /** What every replica does every few seconds. */
      async sweep(): Promise<void> {
        await takeOverRuns();
        await takeOverThreads();
        await settle();
      },
      takeOverRuns,
      /** Its timers stand still, and it hears nothing. */
      freeze: life.freeze,
      /** What fell due, or was to be heard, meanwhile happens now. */
      thaw: life.thaw,
    };
  }

  return {
    ...stores,
    checkpoints,
    bridge,
    replica,
    /** Heartbeat by heartbeat. */
    async pass(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= 1_000) {
        clock.advance(Math.min(left, 1_000));
        await settle();
      }
    },
    status: async (runId: string) => (await runs.get(null, runId))?.status,
    /** The transitions of a run, as the database wrote them down. */
    async transitions(runId: string): Promise<readonly (string | null)[]> {
      const rows = await stores.database
        .selectFrom("run_audit")
        .select("new_status")
        .where("run_id", "=", runId)
        .orderBy("seq")
        .execute();
      return rows.map(({ new_status }) => new_status);
    },
  };
}

function freezable() {
  let isFrozen = false;
  let due: (() => void)[] = [];
  const whenAwake = (callback: () => void) => (): void => {
    if (isFrozen) due.push(callback);
    else callback();
  };
  return {
    clock: (clock: FakeClock): Clock => ({
      now: () => clock.now(),
      after: (delayMs, callback) => clock.after(delayMs, whenAwake(callback)),
    }),
    signals: (signals: Signals): Signals => ({
      send: (topic) => signals.send(topic),
      on: (topic, listener) => signals.on(topic, whenAwake(listener)),
    }),
    freeze(): void {
      isFrozen = true;
    },
    thaw(): void {
      isFrozen = false;
      const late = due;
      due = [];
      for (const callback of late) callback();
    },
  };
}
