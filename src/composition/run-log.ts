/**
 * Where what runs say is kept: in memory by the bridge, on disk by the ledger, read as one by the tape; with it the signals
 * that wake who waits, and the sweepers of what runs leave behind.
 *
 * The bridge is not closed here: that breaks streams, which comes after runs have ended (`server.ts`).
 */
import { createMemoryBridge, createMemorySignals } from "../bridge/memory.js";
import type { Config } from "../config.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { createLedgerWriter, keepsNothing } from "../runs/ledger-writer.js";
import { createRunTape } from "../runs/tape.js";
import { startKeySweeper } from "../storage/idempotency-keys.js";
import { startAuditSweeper } from "../storage/run-audit.js";
import { SqlRunLedger, startLedgerSweeper } from "../storage/run-ledger.js";
import type { OnStop } from "./on-stop.js";
import type { Storage } from "./storage.js";

interface RunLogDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "database" | "commits" | "clock" | "runs">;
  readonly log: Log;
  readonly metrics: Metrics;
}

const DAY_MS = 24 * 60 * 60_000;
/** What of all runs together may wait to be written to the ledger. */
const LEDGER_BUFFER_BYTES = 64 * 1_024 * 1_024;

export type RunLog = ReturnType<typeof openRunLog>;

export function openRunLog({ config, storage, log, metrics }: RunLogDeps, onStop: OnStop) {
  const { database, commits, clock, runs } = storage;
  const { streamBridge } = config;
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: streamBridge.maxBytesPerRun,
    maxBytesPerReader: streamBridge.maxBufferedBytesPerReader,
    maxRetainedBytes: streamBridge.maxRetainedBytes,
    retentionMs: streamBridge.retentionSeconds * 1_000,
  });
  const { retentionDays, maxBytesPerRun } = config.runLedger;
  const ledger = new SqlRunLedger({ database, commits, clock });
  const ledgerOptions = { maxBytesPerRun, maxBufferedBytes: LEDGER_BUFFER_BYTES };
  const ledgerWriter =
    retentionDays === 0 ? keepsNothing : createLedgerWriter({ ledger, clock, log, metrics, options: ledgerOptions });
  onStop(() => ledgerWriter.stop());
  const ledgerSweeper = startLedgerSweeper({ ledger, clock, log, retentionMs: retentionDays * DAY_MS });
  onStop(() => ledgerSweeper.stop());
  for (const startSweeping of [startKeySweeper, startAuditSweeper]) {
    const sweeper = startSweeping({ commits, clock, log });
    onStop(() => sweeper.stop());
  }
  const tape = createRunTape({ bridge, ledger, ledgerWriter, runs });
  return { bridge, ledgerWriter, tape, signals: createMemorySignals() };
}
