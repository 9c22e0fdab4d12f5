/** Waiting for a hint. */
import type { Signals } from "../bridge/bridge.js";

export interface NextSignal {
  /** Resolves at the next send of the topic, or when the signal aborts. */
  readonly promise: Promise<void>;
  /** For a wait that is not needed after all. */
  forget(): void;
}

/** Listens from now on, so that what is sent while the caller looks at a row is not missed. */
export function nextSignal(signals: Signals, topic: string, signal: AbortSignal): NextSignal {
  let forget = (): void => {};
  const promise = new Promise<void>((resolve) => {
    const finish = (): void => {
      forget();
      resolve();
    };
    const stopListening = signals.on(topic, finish);
    signal.addEventListener("abort", finish);
    forget = () => {
      stopListening();
      signal.removeEventListener("abort", finish);
    };
  });
  return { promise, forget };
}
