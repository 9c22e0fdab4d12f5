/**
 * Has types analysed on a thread of its own, away from the gateway's and the graphs'.
 *
 * A1. The thread starts when there is something to analyse and ends when there has been nothing more for a while: the next
 *     graph of a project takes a fraction of the first.
 * A2. One analysis at a time: it takes a core, and the memory of a compiler.
 * A3. One that takes too long is ended with its thread; the next gets another.
 */
import { Worker } from "node:worker_threads";
import type { Clock } from "../core/clock.js";
import { describeError } from "../core/errors.js";
import type { Analysis, AnalysisTarget } from "./analysis.js";

export interface AnalysisQuestion {
  /** The compiler's module. */
  readonly typescript: string;
  readonly target: AnalysisTarget;
}

export type AnalysisAnswer = { readonly analysis: Analysis } | { readonly error: string };

export interface Analyser {
  /** Rejects with why there is no answer. */
  analyse(question: AnalysisQuestion): Promise<Analysis>;
  /** Resolves when nothing is analysed any more; what waits is rejected. */
  close(): Promise<void>;
}

export interface AnalyserDeps {
  /** The module that the thread starts with. */
  readonly entry: URL;
  readonly limitMs: number;
  /** In which a compiler counts: the system's. */
  readonly clock: Clock;
}

const MEMORY_MB = 1_024;
const IDLE_MS = 10_000;

export function createAnalyser({ entry, limitMs, clock }: AnalyserDeps): Analyser {
  let thread: Worker | undefined;
  let settle = (_answer: AnalysisAnswer): void => {};
  let last: Promise<unknown> = Promise.resolve();
  let ending: Promise<unknown> | undefined;
  let waiting = 0;
  let forgetIdle = (): void => {};
  let isClosed = false;

  /** A1 */
  function openThread(): Worker {
    const opened = new Worker(entry, { resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB } });
    opened.unref(); // an analysis keeps no process alive
    const hear = (answer: AnalysisAnswer): void => {
      if (thread === opened) settle(answer); // one that was ended may have its last word while another is asked
    };
    opened.on("message", hear);
    opened.on("error", (error) => hear({ error: describeError(error).message }));
    opened.on("exit", () => {
      if (thread === opened) endThread();
    });
    return opened;
  }

  function endThread(): void {
    forgetIdle();
    ending = thread?.terminate() ?? ending;
    thread = undefined;
    settle({ error: "the analysis was ended" });
  }

  async function ask(question: AnalysisQuestion): Promise<Analysis> {
    if (isClosed) throw new Error("the gateway is stopping");
    forgetIdle();
    thread ??= openThread();
    const answer = await answerOf(thread, question);
    waiting--;
    if ("error" in answer) {
      endThread(); // A3
      await ending;
      throw new Error(answer.error);
    }
    if (waiting === 0) forgetIdle = clock.after(IDLE_MS, endThread); // A1
    return answer.analysis;
  }

  async function answerOf(worker: Worker, question: AnalysisQuestion): Promise<AnalysisAnswer> {
    let forget = (): void => {};
    const answer = await new Promise<AnalysisAnswer>((resolve) => {
      settle = resolve;
      forget = clock.after(limitMs, () => resolve({ error: `it took more than ${limitMs / 1_000} s` })); // A3
      worker.postMessage(question);
    });
    forget();
    return answer;
  }

  return {
    analyse(question) {
      waiting++;
      const answer = last.then(() => ask(question)); // A2
      last = answer.catch(() => {}); // whoever asked hears of it
      return answer;
    },
    async close() {
      isClosed = true;
      endThread();
      await ending;
      await last;
    },
  };
}
