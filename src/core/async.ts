/** Waiting for work that may not notice that it was told to stop. */
import type { Clock } from "./clock.js";

export interface Patience {
  /** What tells the work to stop. */
  readonly signal: AbortSignal;
  /** How long it may go on afterwards. */
  readonly noticeMs: number;
  readonly clock: Clock;
}

/** Settles as `work` does; when that takes longer than `noticeMs` after the abort, rejects with the abort's reason. */
export async function withPatience<T>(work: Promise<T>, patience: Patience): Promise<T> {
  const limit = limitOf(patience);
  try {
    return await limit.wait(work);
  } finally {
    limit.forget();
  }
}

/** Settles as `work` does; when that takes longer than `limitMs`, leaves it behind and rejects with `error`. */
export function withLimit<T>(
  work: Promise<T>,
  { limitMs, error, clock }: { readonly limitMs: number; readonly error: Error; readonly clock: Clock },
): Promise<T> {
  return withPatience(work, { signal: AbortSignal.abort(error), noticeMs: limitMs, clock });
}

/** Passes on what `source` yields; leaves it behind, throwing the abort's reason, when it goes on for too long after it. */
export function passWithPatience<T>(source: AsyncIterable<T>, patience: Patience): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      const limit = limitOf(patience);
      return {
        async next() {
          try {
            const step = await limit.wait(iterator.next());
            if (step.done === true) limit.forget();
            return step;
          } catch (error) {
            limit.forget();
            throw error;
          }
        },
        async return() {
          limit.forget();
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

interface Limit {
  wait<T>(work: Promise<T>): Promise<T>;
  forget(): void;
}

/** A promise per wait: racing against one that lives as long as a stream would pile up reactions on it. */
function limitOf({ signal, noticeMs, clock }: Patience): Limit {
  let isOver = false;
  let leave = (): void => {};
  let forgetTimer = (): void => {};
  const onAbort = (): void => {
    forgetTimer = clock.after(noticeMs, () => {
      isOver = true;
      leave();
    });
  };
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  return {
    wait: (work) =>
      new Promise((resolve, reject) => {
        leave = () => reject(signal.reason);
        work.then(resolve, reject);
        if (isOver) leave();
      }),
    forget() {
      signal.removeEventListener("abort", onAbort);
      forgetTimer();
    },
  };
}

/** After so many steps without a turn of the event loop others get one. */
const STEPS_AHEAD = 1_000;

export interface ReadAhead<T> extends AsyncIterable<T> {
  /** Resolves when the source holds nothing any more that it had ready at the call, or when it has ended. */
  caughtUp(): Promise<void>;
}

/**
 * Takes what `source` yields as soon as it comes and passes it on at the reader's pace, what it threw last. For sources
 * that fail while they hold what nobody took yet: a stream forgets it then.
 */
export function readAhead<T>(source: AsyncIterable<T>): ReadAhead<T> {
  let isBehind = false;
  return {
    async caughtUp() {
      // A turn of the event loop ends when nothing is ready any more, except what was put off to the next one.
      do await new Promise(setImmediate);
      while (isBehind);
    },
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      let ready: T[] = [];
      let taken = 0;
      let ending: { readonly error?: unknown } | undefined;
      let wake = (): void => {};

      async function pump(): Promise<void> {
        try {
          for (let steps = 1; ; steps++) {
            const step = await iterator.next();
            if (step.done === true) break;
            ready.push(step.value);
            wake();
            if (steps % STEPS_AHEAD > 0) continue;
            isBehind = true;
            await new Promise(setImmediate);
            isBehind = false;
          }
          ending = {};
        } catch (error) {
          ending = { error };
        }
        wake();
      }
      void pump();

      return {
        async next() {
          for (;;) {
            if (taken < ready.length) return { done: false, value: ready[taken++] as T }; // below its length
            ready = [];
            taken = 0;
            if (ending === undefined) {
              await new Promise<void>((resolve) => {
                wake = resolve;
              });
            } else if ("error" in ending) {
              throw ending.error;
            } else {
              return { done: true, value: undefined };
            }
          }
        },
        async return() {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/**
 * For loops over what is ready already: a promise when the event loop has waited for it longer than `everyMs`. Awaiting
 * what is ready never lets timers, connections and other runs have their turn.
 */
export function createBreather(everyMs: number): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < everyMs) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        since = performance.now();
        resolve();
      });
    });
  };
}

/** Does one piece of work at a time, in the order in which they are asked for. */
export function createLock(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => {}); // who asked for it sees the failure
    return done;
  };
}
