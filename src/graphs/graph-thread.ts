/**
 * One worker thread that runs graphs, seen from the main thread.
 *
 * 1. It is ready once its graphs are loaded, and gone once nothing of it can run or ask for anything any more.
 * 2. When it goes, whatever it was doing is told so, with whose fault that was as far as that can be known.
 * 3. Events are taken from it at the pace of whoever reads them, and never so many at once that others wait.
 */
import { Worker, type WorkerOptions } from "node:worker_threads";
import { createBreather } from "../core/async.js";
import type { Log } from "../core/log.js";
import type { RunError } from "../core/model.js";
import { createJoiner, type EventPart } from "./event-outbox.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent, GraphHost } from "./host.js";
import {
  answerOf,
  type CallableMethod,
  type ExecutionEnd,
  type FromThread,
  isRootState,
  type LocatedGraph,
  type NumberedAsk,
  Questions,
  resultOf,
  type ToThread,
  toError,
} from "./thread-messages.js";

/** Why a thread went. */
export interface Departure {
  /** Whose code it was: a run's id, or the label of a call. null: not known. */
  readonly culprit: string | null;
  readonly error: RunError;
}

/** What waits for a thread that went. */
export class ThreadGoneError extends Error {
  override readonly name = "ThreadGoneError";
  readonly departure: Departure;
  /** Whether the one that waited is to blame. */
  readonly isCulprit: boolean;

  constructor(departure: Departure, label: string) {
    super(departure.error.message);
    this.departure = departure;
    this.isCulprit = departure.culprit === label;
  }
}

export interface GraphThreadOptions {
  readonly entry: URL;
  readonly worker: WorkerOptions;
  /** Does what the thread asks for. */
  readonly serve: (ask: unknown) => unknown;
  readonly log: Log;
}

interface Execution {
  readonly label: string;
  readonly signal: AbortSignal;
  readonly events: EventPart[];
  /** Size of `events`. */
  size: number;
  answer: { readonly end: ExecutionEnd } | { readonly error: unknown } | undefined;
  wake: () => void;
}

/** How long events that came together may be passed on without a turn of the event loop. */
const BREATHE_MS = 10;

export class GraphThread {
  /** The graphs that it loaded; rejects with what kept it from loading them. */
  readonly ready: Promise<readonly LocatedGraph[]>;
  /** Resolves with why it went. */
  readonly gone: Promise<Departure>;
  readonly #worker: Worker;
  readonly #questions = new Questions();
  /** By the id of the question. */
  readonly #calls = new Map<number, { readonly label: string }>();
  readonly #executions = new Map<number, Execution>();
  readonly #options: GraphThreadOptions;
  #departure: Departure | undefined;
  #isGone = false;
  #isPinged = false;
  #missedPings = 0;
  #onReady: (graphs: readonly LocatedGraph[]) => void = () => {};
  #onNotReady: (error: Error) => void = () => {};

  constructor(options: GraphThreadOptions) {
    this.#options = options;
    this.#worker = new Worker(options.entry, options.worker);
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = resolve;
      this.#onNotReady = reject;
    });
    this.ready.catch(() => {}); // whoever needs the thread awaits it
    this.#worker.on("message", (message: FromThread) => this.#receive(message));
    this.#worker.on("error", (error) => {
      this.#departure ??= { culprit: null, error: describeWorkerError(error) };
    });
    this.gone = new Promise((resolve) => {
      this.#worker.once("exit", (code) => resolve(this.#leave(code)));
    });
  }

  get threadId(): number {
    return this.#worker.threadId;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** How much it has to do at the moment. */
  get load(): number {
    return this.#executions.size + this.#calls.size;
  }

  /** Pings in a row, at most one per `ping()`, that were not answered before the next was due. */
  get missedPings(): number {
    return this.#missedPings;
  }

  ping(): void {
    if (this.#isPinged) this.#missedPings++;
    this.#isPinged = true;
    this.#send({ type: "ping" });
  }

  isExecuting(label: string): boolean {
    return [...this.#executions.values()].some((execution) => execution.label === label);
  }

  isStopping(label: string): boolean {
    return [...this.#executions.values()].some((execution) => execution.label === label && execution.signal.aborted);
  }

  get hasStopping(): boolean {
    return [...this.#executions.values()].some(({ signal }) => signal.aborted);
  }

  async call<Method extends CallableMethod>(
    method: Method,
    args: Parameters<GraphHost[Method]>,
  ): Promise<Awaited<ReturnType<GraphHost[Method]>>> {
    const answer = await this.#ask((id) => ({ type: "call", id, call: { method, args } }));
    return answer as Awaited<ReturnType<GraphHost[Method]>>; // what the same method of the thread's host returned
  }

  async reload(graphId: string): Promise<readonly LocatedGraph[]> {
    const answer = await this.#ask((id) => ({ type: "reload", id, graphId }));
    return answer as readonly LocatedGraph[]; // `locatedGraphs` of the thread's registry
  }

  /** As `GraphHost.execute`; throws `ThreadGoneError` when the thread goes first. */
  async *execute(request: ExecuteRequest, signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult> {
    const label = request.runId;
    if (this.#isGone) throw this.#goneError(label);
    const execution: Execution = { label, signal, events: [], size: 0, answer: undefined, wake() {} };
    let executionId = 0;
    this.#questions
      .ask((id) => {
        executionId = id;
        this.#executions.set(id, execution);
        this.#send({ type: "execute", id, request, aborted: signal.aborted ? { reason: signal.reason } : null });
      })
      .then(
        (end) => ({ end: end as ExecutionEnd }), // made by the thread's `execute`
        (error: unknown) => ({ error }),
      )
      .then((answer) => {
        execution.answer = answer;
        execution.wake();
      });
    const breathe = createBreather(BREATHE_MS);
    const join = createJoiner();
    /** The last state of the root that was told. */
    let told: string | null = null;
    const abort = (): void => this.#send({ type: "abort", id: executionId, reason: signal.reason });
    signal.addEventListener("abort", abort);
    try {
      for (;;) {
        const { events, size } = execution;
        if (events.length > 0) {
          const taken = events.splice(0);
          execution.size -= size;
          for (const part of taken) {
            const breath = breathe();
            if (breath !== undefined) await breath;
            const event = join(part);
            if (event === undefined) continue;
            if (isRootState(event)) told = event.data;
            yield event;
          }
          this.#send({ type: "took", id: executionId, size }); // 3
        } else if (execution.answer === undefined) {
          await new Promise<void>((resolve) => {
            execution.wake = resolve;
          });
        } else if ("error" in execution.answer) {
          throw execution.answer.error;
        } else {
          return resultOf(execution.answer.end, told);
        }
      }
    } finally {
      signal.removeEventListener("abort", abort);
      this.#executions.delete(executionId);
    }
  }

  /** Ends the thread wherever it is; resolves when it is gone. What goes with it hears of `departure`. */
  async terminate(departure: Departure): Promise<void> {
    this.#departure ??= departure;
    this.#worker.ref(); // whoever ends it waits for its end
    await this.#worker.terminate();
    await this.gone;
  }

  async #ask(message: (id: number) => ToThread): Promise<unknown> {
    if (this.#isGone) throw this.#goneError("");
    let callId = 0;
    try {
      return await this.#questions.ask((id) => {
        callId = id;
        this.#calls.set(id, { label: `call ${id}` });
        this.#send(message(id));
      });
    } finally {
      this.#calls.delete(callId);
    }
  }

  #send(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromThread): void {
    switch (message.type) {
      case "pong":
        this.#isPinged = false;
        this.#missedPings = 0;
        break;
      case "events": {
        const execution = this.#executions.get(message.id);
        if (execution === undefined) break;
        for (const event of message.events) execution.events.push(event);
        execution.size += message.size;
        execution.wake();
        break;
      }
      case "answer":
        this.#questions.answer(message.id, message.answer);
        break;
      case "ask":
        void this.#serve(message);
        break;
      case "asks":
        for (const ask of message.asks) void this.#serve(ask);
        setImmediate(() => this.#send({ type: "took asks" })); // others have had their turn
        break;
      case "log": {
        const { log } = this.#options;
        const write = log[message.level].bind(log) as (...args: unknown[]) => void;
        write(...message.args); // as they were given to a function of the same name
        break;
      }
      case "ready":
        // From here on the gateway's other handles decide how long the process lives, unless somebody waits for its end.
        if (this.#departure === undefined) this.#worker.unref();
        this.#onReady(message.graphs);
        break;
      case "not ready":
        this.#onNotReady(toError(message.error));
        break;
      case "leaving":
        this.#departure ??= {
          culprit: message.label,
          error: { error: "ProcessExit", message: "the graph ended its process (process.exit)" },
        };
        break;
      case "broken":
        this.#departure ??= {
          culprit: null,
          error: { error: "BuiltInBroken", message: `the graph broke ${message.builtIn}, which its thread needs` },
        };
    }
  }

  async #serve({ id, ask }: NumberedAsk): Promise<void> {
    const answer = await answerOf(() => this.#options.serve(ask));
    this.#send({ type: "answer", id, answer });
  }

  /** 2 */
  #leave(code: number): Departure {
    this.#isGone = true;
    const departure = this.#departure ?? {
      culprit: null,
      error: { error: "ThreadExit", message: `the graph's thread ended with code ${code}` },
    };
    const labels = [...this.#executions.values(), ...this.#calls.values()].map(({ label }) => label);
    const [only] = labels;
    const culprit = departure.culprit ?? (labels.length === 1 && only !== undefined ? only : null);
    this.#departure = { ...departure, culprit };
    this.#onNotReady(this.#goneError(""));
    // each hears of it as itself: the same departure, another label
    this.#questions.rejectEach((id) => this.#goneError((this.#executions.get(id) ?? this.#calls.get(id))?.label ?? ""));
    return this.#departure;
  }

  #goneError(label: string): ThreadGoneError {
    const unknown = { culprit: null, error: { error: "ThreadExit", message: "the graph's thread is gone" } };
    return new ThreadGoneError(this.#departure ?? unknown, label);
  }
}

function describeWorkerError(error: unknown): RunError {
  const { code, name, message } = error as {
    readonly code?: string;
    readonly name?: string;
    readonly message?: string;
  };
  if (code === "ERR_WORKER_OUT_OF_MEMORY") {
    return { error: "OutOfMemoryError", message: "the graph's thread ran out of memory" };
  }
  return { error: name ?? "Error", message: message ?? "the graph's thread failed" };
}
