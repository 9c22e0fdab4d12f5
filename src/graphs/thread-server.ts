/**
 * A graph thread's side of the conversation: does with its own host what the main thread asks for.
 *
 * 1. Everything that runs user code runs under a label, so that the main thread can ask whose code keeps the thread busy
 *    even when it is too busy to answer.
 * 2. What comes out of a thread whose built-ins are broken says nothing about who made it: no answer leaves it.
 */
import type { MessagePort } from "node:worker_threads";
import { toPlain } from "../core/json.js";
import type { Log } from "../core/log.js";
import { createAskOutbox } from "./ask-outbox.js";
import type { Blame } from "./blame.js";
import { createEventOutbox, type EventOutbox, partsOf } from "./event-outbox.js";
import type { GraphHost } from "./host.js";
import type { GraphRegistry } from "./registry.js";
import { createSelfCheck } from "./self-check.js";
import {
  type Answer,
  answerOf,
  type Call,
  type FromThread,
  isRootState,
  type LocatedGraph,
  Questions,
  type ToThread,
  toEnd,
} from "./thread-messages.js";

export interface ThreadLine {
  send(message: FromThread): void;
  /** Asks the main thread for something and resolves with its answer; `given` is memory that goes there instead of a copy. */
  ask(ask: unknown, given?: readonly ArrayBuffer[]): Promise<unknown>;
  /** Writes to the main thread's log. */
  readonly log: Log;
  /** From now on `host` does what is asked for. */
  serve(host: GraphHost, registry: GraphRegistry): void;
}

/** Where the inspector finds the label of the code that runs. */
export const LABEL_EXPRESSION = "globalThis[Symbol.for('heddle.label')]?.() ?? null";

const NOTHING: readonly ArrayBuffer[] = [];

export function openThreadLine(port: MessagePort, blame: Blame): ThreadLine {
  const questions = new Questions();
  const executions = new Map<number, { readonly stop: AbortController; readonly outbox: EventOutbox }>();
  const send = (message: FromThread, given: readonly ArrayBuffer[] = []): void => port.postMessage(message, given);
  const asks = createAskOutbox({
    one: ({ id, ask, given }) => send({ type: "ask", id, ask }, given),
    group: (group) =>
      send(
        { type: "asks", asks: group.map(({ id, ask }) => ({ id, ask })) },
        group.flatMap(({ given }) => given),
      ),
    failed: (id, error) => questions.fail(id, error),
  });
  let brokenBuiltIn = (): string | null => null;

  Object.defineProperty(globalThis, Symbol.for("heddle.label"), { value: () => blame.current()?.label ?? null });
  const exit = process.exit.bind(process);
  process.exit = (code) => {
    send({ type: "leaving", label: blame.current()?.label ?? null });
    return exit(code);
  };

  /** Ends the thread instead of saying anything more when it is broken (2). */
  function sendIfSound(message: FromThread): void {
    const builtIn = brokenBuiltIn();
    if (builtIn === null) {
      send(message);
    } else {
      send({ type: "broken", builtIn });
      exit(1);
    }
  }

  const answer = (id: number, value: Answer): void => sendIfSound({ type: "answer", id, answer: value });

  async function call(host: GraphHost, id: number, { method, args }: Call): Promise<void> {
    const label = `call ${id}`;
    const run = host[method] as (...args: unknown[]) => unknown; // a call's args are its method's
    answer(id, await answerOf(() => blame.attribute({ label, fail() {} }, () => run(...args))));
  }

  async function execute(
    host: GraphHost,
    { id, request, aborted }: Extract<ToThread, { type: "execute" }>,
  ): Promise<void> {
    const stop = new AbortController();
    if (aborted !== null) stop.abort(aborted.reason);
    const outbox = createEventOutbox((events, size) => send({ type: "events", id, events, size }));
    executions.set(id, { stop, outbox });
    let told: string | undefined;
    const ended = await answerOf(async () => {
      const events = host.execute(request, stop.signal);
      for (;;) {
        const step = await events.next();
        if (step.done === true) return toEnd(step.value, told);
        if (isRootState(step.value)) told = step.value.data;
        for (const part of partsOf(step.value)) {
          const room = outbox.add(part);
          if (room !== undefined) await room;
        }
      }
    });
    executions.delete(id);
    outbox.flush();
    answer(id, ended);
  }

  async function reload(registry: GraphRegistry, id: number, graphId: string): Promise<void> {
    const reloaded = await answerOf(async () => {
      await registry.reload(graphId);
      return locatedGraphs(registry);
    });
    answer(id, reloaded);
  }

  function serve(host: GraphHost, registry: GraphRegistry): void {
    brokenBuiltIn = createSelfCheck();
    port.on("message", (message: ToThread) => {
      switch (message.type) {
        case "ping":
          sendIfSound({ type: "pong" });
          break;
        case "answer":
          questions.answer(message.id, message.answer);
          break;
        case "took asks":
          asks.took();
          break;
        case "took":
          executions.get(message.id)?.outbox.took(message.size);
          break;
        case "abort":
          executions.get(message.id)?.stop.abort(message.reason);
          break;
        case "execute":
          void execute(host, message);
          break;
        case "call":
          void call(host, message.id, message.call);
          break;
        case "reload":
          void reload(registry, message.id, message.graphId);
      }
    });
  }

  return {
    send,
    ask: (ask, given = NOTHING) => questions.ask((id) => asks.add({ id, ask, given })),
    log: remoteLog(send),
    serve,
  };
}

export function locatedGraphs(registry: GraphRegistry): readonly LocatedGraph[] {
  return registry.graphs().map((info) => ({ ...info, file: registry.file(info.graphId) }));
}

function remoteLog(send: (message: FromThread) => void): Log {
  const at =
    (level: "debug" | "info" | "warn" | "error") =>
    (...args: unknown[]): void =>
      send({ type: "log", level, args: args.map(loggable) });
  // the four functions take what pino's take: fields and a text
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } as Log;
}

/** Errors keep their stacks; anything else crosses as JSON shows it. */
function loggable(argument: unknown): unknown {
  if (typeof argument !== "object" || argument === null) return argument;
  const { err, ...fields } = argument as { readonly err?: unknown };
  if (!(err instanceof Error)) return toPlain(argument);
  return { ...(toPlain(fields) as object), err: { type: err.name, message: err.message, stack: err.stack } };
}
