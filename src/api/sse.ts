/**
 * Long answers: event streams, and JSON that is waited for.
 *
 * 1. Headers leave at once; the first byte of the body may come much later.
 * 2. While nothing happens a heartbeat goes out every 5 s after the last byte, on one line without a blank line (W3, W4).
 * 3. What ends before its run has is cut, never ended (W2).
 * 4. The client's reading speed is the pace: the source is asked for more only when the last chunk was taken. A client
 *    that takes nothing for 30 s is cut off; it can come back with the id of the last event that it got.
 */
import type { Clock } from "../core/clock.js";
import type { AnswerEnd } from "./run-audience.js";

export interface LongAnswer {
  /** Chunks of the body, as many events at once as there are; they are sent as they are. */
  readonly chunks: AsyncIterator<Uint8Array>;
  readonly headers: Record<string, string>;
  /** What goes out while there is nothing to say. */
  readonly heartbeat: string;
  readonly clock: Clock;
  /** Cuts the connection (W2); false where there is none to cut, and failing the body must do. */
  readonly breakConnection: () => boolean;
  /** Called once, when the answer is over one way or another. */
  readonly onClose: (end: AnswerEnd) => void;
}

const HEARTBEAT_MS = 5_000;
const STALL_MS = 30_000;

export const SSE_HEARTBEAT = ": heartbeat\n";
export const JSON_HEARTBEAT = "\n";

/** For proxies: no buffering, no transformation, no gzip. */
export const SSE_HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
  "content-encoding": "identity",
} as const;

export function longResponse(answer: LongAnswer): Response {
  const { chunks, clock } = answer;
  const heartbeat = Buffer.from(answer.heartbeat);
  // Asked for before anybody reads, so that what happens from now on is not missed.
  let pending: Promise<IteratorResult<Uint8Array>> | undefined = chunks.next();
  pending.catch(() => {}); // a failure is seen when the body is pulled
  let forgetStall = (): void => {};
  let over = false;

  function finish(end: AnswerEnd): void {
    if (over) return;
    over = true;
    forgetStall();
    answer.onClose(end);
  }

  function cut(controller: ReadableStreamDefaultController): void {
    finish("cut");
    if (!answer.breakConnection()) controller.error(new Error("the stream was cut"));
  }

  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        forgetStall();
        pending ??= chunks.next();
        const step = await withHeartbeat(pending, clock);
        if (over) return;
        if (step === "broken") {
          cut(controller);
          return;
        }
        if (step === "idle") {
          controller.enqueue(heartbeat);
        } else {
          pending = undefined;
          if (step.done === true) {
            finish("ended");
            controller.close();
            return;
          }
          controller.enqueue(step.value);
        }
        forgetStall = clock.after(STALL_MS, () => cut(controller)); // 4
      },
      cancel() {
        finish("left");
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { status: 200, headers: answer.headers });
}

/** The next chunk, `idle` after a heartbeat's time without one, or `broken` when the source failed. */
function withHeartbeat(
  next: Promise<IteratorResult<Uint8Array>>,
  clock: Clock,
): Promise<IteratorResult<Uint8Array> | "idle" | "broken"> {
  return new Promise((resolve) => {
    const forget = clock.after(HEARTBEAT_MS, () => resolve("idle"));
    next.then(
      (step) => {
        forget();
        resolve(step);
      },
      () => {
        forget();
        resolve("broken");
      },
    );
  });
}
