/**
 * The process of a gateway below HTTP, on the files of a data folder: the real stores, saver, host, worker and services.
 *
 * It tells of every commit to either file, so that a test can keep what a death at that moment would leave.
 */

import { join } from "node:path";
import { createMemoryBridge, createMemorySignals } from "../../src/bridge/memory.js";
import { ANYONE } from "../../src/core/caller.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { ThreadState } from "../../src/core/model.js";
import { createBlame } from "../../src/graphs/blame.js";
import { createInlineHost } from "../../src/graphs/inline-host.js";
import { GraphRegistry } from "../../src/graphs/registry.js";
import { takeBack } from "../../src/runs/ending.js";
import { createRunManager } from "../../src/runs/manager.js";
import { createRunReader } from "../../src/runs/reading.js";
import { createWorker } from "../../src/runs/worker.js";
import { openCheckpoints, type SqliteCheckpoints } from "../../src/storage/checkpoints.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { createDatabase } from "../../src/storage/database.js";
import { SqlStore } from "../../src/storage/items.js";
import { migrate } from "../../src/storage/migrations.js";
import { SqlRunStore } from "../../src/storage/runs.js";
import { openSqlite, type SqliteDatabase } from "../../src/storage/sqlite.js";
import { SqlThreadStore } from "../../src/storage/threads.js";
import { createDeletion } from "../../src/threads/deletion.js";
import { createReservations } from "../../src/threads/reservation.js";
import { createThreadStateService } from "../../src/threads/state.js";
import { createThreadService } from "../../src/threads/threads.js";
import { FILES } from "./crash-disk.js";
import { NEVER } from "./events.js";
import { createFakeClock } from "./fake-clock.js";
import { withoutLedger } from "./no-ledger.js";
import { ALONE, newAssistant } from "./sql-stores.js";
import { type AskingStorage, openAskingStorage } from "./thread-line.js";

const GRAPH_ID = "graph";
const MAX_ATTEMPTS = 3;

export interface CommitListener {
  /** After every commit, before anybody hears of it; `what` names it. */
  committed(what: string): void;
  /** All checkpoints written so far survive a power failure. */
  synced(): void;
}

/** `thread`: graphs reach storage as from a thread of their own, though they share this one. */
export type HostKind = "inline" | "thread";

export interface ProcessOptions {
  readonly startMs: number;
  readonly host: HostKind;
}

export type GatewayProcess = Awaited<ReturnType<typeof startProcess>>;

/** Opens the folder as a start does: what the process before left is put right, then runs are claimed. */
export async function startProcess(
  folder: string,
  graph: unknown,
  { startMs, host: hostKind }: ProcessOptions,
  listener: CommitListener,
) {
  const clock = createFakeClock(startMs);
  const connection = openSqlite(join(folder, FILES.heddle), "FULL");
  const database = createDatabase(connection);
  await migrate(database);
  tellCommits(connection, listener);
  const checkpoints = tellOperations(openCheckpoints(join(folder, FILES.checkpoints)), listener);

  const commits = createCommitGroup(database);
  const stores = { database, commits, clock };
  const runs = new SqlRunStore(stores);
  const threads = new SqlThreadStore(stores);
  const ttl = { defaultTtlMinutes: null, refreshOnRead: true, sweepIntervalMinutes: 60 };
  const items = new SqlStore({ database, clock, log: silentLog, ttl, maxBytesPerBatch: 1e9, index: null });
  const registry = new GraphRegistry({ graphs: { [GRAPH_ID]: { graph } }, baseDir: folder });
  await registry.load();
  const own: AskingStorage = { checkpoints, store: items, close() {} };
  const checkpointFile = join(folder, FILES.checkpoints);
  const reached = hostKind === "inline" ? own : openAskingStorage(checkpointFile, { checkpoints, store: items });
  const host = createInlineHost({
    registry,
    ...reached,
    clock,
    log: silentLog,
    blame: createBlame(),
    answerMs: 30_000,
    embed: null,
  });
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: 1e6,
    maxBytesPerReader: 1e6,
    maxRetainedBytes: 1e7,
    retentionMs: 600_000,
  });
  const signals = createMemorySignals();
  const kept = withoutLedger({ bridge, runs });
  const shared = { runs, threads, checkpoints, host, bridge, signals, clock, log: silentLog, metrics: createMetrics() };
  const deps = { ...shared, ...kept };
  const options = { ...ALONE, timeoutMs: 3_600_000, maxAttempts: MAX_ATTEMPTS, keepPartialOnCancel: false };
  const worker = createWorker({ ...deps, options, concurrency: 2 });
  const manager = createRunManager({
    ...deps,
    reader: createRunReader(deps),
    findAssistant: async () => ({ ...newAssistant({ graphId: GRAPH_ID }), version: 1, createdAt: 0, updatedAt: 0 }),
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
  const reservations = createReservations({
    threads,
    activeRun: (threadId) => manager.as(ANYONE).active(threadId),
    onFree: () => signals.send("runs"),
    clock,
    log: silentLog,
    lease: ALONE,
  });
  const state = createThreadStateService({
    ...deps,
    configOf: async () => ({}),
    whileReserved: reservations.whileReserved,
  });
  const service = createThreadService({
    ...deps,
    state,
    reservations,
    stopRuns: (id) => manager.stopThread(id),
    finishDeletion: createDeletion(deps),
    defaultTtl: null,
  });

  await runs.recoverOrphans();
  for (const run of await runs.listRollingBack()) await takeBack(deps, run);
  await service.finishDeletions();
  await state.finishUpdates();
  worker.start();

  /** Gives back what is in flight, without waiting for it. */
  async function drain(): Promise<void> {
    let isDrained = false;
    const drained = worker.stop(0).finally(() => {
      isDrained = true;
    });
    while (!isDrained) {
      clock.advance(0); // the grace is over when the clock says so
      await new Promise((resolve) => setImmediate(resolve));
    }
    await drained;
  }

  return {
    clock,
    connection,
    checkpoints,
    runs,
    manager: manager.as(ANYONE),
    service: service.as(ANYONE),
    worker,
    state: state.as(ANYONE),
    drain,
    /** Resolves when no run is in flight. */
    async quiet(): Promise<void> {
      for (const { runId } of await runs.listInFlight({})) await manager.as(ANYONE).ended(runId, NEVER);
    },
    /** As its graph shows it, with what its subgraphs hold. */
    stateOf: (threadId: string): Promise<ThreadState> => state.as(ANYONE).get(threadId, null, { subgraphs: true }),
    /** What is still in flight goes back to the queue. */
    async stop(): Promise<void> {
      await drain();
      await database.destroy();
      reached.close();
      checkpoints.close();
    },
  };
}

/** Of `heddle.db`: transactions, and statements that are one. */
function tellCommits(connection: SqliteDatabase, { committed }: CommitListener): void {
  const prepare = connection.prepare.bind(connection);
  const watched = (sql: string) => {
    const statement = prepare(sql);
    if (statement.readonly && sql !== "commit") return statement;
    for (const name of ["run", "all", "get"] as const) {
      const execute: (...args: unknown[]) => unknown = statement[name].bind(statement);
      statement[name] = (...args: unknown[]): never => {
        const result = execute(...args);
        if (!connection.inTransaction) committed(`heddle.db ${sql.slice(0, 40)}`);
        return result as never; // the caller gets what the statement returned
      };
    }
    return statement;
  };
  connection.prepare = watched as typeof connection.prepare; // the same statements, watched
}

/** Of `checkpoints.db`: every operation is synchronous and one commit. */
function tellOperations(checkpoints: SqliteCheckpoints, { committed, synced }: CommitListener): SqliteCheckpoints {
  const tell =
    <Args extends unknown[], Result>(what: string, operation: (...args: Args) => Result) =>
    (...args: Args): Result => {
      const result = operation(...args);
      committed(`checkpoints.db ${what}`);
      return result;
    };
  return {
    ...checkpoints,
    forRun(lease, kit) {
      const run = checkpoints.forRun(lease, kit);
      const { saver } = run;
      saver.put = tell("put", saver.put.bind(saver));
      saver.putWrites = tell("putWrites", saver.putWrites.bind(saver));
      return run;
    },
    saver(kit, options) {
      const saver = checkpoints.saver(kit, options);
      saver.put = tell("put", saver.put.bind(saver));
      saver.putWrites = tell("putWrites", saver.putWrites.bind(saver));
      return saver;
    },
    write: tell("write", checkpoints.write),
    copyThread: tell("copyThread", checkpoints.copyThread),
    deleteRun: tell("deleteRun", checkpoints.deleteRun),
    deleteThread: tell("deleteThread", checkpoints.deleteThread),
    sync() {
      checkpoints.sync();
      synced();
      committed("checkpoints.db sync");
    },
  };
}
