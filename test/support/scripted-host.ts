/** A graph host without graphs: each execution does what its test tells it to. */
import type { ExecuteRequest, ExecuteResult, GraphEvent, GraphHost } from "../../src/graphs/host.js";
import { projection } from "./sql-stores.js";

export interface ScriptedExecution {
  readonly request: ExecuteRequest;
  readonly signal: AbortSignal;
  say(event: Partial<GraphEvent>): void;
  end(result?: ExecuteResult): void;
  /** A fault of the host itself. */
  break(error: unknown): void;
}

export interface ScriptedHost extends GraphHost {
  /** The next execution that begins, or began without being asked for. */
  next(): Promise<ScriptedExecution>;
  /** How many executions have begun and not ended. */
  active(): number;
  /** Whether its code reacts from now on, as `isAnswering` tells. */
  answer(isAnswering: boolean): void;
}

type Step = { readonly say: GraphEvent } | { readonly end: ExecuteResult } | { readonly break: unknown };

/** Ends an execution with `aborted` when its signal aborts, unless `stubborn`. */
export function createScriptedHost(options: { readonly stubborn?: boolean } = {}): ScriptedHost {
  const begun = createQueue<ScriptedExecution>();
  let active = 0;
  let answers = true;
  const unused = (): never => {
    throw new Error("not part of this test");
  };

  async function* execute(request: ExecuteRequest, signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult> {
    const steps = createQueue<Step>();
    const aborted: Step = { end: { kind: "aborted", projection: null } };
    if (options.stubborn !== true) signal.addEventListener("abort", () => steps.push(aborted));
    if (signal.aborted) steps.push(aborted);
    else {
      begun.push({
        request,
        signal,
        say: (event) => steps.push({ say: { event: "values", namespace: [], data: "{}", ...event } }),
        end: (result = { kind: "finished", projection: projection() }) => steps.push({ end: result }),
        break: (error) => steps.push({ break: error }),
      });
    }
    active++;
    try {
      for (;;) {
        const step = await steps.next();
        if ("end" in step) return step.end;
        if ("break" in step) throw step.break;
        yield step.say;
      }
    } finally {
      active--;
    }
  }

  return {
    execute,
    next: () => begun.next(),
    active: () => active,
    isAnswering: () => answers,
    answer(isAnswering) {
      answers = isAnswering;
    },
    graphs: () => [],
    getState: unused,
    getHistory: unused,
    updateState: unused,
    schemas: unused,
    drawing: unused,
    subgraphs: unused,
    embed: unused,
    async close() {},
  };
}

function createQueue<T>(): { push(item: T): void; next(): Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    push(item) {
      const waiter = waiting.shift();
      if (waiter === undefined) items.push(item);
      else waiter(item);
    },
    next() {
      const item = items.shift();
      return item === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(item);
    },
  };
}
