/**
 * What processes that died left, put right: by the start of a process that is alone, before it serves anything, and by every
 * replica again and again where there may be several.
 */
import type { Config } from "../config.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { takeBack } from "../runs/ending.js";
import { createRunTakeover } from "../runs/takeover.js";
import { startSweeper } from "../storage/sweeper.js";
import type { OnStop } from "./on-stop.js";
import type { RunLog } from "./run-log.js";
import { type Runs, sharedGraceMs } from "./runs.js";
import type { Storage } from "./storage.js";
import type { Threads } from "./threads.js";

interface AftermathDeps {
  readonly config: Config;
  readonly runs: Pick<Runs, "manager">;
  readonly storage: Pick<Storage, "isShared" | "isAlone" | "lease" | "clock" | "runs" | "threads" | "checkpoints">;
  readonly runLog: Pick<RunLog, "bridge" | "ledgerWriter" | "signals">;
  readonly threads: Pick<Threads, "threadService" | "state" | "takeOver">;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** On average. */
const SWEEP_MS = 3_000;

export async function putRight(deps: AftermathDeps, onStop: OnStop): Promise<void> {
  if (deps.storage.isAlone) await finishAll(deps);
  if (!deps.storage.isShared) return;
  const { storage, runLog, threads, log, metrics } = deps;
  const takeOverRuns = createRunTakeover({ ...storage, ...runLog, log, metrics, leaseMs: storage.lease.leaseMs });
  await takeOverRuns();
  const graceMs = sharedGraceMs(deps.config, storage.lease);
  const sweeps = {
    "leases of runs": takeOverRuns,
    "leases of threads": threads.takeOver,
    "readers of runs": () => deps.runs.manager.cancelAbandoned(graceMs),
  };
  for (const [what, takeOver] of Object.entries(sweeps)) {
    const sweeper = startSweeper({
      clock: storage.clock,
      log,
      intervalMs: SWEEP_MS,
      jitter: Math.random,
      what,
      sweep: async () => ({ deleted: await takeOver(), more: false }),
    });
    onStop(() => sweeper.stop());
  }
}

/** Runs first, then the threads that they were on. */
async function finishAll({ storage, threads, log }: AftermathDeps): Promise<void> {
  const { runs, checkpoints } = storage;
  for (const run of await runs.recoverOrphans())
    log.warn({ runId: run.runId, threadId: run.threadId }, "run recovered");
  for (const run of await runs.listRollingBack()) await takeBack({ runs, checkpoints }, run);
  await threads.threadService.finishDeletions();
  await threads.state.finishUpdates();
}
