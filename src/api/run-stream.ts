/** A run's events and results as HTTP answers. */
import { type Cursor, type Replay, StreamBrokenError } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { StreamMode } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";
import type { RunReading, StreamItem } from "../runs/reading.js";
import { createFrames, type Frames } from "./frames.js";
import { piecewise } from "./long-text.js";
import { createPace, createSpareTime } from "./pace.js";
import type { RouteRequest } from "./route.js";
import { type AnswerEnd, createRunAudience, type OtherReaders } from "./run-audience.js";
import { JSON_HEARTBEAT, longResponse, SSE_HEADERS, SSE_HEARTBEAT } from "./sse.js";

export interface RunAnswersDeps {
  readonly manager: RunManager;
  /** How long a run whose client left, and wanted it to stop then, waits for a reader. */
  readonly disconnectGraceMs: number;
  /** Absent where nobody else can have readers. */
  readonly others?: { readonly readers: OtherReaders; readonly cancelAbandoned: () => Promise<unknown> } | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export type Connection = Pick<RouteRequest<unknown, unknown, unknown>, "breakConnection">;

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
  /** How what happened before is told; `raw` unless it is given. */
  readonly replay?: Replay | undefined;
}

/** A run whose reader is counted. */
export type Watched = Pick<WaitAnswer, "reading" | "cancelOnDisconnect">;

/** An answer in other words than REST's. */
export interface OwnAnswer {
  readonly headers: Record<string, string>;
  readonly heartbeat: string;
  /** Ends when the run has, or the signal aborts; throws `StreamBrokenError` when the gateway stops first. */
  readonly chunks: (signal: AbortSignal) => AsyncGenerator<Uint8Array>;
}

export interface RunAnswers {
  stream(answer: StreamAnswer, connection: Connection): Response;
  /** The result as JSON, when the run has ended. */
  wait(answer: WaitAnswer, connection: Connection): Response;
  /** As the others, in words of the caller's. */
  say(watched: Watched, connection: Connection, answer: OwnAnswer): Response;
  /** JSON that takes its time to be made; `client` aborts when there is nobody to read it any more. */
  whole(connection: Connection, make: (client: AbortSignal) => Promise<string>): Response;
  /**
   * For an answer whose status depends on how the run ends: does `work` while `client` is there. Undefined when it left
   * first; throws `unavailable` when the gateway stops first.
   */
  attend<T>(watched: Watched, client: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined>;
  /** From now on clients that leave do so because the gateway stops: their runs are not cancelled. */
  close(): void;
}

/** Both SDKs take the run id from `Content-Location` greedily, so it ends there (W9); `Location` is where to reconnect (W1). */
export function locationHeaders(path: string, reconnect: "stream" | "join"): Record<string, string> {
  return { "content-location": path, location: `${path}/${reconnect}` };
}

/** What is held of frames for readers to come. */
const SHARED_BYTES = 16 * 1_024 * 1_024;

export function createRunAnswers({ manager, disconnectGraceMs, others, ...deps }: RunAnswersDeps): RunAnswers {
  const { clock, log, metrics } = deps;
  const frames = createFrames({ maxBytes: SHARED_BYTES });
  const pace = createPace({ clock, spareMs: createSpareTime() });
  const audience = createRunAudience({
    clock,
    graceMs: disconnectGraceMs,
    cancel: cancelAfterDisconnect,
    onRunEnd,
    others: others?.readers,
  });

  function onRunEnd(runId: string, listener: () => void): () => void {
    const stop = new AbortController();
    manager.ended(runId, stop.signal).then(
      () => stop.signal.aborted || listener(),
      (error: unknown) => log.error({ err: error, runId }, "it cannot be seen when a run ends whose client left"),
    );
    return () => stop.abort();
  }

  function cancelAfterDisconnect(runId: string): void {
    const cancelled = others === undefined ? manager.cancel(null, runId, "interrupt") : others.cancelAbandoned();
    cancelled.catch((error: unknown) => {
      if (error instanceof GatewayError) return; // it has ended meanwhile
      log.error({ err: error, runId }, "a run could not be cancelled after its client left");
    });
  }

  function answerWith(
    { reading: { runId }, cancelOnDisconnect }: Watched,
    { breakConnection }: Connection,
    body: OwnAnswer,
  ): Response {
    const abort = new AbortController();
    const leave = audience.join(runId, { cancelOnDisconnect });
    metrics.openStreams.inc();
    return longResponse({
      chunks: reportingFailure(runId, body.chunks(abort.signal)),
      headers: body.headers,
      heartbeat: body.heartbeat,
      clock,
      breakConnection,
      onClose(end) {
        metrics.openStreams.dec();
        abort.abort();
        leave(end);
      },
    });
  }

  async function* reportingFailure(
    runId: string | undefined,
    chunks: AsyncGenerator<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      if (!(error instanceof StreamBrokenError)) log.error({ err: error, runId }, "a stream failed");
      throw error;
    }
  }

  return {
    stream(answer, connection) {
      const { reading, cursor, path, modes, replay } = answer;
      return answerWith(answer, connection, {
        headers: { ...SSE_HEADERS, ...locationHeaders(path, "stream") },
        heartbeat: SSE_HEARTBEAT,
        chunks: (signal) => framed(reading.follow({ cursor, signal, replay }), { modes, frames, turn: pace.reader() }),
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

    say: answerWith,

    whole({ breakConnection }, make) {
      const client = new AbortController();
      metrics.openStreams.inc();
      return longResponse({
        chunks: reportingFailure(
          undefined,
          once(() => make(client.signal)),
        ),
        headers: { "content-type": "application/json", "x-accel-buffering": "no" },
        heartbeat: JSON_HEARTBEAT,
        clock,
        breakConnection,
        onClose() {
          metrics.openStreams.dec();
          client.abort();
        },
      });
    },

    async attend({ reading: { runId }, cancelOnDisconnect }, client, work) {
      const abort = new AbortController();
      const leave = audience.join(runId, { cancelOnDisconnect });
      let end: AnswerEnd = "left";
      const stop = (): void => abort.abort();
      if (client.aborted) stop();
      else client.addEventListener("abort", stop);
      try {
        const done = await work(abort.signal);
        if (abort.signal.aborted) return undefined;
        end = "ended";
        return done;
      } catch (error) {
        end = "cut";
        throw error instanceof StreamBrokenError ? runGoesOn(runId) : error;
      } finally {
        client.removeEventListener("abort", stop);
        leave(end);
      }
    },

    close() {
      audience.close();
    },
  };
}

/** Clients that would ask again are told by the run's id that it was made: asking again makes another. */
function runGoesOn(runId: string): GatewayError {
  return new GatewayError("unavailable", "the gateway stops: the run goes on when it is back", { run_id: runId });
}

interface Framing {
  readonly modes: readonly StreamMode[] | undefined;
  readonly frames: Frames;
  readonly turn: (bytes: number) => Promise<void> | undefined;
}

async function* framed(
  batches: AsyncIterable<readonly StreamItem[]>,
  { modes, frames, turn }: Framing,
): AsyncGenerator<Uint8Array> {
  const isWanted = filterOf(modes);
  for await (const batch of batches) {
    for (const chunk of chunksOf(batch.filter(isWanted), frames)) {
      const mine = turn(chunk.length);
      if (mine !== undefined) await mine;
      yield chunk;
    }
  }
}

/** What a reader who takes nothing costs: the events themselves are the log's. */
const CHUNK_BYTES = 64 * 1_024;

function* chunksOf(items: readonly StreamItem[], frames: Frames): Generator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for (const item of items) {
    const part = frames.of(item);
    parts.push(part);
    bytes += part.length;
    if (bytes < CHUNK_BYTES) continue;
    yield joined(parts, bytes);
    parts = [];
    bytes = 0;
  }
  if (bytes > 0) yield joined(parts, bytes);
}

/** A single frame is sent as it is. */
function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = parts;
  return first !== undefined && parts.length === 1 ? first : Buffer.concat(parts, bytes);
}

async function* once(make: () => Promise<string>): AsyncGenerator<Uint8Array> {
  yield* piecewise([await make()]);
}

async function* resultOf(reading: RunReading, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const result = await reading.result(signal);
  if (result !== undefined) yield* piecewise([result]);
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

const ABOUT_THE_RUN: ReadonlySet<string> = new Set(["metadata", "feedback", "error", "end"]);
