/** Long answers in pieces: written at the pace of their readers, with turns of the event loop for others between. */
import { createBreather } from "../core/async.js";
import { LONG_CHARS, utf8Pieces } from "../core/json-text.js";

/** How long one answer may be written without a turn of the event loop. */
const BREATHE_MS = 10;

export async function* piecewise(text: string): AsyncGenerator<Uint8Array> {
  const breathe = createBreather(BREATHE_MS);
  for (const piece of utf8Pieces(text)) {
    yield piece;
    const breath = breathe();
    if (breath !== undefined) await breath;
  }
}

/** A body for `Response`: as it is while it is short, which servers write fastest. */
export function bodyOf(text: string): string | ReadableStream<Uint8Array> {
  if (text.length < LONG_CHARS) return text;
  const pieces = piecewise(text);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
