/** Waiting for work that may not notice that it was told to stop. */
import type { Clock } from "./clock.js";

export interface Patience {
  /** What tells the work to stop. */
  readonly signal: AbortSignal;
  /** How long it may go on afterwards. */
  readonly noticeMs: number;
  readonly clock: Clock;
}

export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return value instanceof Promise;
}

/** `next` of the value: at once when that is there, so that nothing comes in between. */
export function whenKnown<T, R>(value: T | Promise<T>, next: (value: T) => R | Promise<R>): R | Promise<R> {
  return isPromise(value) ? value.then(next) : next(value);
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

/** So many are taken without a turn of the event loop. */
const STEPS_PER_TURN = 1_000;

export interface ReadAhead<T> extends AsyncIterable<T> {
  /** Resolves when the reader has taken whatever the source had ready at the call, or when it has left. */
  caughtUp(): Promise<void>;
}

/**
 * Takes what `source` yields as soon as it comes, without ever pausing, and passes it on at the reader's pace, what it
 * threw last. For sources that fail while they hold what nobody took yet: a stream forgets it then. However much is
 * ready, the reader leaves others their turn of the event loop, and has had one itself before it hears of a failure.
 */
export function readAhead<T>(source: AsyncIterable<T>): ReadAhead<T> {
  const ready: T[] = [];
  let taken = 0;
  let takenBefore = 0;
  let hasLeft = false;
  let waiting: { readonly until: number; readonly resolve: () => void }[] = [];

  function tellCaughtUp(): void {
    const over = waiting.filter(({ until }) => hasLeft || takenBefore + taken >= until);
    if (over.length === 0) return;
    waiting = waiting.filter((each) => !over.includes(each));
    for (const { resolve } of over) resolve();
  }

  return {
    async caughtUp() {
      // A turn of the event loop ends when nothing is ready any more, except what was put off to the next one.
      await turn();
      const until = takenBefore + ready.length;
      await new Promise<void>((resolve) => {
        waiting.push({ until, resolve });
        tellCaughtUp();
      });
      await turn();
    },
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      let ending: { readonly error?: unknown } | undefined;
      let wake = (): void => {};
      let steps = 0;

      async function pump(): Promise<void> {
        try {
          for (;;) {
            const step = await iterator.next();
            if (step.done === true) break;
            ready.push(step.value);
            wake();
          }
          ending = {};
        } catch (error) {
          ending = { error };
        }
        wake();
      }
      void pump();

      function leave(): void {
        hasLeft = true;
        tellCaughtUp();
      }

      function forgetTaken(): void {
        takenBefore += taken;
        ready.splice(0, taken);
        taken = 0;
      }

      return {
        async next() {
          const isTurnDue = ++steps % STEPS_PER_TURN === 0;
          if (isTurnDue || taken === ready.length) forgetTaken();
          if (isTurnDue) await turn();
          while (taken === ready.length && ending === undefined) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
          if (taken < ready.length) {
            const value = ready[taken++] as T; // below its length
            if (waiting.length > 0) tellCaughtUp();
            return { done: false, value };
          }
          leave();
          if (ending === undefined || !("error" in ending)) return { done: true, value: undefined };
          await turn();
          throw ending.error;
        },
        async return() {
          leave();
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * For loops over what is ready already: a promise when the event loop has waited for it longer than `everyMs`. Awaiting
 * what is ready never lets timers, connections and other runs have their turn.
 */
export function createBreather(everyMs: number): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < everyMs) return undefined;
    return turn().then(() => {
      since = performance.now();
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
