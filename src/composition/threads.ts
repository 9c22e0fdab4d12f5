/** Threads: their state, their end, and the sweeps that take those whose time is over. */
import type { Config } from "../config.js";
import { ANYONE } from "../core/caller.js";
import type { Log } from "../core/log.js";
import type { AssistantServices } from "../graphs/assistants.js";
import { startSweeper } from "../storage/sweeper.js";
import { createDeletion } from "../threads/deletion.js";
import { createReservations } from "../threads/reservation.js";
import { createRetention } from "../threads/retention.js";
import { createThreadStateService } from "../threads/state.js";
import { createThreadTakeover } from "../threads/takeover.js";
import { createThreadService } from "../threads/threads.js";
import type { Code } from "./code.js";
import type { OnStop } from "./on-stop.js";
import type { RunLog } from "./run-log.js";
import { type Runs, ttlOfNewThreads } from "./runs.js";
import type { Storage } from "./storage.js";

interface ThreadsDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "clock" | "threads" | "runs" | "checkpoints" | "lease">;
  readonly code: Pick<Code, "host">;
  readonly assistants: AssistantServices;
  readonly runLog: Pick<RunLog, "bridge" | "signals">;
  readonly manager: Runs["manager"];
  readonly log: Log;
}

/** Between two batches of expired threads. */
const SWEEP_PAUSE_MS = 50;

export type Threads = ReturnType<typeof openThreads>;

export function openThreads({ config, storage, code, assistants, runLog, manager, log }: ThreadsDeps) {
  const { clock, threads, runs, checkpoints, lease } = storage;
  const { host } = code;
  const { bridge, signals } = runLog;
  const onFree = (threadId: string): void => {
    signals.send("runs");
    signals.send(`thread:${threadId}`);
  };
  const reservations = createReservations({
    threads,
    activeRun: (threadId) => manager.as(ANYONE).active(threadId),
    onFree,
    clock,
    log,
    lease,
  });
  const state = createThreadStateService({
    threads,
    checkpoints,
    host,
    configOf: (assistantId) => assistants.configOf(assistantId),
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
    defaultTtl: ttlOfNewThreads(config),
  });
  const takeOver = createThreadTakeover({
    threads,
    whileHeld: reservations.whileHeld,
    showHead: state.showHead,
    stopRuns: (threadId, signal) => manager.stopThread(threadId, signal),
    finishDeletion,
    onFree,
    clock,
    log,
    leaseMs: lease.leaseMs,
  });
  return { threadService, state, finishDeletion, takeOver };
}

interface RetentionDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "clock" | "threads" | "checkpoints">;
  readonly finishDeletion: Threads["finishDeletion"];
  readonly log: Log;
}

export function startRetention({ config, storage, finishDeletion, log }: RetentionDeps, onStop: OnStop): void {
  const { clock, threads, checkpoints } = storage;
  const { ttl } = config.checkpointer;
  const sweepThreads = createRetention({ threads, checkpoints, finishDeletion, log }, { limit: ttl.sweepLimit });
  const threadSweeper = startSweeper({
    clock,
    log,
    intervalMs: ttl.sweepIntervalMinutes * 60_000,
    pauseMs: SWEEP_PAUSE_MS,
    what: "threads",
    async sweep() {
      const { deleted, pruned, more } = await sweepThreads();
      return { deleted: deleted + pruned, more };
    },
  });
  onStop(() => threadSweeper.stop());
}
