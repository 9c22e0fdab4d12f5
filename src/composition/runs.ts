/**
 * Runs: who admits them, who executes them, who reads them, and whether the gateway takes any.
 *
 * Nothing is executed yet: the worker is started, and stopped, by `server.ts`.
 */
import type { Config } from "../config.js";
import { unsupported } from "../core/errors.js";
import type { LeaseTimes } from "../core/lease.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { createReadiness } from "../core/readiness.js";
import type { AssistantServices } from "../graphs/assistants.js";
import { createRunManager } from "../runs/manager.js";
import { createRunReader } from "../runs/reading.js";
import { createWorker } from "../runs/worker.js";
import { isAway } from "../storage/failure.js";
import { createWriteProbe } from "../storage/write-probe.js";
import { targetOf } from "../webhooks/url-policy.js";
import type { Code } from "./code.js";
import type { RunLog } from "./run-log.js";
import type { Storage } from "./storage.js";

interface RunsDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "clock" | "commits" | "threads" | "runs" | "checkpoints" | "lease">;
  readonly code: Pick<Code, "host" | "tracing">;
  readonly assistants: AssistantServices;
  readonly runLog: RunLog;
  readonly log: Log;
  readonly metrics: Metrics;
}

export type Runs = ReturnType<typeof openRuns>;

export function openRuns({ config, storage, code, assistants, runLog, log, metrics }: RunsDeps) {
  const { clock, commits, threads, runs, checkpoints, lease } = storage;
  const { host, tracing } = code;
  const { bridge, ledgerWriter, tape, signals } = runLog;
  const probe = createWriteProbe(commits);
  const readiness = createReadiness({ clock, checks: [probe, async () => checkpoints.requireWritable()] });
  const worker = createWorker({
    runs,
    threads,
    checkpoints,
    host,
    bridge,
    ledgerWriter,
    signals,
    clock,
    log,
    metrics,
    tracing,
    isAway,
    concurrency: config.runs.concurrency,
    options: {
      ...lease,
      timeoutMs: config.runs.timeoutSeconds * 1_000,
      maxAttempts: config.runs.maxAttempts,
      keepPartialOnCancel: config.runs.keepPartialOnCancel,
    },
  });
  const reader = createRunReader({ runs, threads, host, bridge, tape, log });
  const requireWebhook = (url: string): void => {
    if (config.server.disableWebhooks) throw unsupported("webhook", "server.disable_webhooks is set");
    targetOf(url, config.webhooks.url);
  };
  const manager = createRunManager({
    runs,
    threads,
    checkpoints,
    findAssistant: (caller, idOrGraphId, version) => assistants.as(caller).requireForRun(idOrGraphId, version),
    host,
    bridge,
    ledgerWriter,
    signals,
    clock,
    log,
    reader,
    reserveSlot: () => worker.reserve(),
    requireWebhook,
    requireOpen: () => readiness.requireOpen(),
    options: {
      defaultMultitaskStrategy: config.runs.defaultMultitaskStrategy,
      recordAll: config.eventStreaming.record === "all",
      defaultTtl: ttlOfNewThreads(config),
      maxPendingPerThread: config.runs.maxPendingPerThread,
      maxInFlightPerCaller: config.limits.runsInFlight,
      maxPendingPerCaller: config.limits.pendingRuns,
      maxInheritedBytes: config.server.pageLimit,
      hasLangsmith: config.langsmith.apiKey !== null,
    },
  });
  return { manager, reader, readiness, requireWebhook, worker };
}

/**
 * For how long nobody must have read a run that was abandoned, on any replica: longer than it takes each of them to look for
 * runs that it reads itself.
 */
export function sharedGraceMs({ runs }: Config, { heartbeatMs }: LeaseTimes): number {
  return Math.max(runs.disconnectGraceSeconds * 1_000, heartbeatMs + 1_000);
}

/** Of threads that are made without one, by a run or by themselves. */
export function ttlOfNewThreads({ checkpointer: { ttl } }: Config) {
  return ttl.defaultTtl === null ? null : { ttlMinutes: ttl.defaultTtl, strategy: ttl.strategy };
}
