/**
 * Event streams that go on for as long as somebody reads them, over the runs of a thread.
 *
 * They never end by themselves: when the gateway stops, or something fails, the connection is cut, and its client comes
 * back (W2).
 */
import { StreamBrokenError } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { Connection } from "./run-stream.js";
import { longResponse, SSE_HEADERS, SSE_HEARTBEAT } from "./sse.js";

export interface EndlessStream {
  /** For the log; null where it is not about one. */
  readonly threadId: string | null;
  /** Ends when the signal aborts. */
  readonly chunks: (signal: AbortSignal) => AsyncGenerator<Uint8Array>;
  readonly headers?: Record<string, string>;
}

export interface EndlessStreams {
  /** Headers leave at once. */
  open(stream: EndlessStream, connection: Connection): Response;
  /** Aborts when the gateway stops. */
  readonly stopping: AbortSignal;
  /** Cuts every stream. */
  close(): void;
}

export interface EndlessStreamsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export function createEndlessStreams({ clock, log, metrics }: EndlessStreamsDeps): EndlessStreams {
  const gateway = new AbortController();

  async function* unending({ threadId, chunks }: EndlessStream, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks(signal);
    } catch (error) {
      if (!(error instanceof StreamBrokenError)) log.error({ err: error, threadId }, "an event stream failed");
      throw error;
    }
    if (gateway.signal.aborted) throw new StreamBrokenError("the gateway stops");
  }

  return {
    stopping: gateway.signal,

    open(stream, { breakConnection }) {
      const abort = new AbortController();
      const stop = (): void => abort.abort();
      if (gateway.signal.aborted) stop();
      else gateway.signal.addEventListener("abort", stop);
      metrics.openStreams.inc();
      return longResponse({
        chunks: unending(stream, abort.signal),
        headers: { ...SSE_HEADERS, ...stream.headers },
        heartbeat: SSE_HEARTBEAT,
        clock,
        breakConnection,
        onClose() {
          metrics.openStreams.dec();
          gateway.signal.removeEventListener("abort", stop);
          stop();
        },
      });
    },

    close: () => gateway.abort(),
  };
}
