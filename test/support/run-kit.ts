/** Everything that runs need below HTTP, around a scripted host: SQL stores in memory, a fake clock, the memory bridge. */
import { onTestFinished } from "vitest";
import { createMemoryBridge, createMemorySignals } from "../../src/bridge/memory.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { Run } from "../../src/core/model.js";
import type { AttemptOptions } from "../../src/runs/attempt.js";
import { createRunManager } from "../../src/runs/manager.js";
import { createRunReader } from "../../src/runs/reading.js";
import { createWorker } from "../../src/runs/worker.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { readAll } from "./events.js";
import { createScriptedHost, type ScriptedHost } from "./scripted-host.js";
import { admission, newAssistant, newThread, openSqlStores } from "./sql-stores.js";

export async function openRunKit(
  options: Partial<AttemptOptions> & { readonly concurrency?: number; readonly host?: ScriptedHost } = {},
) {
  const { concurrency = 2, host = createScriptedHost(), ...attempt } = options;
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
  });
  const signals = createMemorySignals();
  const deps = {
    runs,
    threads,
    checkpoints,
    host,
    bridge,
    signals,
    clock,
    log: silentLog,
    metrics: createMetrics(),
    options: { leaseMs: 15_000, timeoutMs: 3_600_000, maxAttempts: 3, keepPartialOnCancel: false, ...attempt },
  };
  const worker = createWorker({ ...deps, concurrency });
  const reader = createRunReader(deps);
  const manager = createRunManager({
    ...deps,
    reader,
    findAssistant: async () => ({ ...newAssistant(), version: 1, createdAt: 0, updatedAt: 0 }),
    reserveSlot: () => worker.reserve(),
    options: { defaultMultitaskStrategy: "enqueue", maxPendingPerThread: 64 },
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
    checkpoints.close();
  });
  return {
    ...stores,
    ...deps,
    worker,
    manager,
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
