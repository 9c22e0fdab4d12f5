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
