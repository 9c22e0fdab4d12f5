/**
 * Short words from process to process, without any promise that they arrive: one channel, which every process hears.
 *
 * 1. What is said in one turn of the event loop leaves as one message, each word once.
 * 2. Who said it does not hear it.
 * 3. Whoever may have missed something is told so, for that is all that can be known.
 */
import type { Clock } from "../core/clock.js";
import type { RedisLink } from "./redis-link.js";

/** A signal's topic, a thread that changed, a run whose log was dropped. */
export type HintKind = "topic" | "thread" | "dropped";

export interface RedisHints {
  send(kind: HintKind, name: string): void;
  /** `onDoubt` is called when some may have been missed: now and then while Redis is away, and when it is back. */
  on(kind: HintKind, listener: (name: string) => void, onDoubt?: () => void): () => void;
}

export interface RedisHintsDeps {
  readonly link: RedisLink;
  readonly channel: string;
  /** Of this process, and no other. */
  readonly processId: string;
  readonly clock: Clock;
}

/** What is kept to be said when Redis is back; who missed more is told as one who may have. */
const MAX_KEPT = 10_000;
const EVERYTHING = "*";
const DOUBT_MS = 10_000;

interface Listener {
  readonly listener: (name: string) => void;
  readonly onDoubt: () => void;
}

export function createRedisHints({ link, channel, processId, clock }: RedisHintsDeps): RedisHints {
  const listeners: Record<HintKind, Set<Listener>> = { topic: new Set(), thread: new Set(), dropped: new Set() };
  let unsent = new Set<string>();
  let isFlushScheduled = false;
  let forgetDoubt = (): void => {};

  function flush(): void {
    isFlushScheduled = false;
    if (link.session === undefined || unsent.size === 0) return;
    const message = [processId, ...unsent].join("\n");
    unsent = new Set();
    void link.ask(({ commands }) => commands.publish(channel, message));
  }

  function hear(message: string): void {
    const [sender, ...words] = message.split("\n");
    if (sender === processId) return;
    for (const word of words) {
      if (word === EVERYTHING) {
        doubt();
        continue;
      }
      const space = word.indexOf(" ");
      const kind = word.slice(0, space);
      if (!isKind(kind)) continue; // a later version says it
      for (const { listener } of [...listeners[kind]]) listener(word.slice(space + 1));
    }
  }

  function isKind(kind: string): kind is HintKind {
    return Object.hasOwn(listeners, kind);
  }

  /** 3 */
  function doubt(): void {
    for (const all of Object.values(listeners)) for (const { onDoubt } of [...all]) onDoubt();
  }

  function doubtLater(): void {
    forgetDoubt = clock.after(DOUBT_MS, () => {
      doubt();
      if (!link.isClosed) doubtLater();
    });
  }

  link.onMessage(hear);
  let wasAway = false;
  link.onChange((session) => {
    forgetDoubt();
    if (session === undefined) {
      wasAway = true;
      return doubtLater();
    }
    if (wasAway) doubt();
    flush();
  });

  return {
    send(kind, name) {
      if (unsent.size >= MAX_KEPT) unsent = new Set([EVERYTHING]);
      unsent.add(`${kind} ${name}`);
      if (isFlushScheduled) return;
      isFlushScheduled = true;
      setImmediate(flush);
    },
    on(kind, listener, onDoubt = () => {}) {
      const entry = { listener, onDoubt };
      listeners[kind].add(entry);
      return () => listeners[kind].delete(entry);
    },
  };
}
