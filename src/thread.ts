/** The composition root of a graph thread: what `server.ts` is to the process, without anything that serves or writes. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "./core/clock.js";
import type { ItemIndexConfig } from "./core/items.js";
import { bindLoopback, loopbackOverHttp } from "./core/loopback.js";
import { catchStrayErrors, createBlame } from "./graphs/blame.js";
import { loadEmbeddings } from "./graphs/embeddings.js";
import { createInlineHost } from "./graphs/inline-host.js";
import type { LangsmithAccess } from "./graphs/langsmith.js";
import { GraphRegistry, type GraphRegistryOptions } from "./graphs/registry.js";
import { toPlainError } from "./graphs/thread-messages.js";
import { locatedGraphs, openThreadLine } from "./graphs/thread-server.js";
import { type AskStorage, openThreadStorage, type ThreadStorage } from "./storage/thread-storage.js";

/** What a thread is started with. */
export interface ThreadData extends GraphRegistryOptions {
  /** The checkpoints, which the main thread has opened before. */
  readonly checkpointPlace:
    | { readonly kind: "file"; readonly file: string }
    | { readonly kind: "server"; readonly url: string };
  /** How long a graph may take to answer what does not run it. */
  readonly answerMs: number;
  /** How items are indexed; null: they are not. */
  readonly index: ItemIndexConfig | null;
  /** Under which the gateway serves its API. */
  readonly basePath: string;
  readonly langsmith: LangsmithAccess | undefined;
}

if (parentPort === null) throw new Error("this module is started as a worker thread");
// Made by `composition/code.ts`.
const { checkpointPlace, answerMs, index, basePath, langsmith, ...graphs } = workerData as ThreadData;
const blame = createBlame();
const line = openThreadLine(parentPort, blame);
catchStrayErrors(blame, line.log);
bindLoopback(
  loopbackOverHttp(async () => String(await line.ask({ kind: "server url" }))),
  basePath,
);
try {
  const storage = await openStorage(line.ask);
  const registry = new GraphRegistry(graphs);
  await registry.load();
  const embed = index === null ? null : await loadEmbeddings(index, { baseDir: graphs.baseDir, clock: systemClock });
  const host = createInlineHost({
    registry,
    ...storage,
    embed,
    blame,
    answerMs,
    langsmith,
    clock: systemClock,
    log: line.log,
  });
  line.serve(host, registry);
  line.send({ type: "ready", graphs: locatedGraphs(registry) });
} catch (error) {
  line.send({ type: "not ready", error: toPlainError(error) });
}

async function openStorage(ask: AskStorage): Promise<ThreadStorage> {
  const fields = index?.fields ?? null;
  if (checkpointPlace.kind === "file") return openThreadStorage(checkpointPlace.file, ask, fields);
  const { openPostgresThreadStorage } = await import("./storage/thread-storage-postgres.js"); // loaded only where it is used
  return openPostgresThreadStorage(checkpointPlace.url, ask, fields);
}
