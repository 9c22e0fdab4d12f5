/**
 * Where what runs say is kept: in memory or in Redis by the bridge, on disk by the ledger, read as one by the tape; with it
 * the signals that wake who waits, in this process or in all, and the sweepers of what runs leave behind.
 *
 * The bridge is not closed here: that breaks streams, which comes after runs have ended (`server.ts`).
 */
import type { Signals, StreamBridge } from "../bridge/bridge.js";
import { createMemoryBridge, createMemorySignals } from "../bridge/memory.js";
import { createRedisBridge } from "../bridge/redis.js";
import { createRedisHints, type RedisHints } from "../bridge/redis-hints.js";
import { createRedisLink } from "../bridge/redis-link.js";
import { createRedisSignals } from "../bridge/redis-signals.js";
import type { Config } from "../config.js";
import type { Clock } from "../core/clock.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { createLedgerWriter, keepsNothing } from "../runs/ledger-writer.js";
import { createRunTape } from "../runs/tape.js";
import { KEY_SWEEP } from "../storage/idempotency-keys.js";
import type { ThreadChanges } from "../storage/ports/threads.js";
import { AUDIT_SWEEP } from "../storage/run-audit.js";
import { SqlRunLedger, startLedgerSweeper } from "../storage/run-ledger.js";
import { startAgeSweeper } from "../storage/sweeper.js";
import type { OnStop } from "./on-stop.js";
import type { Storage } from "./storage.js";

interface RunLogDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "database" | "commits" | "clock" | "runs" | "changes">;
  readonly log: Log;
  readonly metrics: Metrics;
}

const DAY_MS = 24 * 60 * 60_000;
/** What of all runs together may wait to be written to the ledger. */
const LEDGER_BUFFER_BYTES = 64 * 1_024 * 1_024;

/** The same, to Redis. */
const BRIDGE_BUFFER_BYTES = 64 * 1_024 * 1_024;
/** Another process's ledger writer lets this pass, and a commit, before an event is in the ledger. */
const LEDGER_LAG_MS = 750;
const DEFAULT_KEY_PREFIX = "heddle:";

export type RunLog = Awaited<ReturnType<typeof openRunLog>>;

export async function openRunLog({ config, storage, log, metrics }: RunLogDeps, onStop: OnStop) {
  const { database, commits, clock, runs } = storage;
  const shared = await openShared({ config, changes: storage.changes, clock, log, metrics }, onStop);
  const { retentionDays, maxBytesPerRun } = config.runLedger;
  const ledger = new SqlRunLedger({ database, commits, clock });
  const ledgerOptions = { maxBytesPerRun, maxBufferedBytes: LEDGER_BUFFER_BYTES };
  const ledgerWriter =
    retentionDays === 0 ? keepsNothing : createLedgerWriter({ ledger, clock, log, metrics, options: ledgerOptions });
  onStop(() => ledgerWriter.stop());
  const ledgerSweeper = startLedgerSweeper({ ledger, clock, log, retentionMs: retentionDays * DAY_MS });
  onStop(() => ledgerSweeper.stop());
  for (const sweep of [KEY_SWEEP, AUDIT_SWEEP]) {
    const sweeper = startAgeSweeper({ commits, clock, log }, sweep);
    onStop(() => sweeper.stop());
  }
  const { bridge, signals, changes, state, isShared } = shared;
  const others = isShared ? { lagMs: LEDGER_LAG_MS, clock } : undefined;
  const tape = createRunTape({ bridge, ledger, ledgerWriter, runs, ...(others && { others }) });
  return { bridge, ledgerWriter, tape, signals, changes, bridgeState: state };
}

interface Shared {
  readonly bridge: StreamBridge;
  readonly signals: Signals;
  readonly changes: ThreadChanges;
  /** Whether other processes publish and listen too. */
  readonly isShared: boolean;
  readonly state: () => BridgeState;
}

/** As `/info` tells it. */
export interface BridgeState {
  readonly type: "memory" | "redis";
  readonly state: "up" | "away";
}

interface SharedDeps extends Pick<RunLogDeps, "config" | "log" | "metrics"> {
  readonly changes: ThreadChanges;
  readonly clock: Clock;
}

/** What a process shares with others, if there are any. */
async function openShared({ config, changes, clock, log, metrics }: SharedDeps, onStop: OnStop): Promise<Shared> {
  const { type, url, keyPrefix: givenPrefix, ...limits } = config.streamBridge;
  const options = {
    maxBytesPerRun: limits.maxBytesPerRun,
    maxBytesPerReader: limits.maxBufferedBytesPerReader,
    maxRetainedBytes: limits.maxRetainedBytes,
    retentionMs: limits.retentionSeconds * 1_000,
  };
  if (type === "memory" || url === null) {
    metrics.streamBridgeUp.set(1);
    const state = (): BridgeState => ({ type: "memory", state: "up" });
    const bridge = createMemoryBridge({ clock, ...options });
    return { bridge, signals: createMemorySignals(), changes, isShared: false, state };
  }
  const keyPrefix = givenPrefix ?? DEFAULT_KEY_PREFIX;
  const channel = `${keyPrefix}hints`;
  const link = createRedisLink({ url, keyPrefix, channel, clock, log, metrics });
  onStop(() => link.close());
  const hints = createRedisHints({ link, channel, processId: newId(), clock });
  const signals = createRedisSignals({ link, hints, clock });
  onStop(() => signals.close());
  const bridge = createRedisBridge({
    link,
    hints,
    keyPrefix,
    clock,
    metrics,
    options: { ...options, maxBufferedBytes: BRIDGE_BUFFER_BYTES },
  });
  await link.start(); // one that is away delays the start by no more than this
  return {
    bridge,
    signals,
    changes: shareChanges(changes, hints, onStop),
    isShared: true,
    state: () => ({ type, state: link.session === undefined ? "away" : "up" }),
  };
}

/** The changes that are made through any process. */
function shareChanges(own: ThreadChanges, hints: RedisHints, onStop: OnStop): ThreadChanges {
  onStop(own.on((threadId) => hints.send("thread", threadId)));
  return {
    on(listener, onDoubt) {
      const stopOwn = own.on(listener);
      const stopOthers = hints.on("thread", listener, onDoubt);
      return () => {
        stopOwn();
        stopOthers();
      };
    },
  };
}
