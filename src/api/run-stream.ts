/** A run's events and results as HTTP answers. */
import { type Cursor, StreamBrokenError, type StreamEvent } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { Run, StreamMode } from "../core/model.js";
import type { RunManager, StreamItem } from "../runs/manager.js";
import type { RouteRequest } from "./route.js";
import { frame, frameWithoutId, JSON_HEARTBEAT, longResponse, SSE_HEADERS, SSE_HEARTBEAT } from "./sse.js";

export interface RunAnswersDeps {
  readonly manager: RunManager;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

type Connection = Pick<RouteRequest<unknown, unknown, unknown>, "breakConnection">;

export interface StreamAnswer {
  readonly run: Run;
  /** `/threads/{t}/runs/{r}`, or `/runs/{r}` for a run that was made without a thread. */
  readonly path: string;
  readonly cursor: Cursor;
  /** Only events of these modes; undefined for all. */
  readonly modes?: readonly StreamMode[] | undefined;
  readonly cancelOnDisconnect: boolean;
}

export interface RunAnswers {
  stream(answer: StreamAnswer, connection: Connection): Response;
  /** For a run whose rows are gone: what its log still holds; undefined when that is gone too. */
  streamFinished(
    runId: string,
    answer: Omit<StreamAnswer, "run" | "cancelOnDisconnect">,
    connection: Connection,
  ): Response | undefined;
  /** The result as JSON, when the run has ended. */
  wait(answer: Pick<StreamAnswer, "run" | "path" | "cancelOnDisconnect">, connection: Connection): Response;
}

/** Both SDKs take the run id from `Content-Location` greedily, so it ends there (W9); `Location` is where to reconnect (W1). */
export function locationHeaders(path: string, reconnect: "stream" | "join"): Record<string, string> {
  return { "content-location": path, location: `${path}/${reconnect}` };
}

export function createRunAnswers(deps: RunAnswersDeps): RunAnswers {
  const { manager, clock, log, metrics } = deps;

  function cancelAfterDisconnect(run: Run): void {
    manager.cancel(run.threadId, run.runId, "interrupt").catch((error: unknown) => {
      if (error instanceof GatewayError) return; // it has ended meanwhile
      log.error({ err: error, runId: run.runId }, "a run could not be cancelled after its client left");
    });
  }

  function answerWith(
    chunks: AsyncIterator<string>,
    options: {
      readonly headers: Record<string, string>;
      readonly heartbeat: string;
      readonly abort: AbortController;
      readonly breakConnection: () => boolean;
      readonly onClientGone: () => void;
    },
  ): Response {
    metrics.openStreams.inc();
    return longResponse({
      chunks,
      headers: options.headers,
      heartbeat: options.heartbeat,
      clock,
      breakConnection: options.breakConnection,
      onClose({ byClient }) {
        metrics.openStreams.dec();
        options.abort.abort();
        if (byClient) options.onClientGone();
      },
    });
  }

  async function* frames(
    runId: string,
    items: AsyncIterable<readonly StreamItem[]>,
    wanted: ((event: StreamEvent) => boolean) | undefined,
  ): AsyncGenerator<string> {
    try {
      for await (const batch of items) {
        const text = batch.map((item) => itemFrame(item, wanted)).join("");
        if (text !== "") yield text;
      }
    } catch (error) {
      if (!(error instanceof StreamBrokenError)) log.error({ err: error, runId }, "a stream failed");
      throw error;
    }
  }

  return {
    stream({ run, path, cursor, modes, cancelOnDisconnect }, { breakConnection }) {
      const abort = new AbortController();
      const items = manager.follow(run, { cursor, signal: abort.signal });
      return answerWith(frames(run.runId, items, filterOf(modes)), {
        headers: { ...SSE_HEADERS, ...locationHeaders(path, "stream") },
        heartbeat: SSE_HEARTBEAT,
        abort,
        breakConnection,
        onClientGone: () => cancelOnDisconnect && cancelAfterDisconnect(run),
      });
    },

    streamFinished(runId, { path, cursor, modes }, { breakConnection }) {
      const abort = new AbortController();
      const items = manager.followFinished(runId, { cursor, signal: abort.signal });
      if (items === undefined) return undefined;
      return answerWith(frames(runId, items, filterOf(modes)), {
        headers: { ...SSE_HEADERS, ...locationHeaders(path, "stream") },
        heartbeat: SSE_HEARTBEAT,
        abort,
        breakConnection,
        onClientGone: () => {},
      });
    },

    wait({ run, path, cancelOnDisconnect }, { breakConnection }) {
      const abort = new AbortController();
      return answerWith(resultOf(manager, run, abort.signal), {
        headers: { "content-type": "application/json", "x-accel-buffering": "no", ...locationHeaders(path, "join") },
        heartbeat: JSON_HEARTBEAT,
        abort,
        breakConnection,
        onClientGone: () => cancelOnDisconnect && cancelAfterDisconnect(run),
      });
    },
  };
}

async function* resultOf(manager: RunManager, run: Run, signal: AbortSignal): AsyncGenerator<string> {
  yield await manager.result(run, signal);
}

function itemFrame(item: StreamItem, wanted: ((event: StreamEvent) => boolean) | undefined): string {
  if (item.kind === "snapshot") return frameWithoutId("values", item.valuesJson);
  return wanted === undefined || wanted(item.event) ? frame(item.event) : "";
}

/** By base mode: a namespaced event passes when its mode does. What is about the run itself always passes. */
function filterOf(modes: readonly StreamMode[] | undefined): ((event: StreamEvent) => boolean) | undefined {
  if (modes === undefined || modes.length === 0) return undefined;
  const wanted = new Set<string>(modes);
  return ({ event }) => ALWAYS_SHOWN.has(event) || wanted.has(modeOf(event));
}

const ALWAYS_SHOWN: ReadonlySet<string> = new Set(["metadata", "error", "end"]);

/** The mode that an event name belongs to: tuples are called `messages`, accumulated messages `messages/…`. */
function modeOf(event: string): string {
  if (event === "messages") return "messages-tuple";
  return event.startsWith("messages/") ? "messages" : event;
}
