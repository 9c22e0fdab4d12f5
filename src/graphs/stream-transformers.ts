/**
 * A graph's own stream transformers, which LangGraph runs in its event path only: they see the run as events of the
 * protocol, and say more on channels of their own. What they say goes to the run's log, behind the chunk that made them say it.
 *
 * 1. They observe. An event that one of them would drop stays in the log, which REST reads too.
 * 2. One that fails is told of the failure and asked no more; the run goes on without it.
 */
import { convertToProtocolEvent } from "@langchain/langgraph/stream";
import { toJson } from "../core/json.js";
import type { Log } from "../core/log.js";
import { createMessageProjection } from "../protocol/messages.js";
import type { GraphChunk } from "./chunks.js";
import type { GraphEvent } from "./host.js";

/** What heddle uses of LangGraph's `StreamTransformer`, whichever copy of the library made it. */
export interface StreamTransformer {
  init(): unknown;
  onRegister?(emitter: { push(namespace: readonly string[], event: TransformedEvent): void }): void;
  process(event: TransformedEvent): unknown;
  finalize?(): unknown;
  fail?(error: unknown): void;
}

export interface TransformedEvent {
  readonly type: "event";
  readonly seq: number;
  readonly method: string;
  readonly params: {
    readonly namespace: readonly string[];
    readonly timestamp: number;
    readonly node?: string;
    readonly data: unknown;
  };
}

export interface TransformerStream {
  /** What they say to a chunk, of which `logged` is what the log has. */
  push(chunk: GraphChunk, logged: readonly GraphEvent[]): readonly GraphEvent[];
  /** The graph came to its end; resolves with their last words. */
  end(): Promise<readonly GraphEvent[]>;
  fail(error: unknown): void;
}

export function createTransformerStream(factories: readonly (() => StreamTransformer)[], log: Log): TransformerStream {
  const messages = createMessageProjection();
  const lastWords: (readonly [name: string, value: PromiseLike<unknown>])[] = [];
  let said: GraphEvent[] = [];
  let namespace: readonly string[] = [];
  let seq = 0;

  function say(event: string, place: readonly string[], data: unknown): void {
    said.push({ event, namespace: place, data: toJson(data) });
  }

  const emitter = {
    push(place: readonly string[], { method, params }: TransformedEvent): void {
      if (method === "lifecycle") say("#cause", place, (params.data as { readonly cause?: unknown }).cause ?? null);
      else say("#said", place, { method, node: params.node, data: params.data });
    },
  };

  function open(factory: () => StreamTransformer): StreamTransformer {
    const transformer = factory();
    transformer.onRegister?.(emitter);
    for (const [name, value] of Object.entries(transformer.init() ?? {})) {
      if (isChannel(value)) value._wire((item) => say(`#channel:${value.channelName}`, namespace, item));
      else if (isPromise(value)) lastWords.push([name, value]);
    }
    return transformer;
  }

  let transformers = attempt(factories, open);

  /** 2 */
  function attempt<T, R>(all: readonly T[], work: (each: T) => R): R[] {
    return all.flatMap((each) => {
      try {
        return [work(each)];
      } catch (error) {
        log.warn({ err: error }, "a stream transformer of a graph failed");
        return [];
      }
    });
  }

  function process(event: Pick<TransformedEvent, "method" | "params">): void {
    namespace = event.params.namespace;
    transformers = attempt(transformers, (transformer) => {
      try {
        transformer.process({ type: "event", seq: seq++, ...event });
      } catch (error) {
        transformer.fail?.(error);
        throw error;
      }
      return transformer;
    });
  }

  function taken(): readonly GraphEvent[] {
    const all = said;
    said = [];
    return all;
  }

  return {
    push(chunk, logged) {
      for (const { method, params } of eventsOf(chunk)) process({ method, params });
      for (const { event, data } of logged) {
        const streamed =
          event === "messages" || event === "#messages"
            ? messages.tuple(data)
            : event === "#message-end"
              ? messages.finish(JSON.parse(data) as string)
              : [];
        for (const { namespace: place, node, data: message } of streamed) {
          process({
            method: "messages",
            params: { namespace: place, timestamp: Date.now(), ...(node === undefined ? {} : { node }), data: message },
          });
        }
      }
      return taken();
    },

    async end() {
      await Promise.all(attempt(transformers, (transformer) => transformer.finalize?.()));
      const values = await Promise.allSettled(lastWords.map(([, value]) => value));
      for (const [index, value] of values.entries()) {
        if (value.status === "fulfilled") say(`#channel:${lastWords[index]?.[0]}`, [], value.value);
      }
      return taken();
    },

    fail(error) {
      attempt(transformers, (transformer) => transformer.fail?.(error));
    },
  };
}

/** But for messages, which transformers see as the protocol tells them. */
function eventsOf({ namespace, mode, payload }: GraphChunk): readonly Pick<TransformedEvent, "method" | "params">[] {
  return mode === "messages"
    ? []
    : convertToProtocolEvent({ namespace: [...namespace], mode, payload, seq: 0 } as never); // modes are LangGraph's own
}

interface Channel {
  readonly channelName: string;
  _wire(onItem: (item: unknown) => void): void;
}

/** A named `StreamChannel`: its mark is a registered symbol, the same in every copy of LangGraph. */
function isChannel(value: unknown): value is Channel {
  return (
    typeof value === "object" &&
    value !== null &&
    Symbol.for("langgraph.stream_channel") in value &&
    "channelName" in value &&
    typeof value.channelName === "string" &&
    "_wire" in value &&
    typeof value._wire === "function"
  );
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
