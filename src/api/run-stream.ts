/** A run's events and results as HTTP answers. */
import { type Cursor, StreamBrokenError } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { StreamMode } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";
import type { RunReading, StreamItem } from "../runs/reading.js";
import type { RouteRequest } from "./route.js";
import { frame, JSON_HEARTBEAT, longResponse, SSE_HEADERS, SSE_HEARTBEAT } from "./sse.js";

export interface RunAnswersDeps {
  readonly manager: RunManager;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

type Connection = Pick<RouteRequest<unknown, unknown, unknown>, "breakConnection">;

export interface WaitAnswer {
  readonly reading: RunReading;
  /** `/threads/{t}/runs/{r}`, or `/runs/{r}` for a run that was made without a thread. */
  readonly path: string;
  readonly cancelOnDisconnect: boolean;
}

export interface StreamAnswer extends WaitAnswer {
  readonly cursor: Cursor;
  /** Only events of these modes; undefined or empty for all. */
  readonly modes?: readonly StreamMode[] | undefined;
}

export interface RunAnswers {
  stream(answer: StreamAnswer, connection: Connection): Response;
  /** The result as JSON, when the run has ended. */
  wait(answer: WaitAnswer, connection: Connection): Response;
  /** From now on clients that leave do so because the gateway stops: their runs are not cancelled. */
  close(): void;
}

/** Both SDKs take the run id from `Content-Location` greedily, so it ends there (W9); `Location` is where to reconnect (W1). */
export function locationHeaders(path: string, reconnect: "stream" | "join"): Record<string, string> {
  return { "content-location": path, location: `${path}/${reconnect}` };
}

export function createRunAnswers({ manager, clock, log, metrics }: RunAnswersDeps): RunAnswers {
  let closed = false;

  function cancelAfterDisconnect(runId: string): void {
    manager.cancel(null, runId, "interrupt").catch((error: unknown) => {
      if (error instanceof GatewayError) return; // it has ended meanwhile
      log.error({ err: error, runId }, "a run could not be cancelled after its client left");
    });
  }

  function answerWith(
    { reading: { runId }, cancelOnDisconnect }: WaitAnswer,
    { breakConnection }: Connection,
    body: {
      readonly headers: Record<string, string>;
      readonly heartbeat: string;
      readonly chunks: (signal: AbortSignal) => AsyncGenerator<string>;
    },
  ): Response {
    const abort = new AbortController();
    metrics.openStreams.inc();
    return longResponse({
      chunks: reportingFailure(runId, body.chunks(abort.signal)),
      headers: body.headers,
      heartbeat: body.heartbeat,
      clock,
      breakConnection,
      onClose({ byClient }) {
        metrics.openStreams.dec();
        abort.abort();
        if (byClient && cancelOnDisconnect && !closed) cancelAfterDisconnect(runId);
      },
    });
  }

  async function* reportingFailure(runId: string, chunks: AsyncGenerator<string>): AsyncGenerator<string> {
    try {
      yield* chunks;
    } catch (error) {
      if (!(error instanceof StreamBrokenError)) log.error({ err: error, runId }, "a stream failed");
      throw error;
    }
  }

  return {
    stream(answer, connection) {
      const { reading, cursor, path, modes } = answer;
      return answerWith(answer, connection, {
        headers: { ...SSE_HEADERS, ...locationHeaders(path, "stream") },
        heartbeat: SSE_HEARTBEAT,
        chunks: (signal) => frames(reading.follow({ cursor, signal }), modes),
      });
    },

    wait(answer, connection) {
      return answerWith(answer, connection, {
        headers: {
          "content-type": "application/json",
          "x-accel-buffering": "no",
          ...locationHeaders(answer.path, "join"),
        },
        heartbeat: JSON_HEARTBEAT,
        chunks: (signal) => resultOf(answer.reading, signal),
      });
    },

    close() {
      closed = true;
    },
  };
}

async function* frames(
  batches: AsyncIterable<readonly StreamItem[]>,
  modes: readonly StreamMode[] | undefined,
): AsyncGenerator<string> {
  const isWanted = filterOf(modes);
  for await (const batch of batches) {
    let text = "";
    for (const item of batch) {
      if (!isWanted(item)) continue;
      text += frame(item);
      if (text.length < CHUNK_CHARS) continue;
      yield text;
      text = "";
    }
    if (text !== "") yield text;
  }
}

/** What a reader who takes nothing costs: the events themselves are the log's. */
const CHUNK_CHARS = 64 * 1_024;

async function* resultOf(reading: RunReading, signal: AbortSignal): AsyncGenerator<string> {
  const result = await reading.result(signal);
  if (result !== undefined) yield result;
}

/**
 * By base mode: a namespaced event passes when its mode does. What is about the run itself always passes, and so does
 * the snapshot that stands for events that are gone.
 */
function filterOf(modes: readonly StreamMode[] | undefined): (item: StreamItem) => boolean {
  if (modes === undefined || modes.length === 0) return () => true;
  const wanted = new Set<string>(modes);
  return ({ id, event }) => id === null || ABOUT_THE_RUN.has(event) || wanted.has(modeOf(event));
}

/** The mode that an event name belongs to: tuples are called `messages`, accumulated messages `messages/…`. */
function modeOf(event: string): string {
  if (event === "messages") return "messages-tuple";
  return event.startsWith("messages/") ? "messages" : event;
}

const ABOUT_THE_RUN: ReadonlySet<string> = new Set(["metadata", "error", "end"]);
