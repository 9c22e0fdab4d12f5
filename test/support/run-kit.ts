/** Everything that runs need below HTTP, around a scripted host: SQL stores in memory, a fake clock, the memory bridge. */

import { onTestFinished } from "vitest";
import { createMemoryBridge, createMemorySignals, type MemoryBridgeOptions } from "../../src/bridge/memory.js";
import { ANYONE } from "../../src/core/caller.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { Run } from "../../src/core/model.js";
import type { AttemptDeps, AttemptOptions } from "../../src/runs/attempt.js";
import { createLedgerWriter, keepsNothing, type LedgerWriterOptions } from "../../src/runs/ledger-writer.js";
import { createRunManager } from "../../src/runs/manager.js";
import { createRunPages } from "../../src/runs/paging.js";
import { createRunReader } from "../../src/runs/reading.js";
import { createRunTape } from "../../src/runs/tape.js";
import { createWorker } from "../../src/runs/worker.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { readAll } from "./events.js";
import { createScriptedHost, type ScriptedHost } from "./scripted-host.js";
import { ALONE, admission, newAssistant, newThread, openSqlStores } from "./sql-stores.js";

export async function openRunKit(
  options: Partial<AttemptOptions> & {
    readonly concurrency?: number;
    readonly host?: ScriptedHost;
    /** With a ledger; without one unless given. */
    readonly ledger?: Partial<LedgerWriterOptions>;
    readonly bridge?: Partial<MemoryBridgeOptions>;
    readonly isAway?: AttemptDeps["isAway"];
  } = {},
) {
  const { concurrency = 2, host = createScriptedHost(), ledger: ledgerOptions = null, ...rest } = options;
  const { bridge: bridgeOptions, isAway, ...attempt } = rest;
  const stores = await openSqlStores();
  const { clock, runs, threads } = stores;
  await threads.create(newThread());
  const checkpoints = openCheckpoints(":memory:");
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: 1e6,
    maxBytesPerReader: 1e6,
    maxRetainedBytes: 1e7,
    retentionMs: 600_000,
    ...bridgeOptions,
  });
  const signals = createMemorySignals();
  const metrics = createMetrics();
  const { ledger } = stores;
  const ledgerWriter =
    ledgerOptions === null
      ? keepsNothing
      : createLedgerWriter({
          ledger,
          clock,
          log: silentLog,
          metrics,
          options: { maxBytesPerRun: 1e6, maxBufferedBytes: 1e6, ...ledgerOptions },
        });
  const tape = createRunTape({ bridge, ledger, ledgerWriter, runs });
  const deps = {
    runs,
    threads,
    checkpoints,
    host,
    bridge,
    ledgerWriter,
    tape,
    signals,
    clock,
    log: silentLog,
    metrics,
    isAway,
    options: {
      ...ALONE,
      timeoutMs: 3_600_000,
      maxAttempts: 3,
      keepPartialOnCancel: false,
      ...attempt,
    },
  };
  const worker = createWorker({ ...deps, concurrency });
  const reader = createRunReader(deps);
  const managers = createRunManager({
    ...deps,
    reader,
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
  /** Stops the worker, its clock going on meanwhile. */
  async function stop(graceMs: number): Promise<void> {
    let isStopped = false;
    const stopped = worker.stop(graceMs).finally(() => {
      isStopped = true;
    });
    while (!isStopped) {
      await settle();
      clock.advance(1_000);
    }
    await stopped;
  }
  onTestFinished(async () => {
    await stop(0);
    await ledgerWriter.stop();
    checkpoints.close();
  });
  return {
    ...stores,
    ...deps,
    worker,
    reader,
    pages: createRunPages({ tape, clock }),
    manager: { ...managers.as(ANYONE), stopThread: managers.stopThread },
    stop,
    /** Resolves when the run is in flight no more, which its log's end tells. */
    ended: (runId: string) => readAll(bridge, runId),
    async admit(run: Partial<Run> & Pick<Run, "runId">): Promise<void> {
      await runs.admit(admission(run));
      signals.send("runs");
    },
    status: async (runId: string) => (await runs.get(null, runId))?.status,
  };
}

/** Lets everything go on that waits for nothing but promises and immediates. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
