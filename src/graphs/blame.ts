/**
 * Who is to blame: which execution the code that runs at this moment belongs to.
 *
 * User code can throw where nobody awaits it (a timer, a forgotten promise), leave the thread, or keep it from ever
 * answering. Node carries an asynchronous context through all of that, so the run that did it can be named and the others
 * spared.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { describeError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { ExecuteResult, GraphEvent } from "./host.js";

/** Whose code runs: a run, or a call that is none (a state that is read, a graph that is drawn). */
export interface Suspect {
  readonly label: string;
  /** Ends it with what its code threw. */
  fail(thrown: unknown): void;
}

export interface Blame {
  attribute<T>(suspect: Suspect, work: () => T): T;
  /** undefined where the code that runs is heddle's own. */
  current(): Suspect | undefined;
}

export function createBlame(): Blame {
  const context = new AsyncLocalStorage<Suspect>();
  return {
    attribute: (suspect, work) => context.run(suspect, work),
    current: () => context.getStore(),
  };
}

type Execution = AsyncGenerator<GraphEvent, ExecuteResult>;

/** Runs `execute` as `label`: what its code throws where nobody awaits it ends it as failed. */
export async function* blamed(
  blame: Blame,
  { label, signal }: { readonly label: string; readonly signal: AbortSignal },
  execute: (signal: AbortSignal) => Execution,
): Execution {
  // Not `AbortSignal.any`: Node keeps such a signal for ever once a graph listens to it, and all that the graph holds.
  const stop = new AbortController();
  const passOn = (): void => stop.abort(signal.reason);
  if (signal.aborted) passOn();
  else signal.addEventListener("abort", passOn);
  let thrown: { readonly value: unknown } | undefined;
  const suspect: Suspect = {
    label,
    fail(value) {
      thrown ??= { value };
      stop.abort(value);
    },
  };
  try {
    const events = blame.attribute(suspect, () => execute(stop.signal));
    for (;;) {
      const step = await blame.attribute(suspect, () => events.next());
      if (step.done !== true) yield step.value;
      else if (thrown === undefined || signal.aborted || step.value.kind === "evicted") return step.value;
      else return { kind: "failed", error: describeError(thrown.value), projection: step.value.projection };
    }
  } finally {
    signal.removeEventListener("abort", passOn);
  }
}

/**
 * From now on what nobody caught ends the run that it belongs to instead of the process. What belongs to none, or to one
 * that is over, is logged: it must not take every other run along.
 */
export function catchStrayErrors(blame: Blame, log: Log): () => void {
  const report =
    (what: string) =>
    (thrown: unknown): void => {
      const suspect = blame.current();
      suspect?.fail(thrown);
      log.error({ err: thrown, by: suspect?.label }, what);
    };
  const onException = report("an exception was thrown and nobody caught it");
  const onRejection = report("a promise was rejected and nobody handled it");
  process.on("uncaughtException", onException);
  process.on("unhandledRejection", onRejection);
  return () => {
    process.off("uncaughtException", onException);
    process.off("unhandledRejection", onRejection);
  };
}
