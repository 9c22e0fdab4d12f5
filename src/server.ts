/**
 * The composition root: configuration → a gateway. The only file that names drivers.
 *
 * Start opens from the bottom up, each part leaving its closing on a stack; stop unwinds it: no new connections, workers
 * drain, unfinished streams break (W2), then connections are cut and the databases close.
 */

import type { Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createAdaptorServer } from "@hono/node-server";
import { createApp } from "./api/app.js";
import { assistantRoutes } from "./api/assistants.js";
import type { Route } from "./api/route.js";
import { statelessRunRoutes } from "./api/run-stateless.js";
import { createRunAnswers } from "./api/run-stream.js";
import { runRoutes } from "./api/runs.js";
import { storeRoutes } from "./api/store.js";
import { systemRoutes } from "./api/system.js";
import { stateRoutes } from "./api/thread-state.js";
import { threadRoutes } from "./api/threads.js";
import { createMemoryBridge, createMemorySignals } from "./bridge/memory.js";
import type { Config } from "./config.js";
import { type Clock, systemClock } from "./core/clock.js";
import type { Log } from "./core/log.js";
import { createMetrics } from "./core/metrics.js";
import { createAssistantService } from "./graphs/assistants.js";
import { createInlineHost } from "./graphs/inline-host.js";
import { GraphRegistry } from "./graphs/registry.js";
import { watchGraphs } from "./graphs/watch.js";
import { takeBack } from "./runs/ending.js";
import { createRunManager } from "./runs/manager.js";
import { createRunReader } from "./runs/reading.js";
import { createWorker } from "./runs/worker.js";
import { SqlAssistantStore } from "./storage/assistants.js";
import { openCheckpoints } from "./storage/checkpoints.js";
import { createCommitGroup } from "./storage/commit-group.js";
import { createDatabase } from "./storage/database.js";
import { SqlStore } from "./storage/items.js";
import { migrate } from "./storage/migrations.js";
import { SqlRunStore } from "./storage/runs.js";
import { lockDataFolder, openSqlite } from "./storage/sqlite.js";
import { SqlThreadStore } from "./storage/threads.js";
import { createReservations } from "./threads/reservation.js";
import { createThreadStateService } from "./threads/state.js";
import { createThreadService } from "./threads/threads.js";

export interface Gateway {
  /** `http://HOST:PORT`, with the port that was taken. */
  readonly url: string;
  /** Resolves when everything is closed and nothing of the gateway runs any more. */
  stop(): Promise<void>;
}

export interface GatewayOptions {
  readonly log: Log;
  /** Load graphs again when their files change. */
  readonly watch: boolean;
  /** The system's unless told otherwise. */
  readonly clock?: Clock;
}

const LEASE_MS = 15_000;

/** Starts a gateway that answers requests; throws what a person can mend as a named error. */
export async function startGateway(config: Config, options: GatewayOptions): Promise<Gateway> {
  const closing: (() => void | Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closing.splice(0).reverse()) await close();
  };
  try {
    const url = await open(config, options, (close) => closing.push(close));
    return { url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function open(
  config: Config,
  { log, watch, clock = systemClock }: GatewayOptions,
  onStop: (close: () => void | Promise<void>) => void,
): Promise<string> {
  const metrics = createMetrics();

  // ---- storage
  const inFolder = (type: "sqlite" | "memory", file: string): string =>
    type === "memory" ? ":memory:" : join(config.dataDir, file);
  const onDisk = [config.database.type, config.checkpointer.type, config.store.type].includes("sqlite");
  if (onDisk) onStop(lockDataFolder(config.dataDir));
  const database = createDatabase(openSqlite(inFolder(config.database.type, "heddle.db"), "FULL"));
  onStop(() => database.destroy());
  await migrate(database);
  const commits = createCommitGroup(database);
  const threads = new SqlThreadStore({ database, commits, clock });
  const runs = new SqlRunStore({ database, commits, clock });
  const checkpoints = openCheckpoints(inFolder(config.checkpointer.type, "checkpoints.db"));
  onStop(() => checkpoints.close());
  const itemDatabase =
    config.store.type === config.database.type ? database : createDatabase(openSqlite(":memory:", "FULL"));
  if (itemDatabase !== database) {
    onStop(() => itemDatabase.destroy());
    await migrate(itemDatabase);
  }
  const { defaultTtl, ...ttl } = config.store.ttl;
  const store = new SqlStore({ database: itemDatabase, clock, log, ttl: { ...ttl, defaultTtlMinutes: defaultTtl } });
  store.start();
  onStop(() => store.stop());

  // ---- graphs
  const registry = new GraphRegistry({ graphs: config.graphs, baseDir: config.baseDir });
  await registry.load();
  const host = createInlineHost({ registry, checkpoints, store, clock, log });
  for (const { graphId, checkpointer, store: graphStore } of host.graphs()) {
    log.info({ graphId, checkpointer, store: graphStore }, "graph loaded");
  }
  const assistants = createAssistantService({ assistants: new SqlAssistantStore({ database, clock }), host });
  await assistants.syncSystemAssistants();

  // ---- runs
  const { streamBridge } = config;
  const bridge = createMemoryBridge({
    clock,
    maxBytesPerRun: streamBridge.maxBytesPerRun,
    maxBytesPerReader: streamBridge.maxBufferedBytesPerReader,
    maxRetainedBytes: streamBridge.maxRetainedBytes,
    retentionMs: streamBridge.retentionSeconds * 1_000,
  });
  const signals = createMemorySignals();
  const worker = createWorker({
    runs,
    threads,
    checkpoints,
    host,
    bridge,
    signals,
    clock,
    log,
    metrics,
    concurrency: config.runs.concurrency,
    options: {
      leaseMs: LEASE_MS,
      timeoutMs: config.runs.timeoutSeconds * 1_000,
      maxAttempts: config.runs.maxAttempts,
      keepPartialOnCancel: config.runs.keepPartialOnCancel,
    },
  });

  const manager = createRunManager({
    runs,
    threads,
    checkpoints,
    findAssistant: (idOrGraphId) => assistants.require(idOrGraphId),
    host,
    bridge,
    signals,
    clock,
    log,
    reader: createRunReader({ runs, threads, host, bridge, log }),
    reserveSlot: () => worker.reserve(),
    options: {
      defaultMultitaskStrategy: config.runs.defaultMultitaskStrategy,
      maxPendingPerThread: config.runs.maxPendingPerThread,
    },
  });
  const whileReserved = createReservations({
    threads,
    activeRun: (threadId) => manager.active(threadId),
    wakeWorkers: () => signals.send("runs"),
  });
  const state = createThreadStateService({
    threads,
    checkpoints,
    host,
    configOf: (assistantId) => assistants.configOf(assistantId),
    whileReserved,
  });
  const threadService = createThreadService({
    threads,
    runs,
    checkpoints,
    bridge,
    state,
    whileReserved,
    stopRuns: (threadId) => manager.stopThread(threadId),
  });
  // What a crash left is put right before anything is served.
  for (const run of await runs.recoverOrphans())
    log.warn({ runId: run.runId, threadId: run.threadId }, "run recovered");
  for (const run of await runs.listRollingBack()) await takeBack({ runs, checkpoints }, run);
  await threadService.finishDeletions();

  // ---- HTTP
  const answers = createRunAnswers({ manager, clock, log, metrics });
  const { server } = config;
  const runDeps = { manager, answers, headerRules: server.configurableHeaders };
  const threadDeps = { threads: threadService, state, manager };
  const groups: readonly (readonly [served: boolean, routes: readonly Route[]])[] = [
    [!server.disableAssistants, assistantRoutes({ assistants, host, threads: threadService, manager })],
    [!server.disableThreads, [...threadRoutes(threadDeps), ...stateRoutes(threadDeps)]],
    [!server.disableRuns, [...runRoutes(runDeps), ...statelessRunRoutes(runDeps)]],
    [!server.disableStore, storeRoutes({ items: store })],
  ];
  const routes = groups.flatMap(([served, group]) => (served ? group : []));
  const system = systemRoutes({
    ...versions(),
    runs,
    metrics,
    routes,
    disabled: { assistants: server.disableAssistants, meta: server.disableMeta },
  });
  const app = createApp({
    routes: [...routes, ...system],
    basePaths: server.basePaths,
    cors: server.cors,
    bodyLimit: server.bodyLimit,
    rejectStatus: config.compat.rejectStatus,
    log,
    metrics,
    now: () => clock.now(),
  });
  if (watch) onStop(await startWatching(config, registry, log));
  const listener = createAdaptorServer({ fetch: app.fetch }) as Server; // no TLS options: a plain HTTP server
  onStop(() => closeConnections(listener, clock));
  onStop(() => bridge.close());
  onStop(() => worker.stop(config.runs.shutdownGraceSeconds * 1_000));
  onStop(() => answers.close());
  const url = await listen(listener, server.host, server.port);
  onStop(() => stopListening(listener));
  worker.start();
  return url;
}

async function startWatching(config: Config, registry: GraphRegistry, log: Log): Promise<() => Promise<void>> {
  const watching = await watchGraphs({
    registry,
    clock: systemClock,
    ignore: [config.dataDir],
    onReload: (graphId) => log.info({ graphId }, "graph reloaded"),
    onError: (error) =>
      log.error(`${error instanceof Error ? error.message : String(error)} (the graph stays as it was)`),
  });
  return () => watching.close();
}

/** Longer than proxies keep idle connections to their upstream, so that it is them who close. */
const KEEP_ALIVE_MS = 75_000;

async function listen(listener: Server, host: string, port: number): Promise<string> {
  listener.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(port, host, () => resolve());
  });
  const address = listener.address() as AddressInfo; // listening on TCP
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${shown}:${address.port}`;
}

/** Takes no new connections; what is open goes on until its run has ended or must be given back. */
function stopListening(listener: Server): void {
  listener.close();
  listener.closeIdleConnections();
}

/** How long answers that are complete may take to reach their clients. */
const FLUSH_MS = 1_000;
const LOOK_AGAIN_MS = 10;

/** Lets complete answers leave, then cuts what is left. */
async function closeConnections(listener: Server, clock: Clock): Promise<void> {
  const closed = new Promise<void>((resolve) => listener.close(() => resolve())); // also when it is closed already
  const until = clock.now() + FLUSH_MS;
  const look = (): void => {
    if (clock.now() >= until) listener.closeAllConnections();
    else listener.closeIdleConnections();
    forgetLook = clock.after(LOOK_AGAIN_MS, look);
  };
  let forgetLook = (): void => {};
  look();
  await closed;
  forgetLook();
}

function versions(): { readonly version: string; readonly langgraphVersion: string } {
  const require = createRequire(import.meta.url);
  return {
    version: (require("../package.json") as { version: string }).version,
    langgraphVersion: (require("@langchain/langgraph/package.json") as { version: string }).version,
  };
}
