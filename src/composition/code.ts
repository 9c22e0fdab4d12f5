/**
 * Loads the project's graphs, on threads or in this process, and what goes with them: how their code reaches the gateway,
 * their traces, and the compiler that reads their types.
 *
 * 1. Code that is loaded finds a gateway bound, which refuses what is asked before it has started.
 * 2. `codeHost` never waits for a compiler; `host` is the same with the schemas that types tell.
 */
import { ConfigError } from "../config/config-error.js";
import type { Config } from "../config.js";
import { type Clock, systemClock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import { bindLoopback } from "../core/loopback.js";
import type { Tracing } from "../core/tracing.js";
import type { Blame } from "../graphs/blame.js";
import { loadEmbeddings } from "../graphs/embeddings.js";
import { createInlineHost } from "../graphs/inline-host.js";
import { GraphRegistry, locateSpec } from "../graphs/registry.js";
import { createThreadHost } from "../graphs/thread-host.js";
import { createAnalyser } from "../schemas/analyser.js";
import { createAnalysisCache } from "../schemas/cache.js";
import { createSourceSchemas } from "../schemas/source-schemas.js";
import { withSourceSchemas } from "../schemas/typed-host.js";
import { findTypescript } from "../schemas/typescript.js";
import { createStorageService } from "../storage/thread-storage.js";
import type { ThreadData } from "../thread.js";
import type { OnStop } from "./on-stop.js";
import type { Storage } from "./storage.js";
import { versions } from "./versions.js";

interface CodeDeps {
  readonly config: Config;
  readonly isolation: "inline" | "thread";
  readonly storage: Pick<
    Storage,
    "checkpoints" | "checkpointPlace" | "ownCheckpoints" | "store" | "indexConfig" | "clock"
  >;
  readonly blame: Blame;
  /** The modules that the threads start with. */
  readonly threadEntry: URL;
  readonly analysisEntry: URL;
  /** What answers the project's code when it asks the gateway; undefined until it has started. */
  readonly answering: () => ((request: Request) => Response | Promise<Response>) | undefined;
  /** Where graph threads find the gateway; undefined until it listens. */
  readonly serverUrl: () => string | undefined;
  readonly log: Log;
}

/** How long who asks for schemas waits for what types say. An analysis may take as long as a graph: who asks again has it. */
const TYPES_ANSWER_MS = 10_000;

export type Code = Awaited<ReturnType<typeof openCode>>;

export async function openCode(deps: CodeDeps, onStop: OnStop) {
  const { config, isolation, storage, blame, threadEntry, analysisEntry, answering, serverUrl, log } = deps;
  const { checkpoints, checkpointPlace, ownCheckpoints, store, indexConfig, clock } = storage;
  const basePath = config.server.basePaths[0] ?? "/";
  onStop(
    bindLoopback(async (input, init) => {
      const answer = answering();
      if (answer === undefined) throw new Error("the gateway has not started yet: it cannot be asked at import"); // 1
      return answer(new Request(input, init));
    }, basePath),
  );
  const graphs = { graphs: config.graphs, baseDir: config.baseDir };
  const { threads: threadCount, threadMemoryMb, stuckAfterSeconds } = config.graphHost;
  const answerMs = config.server.answerTimeoutSeconds * 1_000;
  const { apiKey, endpoint } = config.langsmith;
  const langsmith = apiKey === null ? undefined : { apiKey, endpoint };
  const tracing = await openTelemetry(config, { clock: systemClock, log }); // spans are timed by the machine's clock
  onStop(() => tracing?.close());
  const openInline = async () => {
    const registry = new GraphRegistry(graphs);
    await registry.load();
    const embed = indexConfig === null ? null : await loadEmbeddings(indexConfig, { baseDir: config.baseDir, clock });
    return {
      host: createInlineHost({ registry, checkpoints, store, embed, clock, log, blame, answerMs, langsmith }),
      registry,
    };
  };
  const openThreads = async () => {
    const host = await createThreadHost({
      entry: threadEntry,
      worker: {
        workerData: {
          ...graphs,
          checkpointPlace,
          answerMs,
          index: indexConfig,
          basePath,
          langsmith,
        } satisfies ThreadData,
        resourceLimits: threadMemoryMb === undefined ? {} : { maxOldGenerationSizeMb: threadMemoryMb },
      },
      serve: serveThread(createStorageService({ checkpoints: ownCheckpoints, store }), serverUrl),
      threads: threadCount,
      stuckAfterMs: stuckAfterSeconds * 1_000,
      clock: systemClock, // threads answer in real time
      log,
    });
    return { host, registry: host };
  };
  const { host: codeHost, registry } = await (isolation === "thread" ? openThreads() : openInline());
  onStop(() => codeHost.close());
  const analyser = createAnalyser({ entry: analysisEntry, limitMs: answerMs, clock: systemClock });
  onStop(() => analyser.close());
  const sourceSchemas = createSourceSchemas({
    locate: (graphId) => locateSpec(graphs, graphId),
    findTypescript,
    analyser,
    cache: createAnalysisCache(),
    answerMs: Math.min(answerMs, TYPES_ANSWER_MS),
    clock: systemClock, // a compiler takes real time
    log,
  });
  return { codeHost, host: withSourceSchemas(codeHost, sourceSchemas), registry, sourceSchemas, tracing }; // 2
}

/** Loaded only where somebody collects traces. */
async function openTelemetry(
  { telemetry: { otlpEndpoint: endpoint, serviceName, recordContent: content } }: Config,
  deps: { readonly clock: Clock; readonly log: Log },
): Promise<Tracing | undefined> {
  if (endpoint === null) return undefined;
  const { openTracing } = await import("../telemetry/otlp.js").catch((error: unknown) => {
    throw new ConfigError(`telemetry.otlp_endpoint: OpenTelemetry cannot be loaded: ${(error as Error).message}`);
  });
  return openTracing({ endpoint, serviceName, content, version: versions().version }, deps);
}

/** What graph threads ask for besides storage: where the server is, once it listens. */
function serveThread(
  storage: (ask: unknown) => unknown,
  serverUrl: () => string | undefined,
): (ask: unknown) => unknown {
  return (ask) => {
    if ((ask as { readonly kind: string }).kind !== "server url") return storage(ask); // both are made by `thread.ts`
    const url = serverUrl();
    if (url === undefined) throw new GatewayError("unavailable", "the gateway has not started yet");
    return url;
  };
}
