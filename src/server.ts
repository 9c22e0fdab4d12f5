/**
 * The composition root: configuration → a gateway, told as the order of its parts. What each is made of is in `composition/`,
 * the only folder that names drivers.
 *
 * Start opens from the bottom up, each part leaving its closing on a stack; stop unwinds it: no cron fires any more, `/ready`
 * fails and nothing is claimed any more, then no new connections, runs end or are given back, unfinished streams break (W2), then connections
 * are cut and the databases close.
 */

import { putRight } from "./composition/aftermath.js";
import { bareApp, openApp } from "./composition/app.js";
import { openAssistants } from "./composition/assistants.js";
import { openAuthentication } from "./composition/authentication.js";
import { openCode } from "./composition/code.js";
import { openCrons } from "./composition/crons.js";
import { createBareListener, createHttp, reachable } from "./composition/http.js";
import type { OnStop } from "./composition/on-stop.js";
import { openRoutes } from "./composition/routes.js";
import { openRunLog } from "./composition/run-log.js";
import { openRuns } from "./composition/runs.js";
import { openStorage, reembedItems } from "./composition/storage.js";
import { openThreads, startRetention } from "./composition/threads.js";
import { startWatching } from "./composition/watching.js";
import { createWebhooks } from "./composition/webhooks.js";
import type { Config } from "./config.js";
import { pause, type SystemClock, systemClock } from "./core/clock.js";
import type { Log } from "./core/log.js";
import { createMetrics } from "./core/metrics.js";
import { type Blame, createBlame } from "./graphs/blame.js";
import { requireSafeCheckpoints } from "./graphs/checkpoint-version.js";
import { unusableStorage } from "./storage/data-file.js";

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
  readonly clock?: SystemClock;
  /** Knows whose code runs in this process, for whoever catches what nobody else caught. */
  readonly blame?: Blame;
  /** The module that graph threads start with. */
  readonly threadEntry?: URL;
  /** The module that the thread which analyses types starts with. */
  readonly analysisEntry?: URL;
}

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
    throw unusableStorage({ folder: config.dataDir, url: config.database.url }, error);
  }
}

async function open(
  config: Config,
  {
    log,
    watch,
    clock: shownClock = systemClock,
    blame = createBlame(),
    threadEntry = new URL("./thread.js", import.meta.url),
    analysisEntry = new URL("./schemas/analysis-thread.js", import.meta.url),
  }: GatewayOptions,
  onStop: OnStop,
): Promise<string> {
  requireSafeCheckpoints(import.meta.filename);
  const metrics = createMetrics();
  const isolation = config.graphHost.isolation ?? (watch ? "inline" : "thread");

  // ---- storage
  const storage = await openStorage(
    { config, isolation, shownClock, embed: (texts, purpose) => code.host.embed(texts, purpose), log },
    onStop,
  );
  const { clock } = storage;

  // ---- the project's code, which may ask the gateway once there is one
  let answer: ((request: Request) => Response | Promise<Response>) | undefined;
  let serverUrl: string | undefined;
  const code = await openCode(
    {
      config,
      isolation,
      storage,
      blame,
      threadEntry,
      analysisEntry,
      answering: () => answer,
      serverUrl: () => serverUrl,
      log,
    },
    onStop,
  );
  reembedItems({ storage, log }, onStop);
  for (const { graphId, checkpointer, store } of code.host.graphs()) {
    log.info({ graphId, checkpointer, store }, "graph loaded");
  }
  const { authenticate, recall, ownRequests, admitTicket } = await openAuthentication({
    config,
    storage,
    shownClock,
    log,
  });
  const assistants = await openAssistants({ storage, code });

  // ---- runs, threads and crons
  const runLog = await openRunLog({ config, storage, log, metrics }, onStop);
  const { bridge, signals } = runLog;
  const runs = openRuns({ config, storage, code, assistants, runLog, log, metrics });
  const { manager, readiness, worker } = runs;
  const threads = openThreads({ config, storage, code, assistants, runLog, manager, log });
  const { threadService, finishDeletion } = threads;
  const { cronService, cronScheduler } = openCrons({
    config,
    storage,
    assistants,
    threadService,
    runs,
    recall,
    signals,
    log,
    metrics,
  });
  await putRight({ config, storage, runLog, runs, threads, log, metrics }, onStop);
  startRetention({ config, storage, finishDeletion, log }, onStop);

  // ---- HTTP
  const { routes, health, answers, bundles, endlessStreams, hasCrons, protocolDeps } = await openRoutes({
    config,
    watch,
    storage,
    code,
    assistants,
    runLog,
    runs,
    threads,
    cronService,
    admitTicket,
    log,
    metrics,
  });
  const appDeps = { config, authenticate, readiness, clock, log, metrics };
  const app = await openApp({ ...appDeps, routes });
  answer = (request) => app.fetch(request);
  if (watch) await startWatching({ config, code, customApp: app.custom, bundles, log }, onStop);
  const { listener, sockets } = createHttp({
    config,
    app,
    protocolDeps,
    authenticate,
    admitTicket,
    clock,
    log,
    metrics,
  });
  onStop(() => listener.closeConnections());
  onStop(() => bridge.close());
  const webhooks = createWebhooks({ config, storage, app, ownRequests, signals, shownClock, log, metrics });

  // ---- serving
  const { server } = config;
  onStop(() => webhooks.stop());
  onStop(() => worker.stop(config.runs.shutdownGraceSeconds * 1_000));
  onStop(() => answers.close());
  onStop(() => {
    endlessStreams.close();
    sockets.close();
  });
  let url: string;
  if (config.role === "worker") {
    // Clients are served elsewhere. The code of its graphs is served here, from this machine alone.
    serverUrl = await listener.listen("127.0.0.1", 0);
    const face = createBareListener({ config, app: bareApp({ ...appDeps, routes: health }), clock, log });
    onStop(() => face.closeConnections());
    url = await face.listen(server.host, server.port);
    onStop(() => face.refuse());
  } else {
    url = await listener.listen(server.host, server.port);
    serverUrl = reachable(url);
    onStop(() => listener.refuse());
  }
  if (!server.disableWebhooks) await webhooks.start();
  if (config.role !== "api") worker.start();
  readiness.open();
  onStop(() => {
    readiness.drain();
    worker.drain();
    return pause(clock, server.drainDelaySeconds * 1_000);
  });
  if (hasCrons) cronScheduler.start();
  onStop(() => cronScheduler.stop());
  return url;
}
