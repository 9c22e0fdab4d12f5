/** Long answers in pieces: written at the pace of their readers, with turns of the event loop for others between. */
import { createBreather } from "../core/async.js";
import { jsonTexts, LONG_CHARS, utf8Pieces } from "../core/json-text.js";

/** How long one answer may be written without a turn of the event loop. */
const BREATHE_MS = 10;

export async function* piecewise(texts: Iterable<string>): AsyncGenerator<Uint8Array> {
  const breathe = createBreather(BREATHE_MS);
  for (const text of texts) {
    if (text.length >= LONG_CHARS) await othersTurn();
    for (const piece of utf8Pieces(text)) {
      yield piece;
      const breath = breathe();
      if (breath !== undefined) await breath;
    }
  }
}

/** A body for `Response`: as it is while it is short, which servers write fastest. */
export function bodyOf(text: string): string | ReadableStream<Uint8Array> {
  return text.length < LONG_CHARS ? text : streamOf([text]);
}

/** The same for the JSON of `value`, of which no long text is ever copied as a whole. */
export function jsonBodyOf(value: unknown): string | ReadableStream<Uint8Array> {
  const texts = jsonTexts(value);
  return typeof texts === "string" ? bodyOf(texts) : streamOf(texts);
}

function streamOf(texts: Iterable<string>): ReadableStream<Uint8Array> {
  const pieces = piecewise(texts);
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

/**
 * Before a long text is looked into, which is when V8 puts it together: what made it took long enough. Requests that came
 * meanwhile are read between the first turn and the second.
 */
async function othersTurn(): Promise<void> {
  await new Promise(setImmediate);
  await new Promise(setImmediate);
}
