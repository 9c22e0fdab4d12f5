/** Graphs whose events can be counted: what a reader got shows whether anything was lost, repeated or out of order. */
import { setTimeout as pause, setImmediate as turn } from "node:timers/promises";
import { SimpleChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessageChunk, type BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const last = <T>(initial: T) => Annotation<T>({ reducer: (_, next) => next, default: () => initial });

interface Numbers {
  readonly from: number;
  readonly to: number;
  readonly delayMs: number;
}

/** Says numbers, each as a token `<n>,`. */
class Counter extends SimpleChatModel {
  _llmType(): string {
    return "counter";
  }

  async _call(_messages: BaseMessage[], options: this["ParsedCallOptions"] & { numbers?: Numbers }): Promise<string> {
    const { from, to } = numbersOf(options);
    return Array.from({ length: to - from }, (_, index) => `${from + index},`).join("");
  }

  override async *_streamResponseChunks(
    _messages: BaseMessage[],
    options: this["ParsedCallOptions"] & { numbers?: Numbers },
    runManager?: { handleLLMNewToken(text: string, ...rest: unknown[]): Promise<unknown> },
  ): AsyncGenerator<ChatGenerationChunk> {
    const { from, to, delayMs } = numbersOf(options);
    for (let n = from; n < to; n++) {
      await (delayMs > 0 ? pause(delayMs, undefined, { signal: options.signal }) : turn());
      const text = `${n},`;
      const chunk = new ChatGenerationChunk({ text, message: new AIMessageChunk(text) });
      await runManager?.handleLLMNewToken(text, undefined, undefined, undefined, undefined, { chunk });
      yield chunk;
    }
  }
}

function numbersOf({ numbers }: { readonly numbers?: Numbers }): Numbers {
  if (numbers === undefined) throw new Error("nobody said from where to where to count");
  return numbers;
}

const Counted = Annotation.Root({
  rounds: last(0),
  tokensPerRound: last(0),
  delayMs: last(0),
  round: last(0),
  /** How many numbers the rounds that are done have said. */
  said: last(0),
});

const counter = new Counter({});

/**
 * Counts from 0 to `rounds × tokensPerRound` as tokens, a superstep for each round; each round says its number as a custom
 * event before it and after it.
 */
export const count = new StateGraph(Counted)
  .addNode("say", async (state, config: LangGraphRunnableConfig) => {
    const to = state.said + state.tokensPerRound;
    const numbers: Numbers = { from: state.said, to, delayMs: state.delayMs };
    config.writer?.({ custom: state.round * 2 });
    await counter.invoke([], { ...config, numbers } as never); // the options of a call are the model's own
    config.writer?.({ custom: state.round * 2 + 1 });
    return { round: state.round + 1, said: to };
  })
  .addEdge(START, "say")
  .addConditionalEdges("say", ({ round, rounds }) => (round < rounds ? "say" : END), ["say", END])
  .compile();

/** Says `events` events of `chars` characters, and lets the event loop turn after every `perTurn` of them. */
export const pour = new StateGraph(Annotation.Root({ events: last(0), chars: last(0), perTurn: last(1) }))
  .addNode("pour", async ({ events, chars, perTurn }, { writer }: LangGraphRunnableConfig) => {
    const text = "x".repeat(chars);
    for (let index = 0; index < events; index++) {
      writer?.({ index, text });
      if (index % perTurn === perTurn - 1) await turn();
    }
    return {};
  })
  .addEdge(START, "pour")
  .addEdge("pour", END)
  .compile();
