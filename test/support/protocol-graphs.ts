/** Graphs whose event streams the tests know by heart. */

import { SimpleChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk, type BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import { FakeStreamingChatModel } from "@langchain/core/utils/testing";
import {
  Annotation,
  Command,
  END,
  interrupt,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  Send,
  START,
  StateGraph,
  StreamChannel,
} from "@langchain/langgraph";
import { passGate } from "./gates.js";

const list = <T>() => Annotation<T[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

const State = Annotation.Root({
  ...MessagesAnnotation.spec,
  n: Annotation<number>({ reducer: (_, next) => next, default: () => 0 }),
});

const inner = new StateGraph(State)
  .addNode("inner", () => ({ n: 1 }))
  .addEdge(START, "inner")
  .compile();

/** Five tokens, a subgraph, a word of its own and a question: the graph of the golden transcript. */
export const transcript = new StateGraph(State)
  .addNode("llm", async ({ messages }) => {
    const model = new FakeStreamingChatModel({ responses: [new AIMessage("hello")] });
    return { messages: [await model.invoke(messages)] };
  })
  .addNode("sub", inner)
  .addNode("ask", (_state, config: LangGraphRunnableConfig) => {
    config.writer?.({ progress: 1 });
    const answer = interrupt({ q: "go on?" });
    return { messages: [new AIMessage({ content: `ans ${answer}`, id: "ans" })] };
  })
  .addEdge(START, "llm")
  .addEdge("llm", "sub")
  .addEdge("sub", "ask")
  .compile();

const Answers = Annotation.Root({ answers: list<string>() });

const asking = new StateGraph(Answers)
  .addNode("inside", () => ({ answers: [String(interrupt({ from: "inside" }))] }))
  .addEdge(START, "inside")
  .compile();

/** A question from a graph inside. */
export const nestedQuestion = new StateGraph(Answers).addNode("outside", asking).addEdge(START, "outside").compile();

/** Two questions at once. */
export const questions = new StateGraph(Answers)
  .addNode("left", () => ({ answers: [`left ${interrupt("left?")}`] }))
  .addNode("right", () => ({ answers: [`right ${interrupt("right?")}`] }))
  .addEdge(START, "left")
  .addEdge(START, "right")
  .compile();

const Work = Annotation.Root({
  done: list<string>(),
  item: Annotation<string>({ reducer: (_, next) => next, default: () => "" }),
});

const worker = new StateGraph(Work)
  .addNode("work", ({ item }, config: LangGraphRunnableConfig) => {
    config.writer?.({ name: "step", payload: item });
    return { done: [item] };
  })
  .addEdge(START, "work")
  .compile();

/** Three graphs side by side. */
export const fan = new StateGraph(Work)
  .addNode("split", () => ({}))
  .addNode("worker", worker)
  .addEdge(START, "split")
  .addConditionalEdges("split", () => ["a", "b", "c"].map((item) => new Send("worker", { item })))
  .addEdge("worker", END)
  .compile();

/** Counts the protocol's message events on a channel of its own, and says the sum at the end. */
function counting() {
  const counts = StreamChannel.remote<number>("counts");
  let count = 0;
  let tell: (sum: number) => void;
  const sum = new Promise<number>((resolve) => {
    tell = resolve;
  });
  return {
    init: () => ({ counts, sum }),
    process(event: { method: string }) {
      if (event.method === "messages") counts.push(++count);
      return true;
    },
    finalize: () => tell(count),
  };
}

function failing() {
  return {
    init: () => ({}),
    process(): boolean {
      throw new Error("a transformer that fails");
    },
  };
}

/** A model, and stream transformers of its own: one that works, one that fails. */
export const transformed = new StateGraph(MessagesAnnotation)
  .addNode("llm", async ({ messages }) => {
    const model = new FakeStreamingChatModel({ responses: [new AIMessage("hey")] });
    return { messages: [await model.invoke(messages)] };
  })
  .addEdge(START, "llm")
  .compile({ transformers: [counting, failing] });
/** A question, while its neighbour is busy until `gate` opens. */
export const hasty = new StateGraph(Answers)
  .addNode("ask", () => ({ answers: [String(interrupt("now?"))] }))
  .addNode("busy", async (_state, { configurable, signal }: LangGraphRunnableConfig) => {
    await passGate(configurable?.gate, signal);
    return { answers: ["busy"] };
  })
  .addEdge(START, "ask")
  .addEdge(START, "busy")
  .compile();

/** A question that is asked when `gate` opens. */
export const patient = new StateGraph(Answers)
  .addNode("ask", async (_state, { configurable, signal }: LangGraphRunnableConfig) => {
    await passGate(configurable?.gate, signal);
    return { answers: [String(interrupt("well?"))] };
  })
  .addEdge(START, "ask")
  .compile();

/** Breaks off behind its second word. */
class Stumbling extends SimpleChatModel {
  _llmType(): string {
    return "stumbling";
  }

  async _call(): Promise<string> {
    throw new RangeError("lost for words");
  }

  override async *_streamResponseChunks(
    _messages: BaseMessage[],
    _options: this["ParsedCallOptions"],
    runManager?: { handleLLMNewToken(text: string, ...rest: unknown[]): Promise<unknown> },
  ): AsyncGenerator<ChatGenerationChunk> {
    for (const text of ["one", " two"]) {
      const chunk = new ChatGenerationChunk({ text, message: new AIMessageChunk(text) });
      yield chunk;
      await runManager?.handleLLMNewToken(text, undefined, undefined, undefined, undefined, { chunk });
    }
    throw new RangeError("lost for words");
  }
}

const stumbling = new StateGraph(MessagesAnnotation)
  .addNode("say", async ({ messages }) => ({ messages: [await new Stumbling({}).invoke(messages)] }))
  .addEdge(START, "say")
  .compile();

/** A model that fails in mid-message, in a graph inside. */
export const stumble = new StateGraph(MessagesAnnotation)
  .addNode("inside", stumbling)
  .addEdge(START, "inside")
  .compile();

const passing = new StateGraph(MessagesAnnotation)
  .addNode("pass", () => new Command({ goto: "other", graph: Command.PARENT }))
  .addEdge(START, "pass")
  .compile();

/** A graph inside hands over to its parent's other node. */
export const relay = new StateGraph(MessagesAnnotation)
  .addNode("inside", passing, { ends: ["other"] })
  .addNode("other", () => ({ messages: [new AIMessage({ content: "taken over", id: "other" })] }))
  .addEdge(START, "inside")
  .compile();
