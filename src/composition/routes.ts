/** What is served: every route that the configuration has not switched off, and what has to be closed of how they answer. */
import { a2aRoutes } from "../api/a2a.js";
import { assistantRoutes } from "../api/assistants.js";
import { cronRoutes } from "../api/crons.js";
import { doctorRoutes } from "../api/doctor.js";
import { createEndlessStreams } from "../api/endless-stream.js";
import { mcpRoutes } from "../api/mcp.js";
import { openAiRoutes } from "../api/openai.js";
import { protocolRoutes } from "../api/protocol.js";
import { createEventStreams } from "../api/protocol-stream.js";
import type { Route } from "../api/route.js";
import type { OtherReaders } from "../api/run-audience.js";
import { runEventRoutes } from "../api/run-events.js";
import { statelessRunRoutes } from "../api/run-stateless.js";
import { createRunAnswers } from "../api/run-stream.js";
import { runRoutes } from "../api/runs.js";
import { storeRoutes } from "../api/store.js";
import { HEALTH_PATHS, systemRoutes } from "../api/system.js";
import { threadSearchRoutes } from "../api/thread-search.js";
import { stateRoutes } from "../api/thread-state.js";
import { threadStreamRoutes } from "../api/thread-stream.js";
import { threadRoutes } from "../api/threads.js";
import { uiRoutes } from "../api/ui.js";
import type { Config } from "../config.js";
import { ANYONE, type Authenticate } from "../core/caller.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { AssistantServices } from "../graphs/assistants.js";
import { createItemService } from "../items/items.js";
import { createProtocolCommands } from "../protocol/commands.js";
import { createThreadLog } from "../protocol/thread-log.js";
import { createRunPages } from "../runs/paging.js";
import { createThreadEvents } from "../runs/thread-events.js";
import { createUiBundles } from "../ui/bundles.js";
import type { Code } from "./code.js";
import type { Crons } from "./crons.js";
import type { RunLog } from "./run-log.js";
import { type Runs, sharedGraceMs } from "./runs.js";
import type { Storage } from "./storage.js";
import type { Threads } from "./threads.js";
import { versions } from "./versions.js";

interface RoutesDeps {
  readonly config: Config;
  readonly watch: boolean;
  readonly storage: Pick<Storage, "isShared" | "lease" | "clock" | "threads" | "runs" | "store">;
  readonly code: Pick<Code, "codeHost" | "host">;
  readonly assistants: AssistantServices;
  readonly runLog: Pick<RunLog, "signals" | "tape" | "changes" | "bridgeState">;
  readonly runs: Pick<Runs, "manager" | "reader" | "readiness" | "worker">;
  readonly threads: Pick<Threads, "threadService" | "state">;
  readonly cronService: Crons["cronService"];
  readonly admitTicket: Authenticate;
  readonly log: Log;
  readonly metrics: Metrics;
}

export type Routes = Awaited<ReturnType<typeof openRoutes>>;

export async function openRoutes(deps: RoutesDeps) {
  const { config, watch, storage, code, assistants, runLog, cronService, log, metrics } = deps;
  const { clock, threads, runs, store } = storage;
  const { codeHost, host } = code;
  const { signals, tape, changes, bridgeState } = runLog;
  const { manager, reader, readiness, worker } = deps.runs;
  const { threadService, state } = deps.threads;
  const { server } = config;

  const answers = createRunAnswers({ manager: manager.as(ANYONE), ...readersOf(deps), clock, log, metrics });
  const endlessStreams = createEndlessStreams({ clock, log, metrics });
  const threadStreamDeps = {
    open: createThreadEvents({ runs, signals, threads, reader, tape }),
    threads: threadService,
    state,
    streams: endlessStreams,
  };
  const threadLog = createThreadLog({
    runs,
    tape,
    headOf: (threadId) => state.as(ANYONE).get(threadId, null, { subgraphs: false }),
    signals,
  });
  const protocolDeps = {
    commands: createProtocolCommands({ manager, threads, state, threadLog, clock }),
    streams: createEventStreams(threadLog, endlessStreams),
    headerRules: server.configurableHeaders,
  };
  const { pageLimit } = server;
  const hasCrons = config.crons.enabled && !server.disableRuns;
  const runDeps = { manager, answers, headerRules: server.configurableHeaders, pageLimit };
  const eventDeps = { manager, pages: createRunPages({ tape, clock }) };
  const { version, langgraphVersion } = versions();
  const faceDeps = {
    ...runDeps,
    threads: threadService,
    assistants,
    host: codeHost, // whoever chats waits for no compiler
    version,
    publicUrl: server.publicUrl,
    now: () => clock.now(),
  };
  const threadDeps = { threads: threadService, state, manager, clock, pageLimit };
  const threadSearch = { threads: threadService, changes, clock, streams: endlessStreams, pageLimit };
  const bundles =
    server.disableUi || config.role === "worker" || Object.keys(config.ui).length === 0
      ? undefined
      : await createUiBundles({
          ui: config.ui,
          baseDir: config.baseDir,
          shared: config.uiConfig.shared,
          target: watch ? "development" : "production",
        });
  const groups: readonly (readonly [served: boolean, routes: readonly Route[]])[] = [
    [!server.disableAssistants, assistantRoutes({ assistants, host, threads: threadService, manager, pageLimit })],
    [
      !server.disableThreads,
      [...threadSearchRoutes(threadSearch), ...threadRoutes(threadDeps), ...stateRoutes(threadDeps)],
    ],
    [!server.disableRuns, [...runRoutes(runDeps), ...runEventRoutes(eventDeps), ...statelessRunRoutes(runDeps)]],
    [hasCrons, cronRoutes({ crons: cronService, clock, pageLimit })],
    [
      !server.disableThreads && !server.disableRuns,
      [...protocolRoutes(protocolDeps), ...threadStreamRoutes(threadStreamDeps)],
    ],
    [!server.disableStore, storeRoutes({ items: createItemService(store) })],
    [!server.disableOpenai, openAiRoutes(faceDeps)],
    [!server.disableMcp, mcpRoutes({ ...faceDeps, host })],
    [!server.disableA2a, a2aRoutes(faceDeps)],
    [bundles !== undefined, bundles === undefined ? [] : uiRoutes({ bundles, assistants, host })],
  ];
  const routes = groups.flatMap(([served, group]) => (served ? group : []));
  const system = systemRoutes({
    version,
    langgraphVersion,
    runs,
    readiness,
    metrics,
    replica: { id: worker.id, role: config.role, leases: () => worker.leases() },
    routes,
    bridgeState,
    hasLangsmith: config.langsmith.apiKey !== null,
    disabled: {
      assistants: server.disableAssistants,
      crons: !hasCrons,
      meta: server.disableMeta,
      eventStreaming: server.disableThreads || server.disableRuns,
      openai: server.disableOpenai,
      mcp: server.disableMcp,
      a2a: server.disableA2a,
      webhooks: server.disableWebhooks,
    },
  });
  const health = system.filter(({ path }) => HEALTH_PATHS.has(path));
  const doctor = doctorRoutes({ admitTicket: deps.admitTicket, streams: endlessStreams, clock });
  return {
    routes: [...routes, ...system, ...doctor],
    health,
    answers,
    bundles,
    endlessStreams,
    hasCrons,
    protocolDeps,
  };
}

const ABANDONED_AFTER_MS = 500;

/** What becomes of runs whose clients leave, in this process or among replicas. */
function readersOf({ config, storage, runLog: { signals }, runs: { manager }, log }: RoutesDeps) {
  const { isShared, lease, runs } = storage;
  if (!isShared) return { disconnectGraceMs: config.runs.disconnectGraceSeconds * 1_000 };
  const graceMs = sharedGraceMs(config, lease);
  const readers: OtherReaders = {
    async abandon(runId) {
      await runs.abandon(runId);
      signals.send(`readers:${runId}`);
    },
    reclaim: (runIds) => runs.reclaimAbandoned(runIds),
    onAbandoned: (runId, listener) => signals.on(`readers:${runId}`, listener),
    lookMs: lease.heartbeatMs,
    log,
  };
  return {
    disconnectGraceMs: graceMs + ABANDONED_AFTER_MS, // when the row has been so for the grace
    others: { readers, cancelAbandoned: () => manager.cancelAbandoned(graceMs) },
  };
}
