/** Toy graphs, one per behaviour. They run offline; what they wait for is released by their input or their abort. */

import { SimpleChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk, type BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import {
  Annotation,
  Command,
  END,
  interrupt,
  type LangGraphRunnableConfig,
  MemorySaver,
  MessagesAnnotation,
  Send,
  START,
  StateGraph,
} from "@langchain/langgraph";

const last = <T>(initial: T) => Annotation<T>({ reducer: (_, next) => next, default: () => initial });
const list = <T>() => Annotation<T[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

/** Answers with the last message's text. */
export const echo = new StateGraph(MessagesAnnotation)
  .addNode("echo", ({ messages }) => ({ messages: [new AIMessage(`echo: ${messages.at(-1)?.text ?? ""}`)] }))
  .addEdge(START, "echo")
  .addEdge("echo", END)
  .compile();

/** Streams the words of the last message back, one per `delay_ms`; stops when it is told to. */
class WordModel extends SimpleChatModel {
  _llmType(): string {
    return "words";
  }

  async _call(messages: BaseMessage[]): Promise<string> {
    return messages.at(-1)?.text ?? "";
  }

  override async *_streamResponseChunks(
    messages: BaseMessage[],
    options: this["ParsedCallOptions"] & { delayMs?: number },
    runManager?: { handleLLMNewToken(text: string, ...rest: unknown[]): Promise<unknown> },
  ): AsyncGenerator<ChatGenerationChunk> {
    const words = (messages.at(-1)?.text ?? "").split(" ");
    for (const [index, word] of words.entries()) {
      await pause(options.delayMs ?? 0, options.signal);
      const text = index === 0 ? word : ` ${word}`;
      const chunk = new ChatGenerationChunk({ text, message: new AIMessageChunk(text) });
      yield chunk;
      await runManager?.handleLLMNewToken(text, undefined, undefined, undefined, undefined, { chunk });
    }
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop); // a stream waits many times on one signal
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop);
  });
}

const model = new WordModel({});

export const chat = new StateGraph(MessagesAnnotation)
  .addNode("llm", async ({ messages }, config: LangGraphRunnableConfig) => {
    const delayMs = Number(config.configurable?.delay_ms ?? 0);
    return { messages: [await model.invoke(messages, { ...config, delayMs } as never)] };
  })
  .addNode("after", () => ({}))
  .addEdge(START, "llm")
  .addEdge("llm", "after")
  .addEdge("after", END)
  .compile();

const Answers = Annotation.Root({ question: last<string>("Go on?"), answers: list<unknown>() });

/** Asks `question`, keeps the answer. */
export const approval = new StateGraph(Answers)
  .addNode("ask", ({ question }) => ({ answers: [interrupt({ question })] }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();

/** Two branches that ask, the first of them twice. */
export const twoApprovals = new StateGraph(Answers)
  .addNode("a", () => ({ answers: [`a:${String(interrupt("a1"))}`, `a:${String(interrupt("a2"))}`] }))
  .addNode("b", () => ({ answers: [`b:${String(interrupt("b1"))}`] }))
  .addNode("join", () => ({ answers: ["joined"] }))
  .addEdge(START, "a")
  .addEdge(START, "b")
  .addEdge(["a", "b"], "join")
  .addEdge("join", END)
  .compile();

const Steps = Annotation.Root({ input: last<unknown>(null), steps: list<string>() });

/** One step, then waits for ever or for its abort. */
export const slow = new StateGraph(Steps)
  .addNode("first", () => ({ steps: ["first"] }))
  .addNode("wait", async (_state, config: LangGraphRunnableConfig) => {
    await pause(3_600_000, config.signal);
    return { steps: ["waited"] };
  })
  .addEdge(START, "first")
  .addEdge("first", "wait")
  .addEdge("wait", END)
  .compile();

/** Ignores its abort for 300 ms and writes then. */
export const stubborn = new StateGraph(Steps)
  .addNode("work", async (_state, config: LangGraphRunnableConfig) => {
    config.writer?.({ working: true });
    await pause(300);
    config.writer?.({ late: true });
    return { steps: ["late"] };
  })
  .addEdge(START, "work")
  .addEdge("work", END)
  .compile();

export const failing = new StateGraph(Steps)
  .addNode("first", () => ({ steps: ["first"] }))
  .addNode("fail", () => {
    throw new RangeError("out of range");
  })
  .addEdge(START, "first")
  .addEdge("first", "fail")
  .addEdge("fail", END)
  .compile();

/** Counts its runs in the state and keeps what it was told through config and context. */
const Counter = Annotation.Root({
  count: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }),
  seen: last<unknown>(null),
});

export const counter = new StateGraph(Counter)
  .addNode("add", (_state, config: LangGraphRunnableConfig) => ({
    count: 1,
    seen: { configurable: publicKeys(config.configurable ?? {}), context: config.context ?? null },
  }))
  .addEdge(START, "add")
  .addEdge("add", END)
  .compile();

function publicKeys(configurable: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(configurable).filter(([key]) => !key.startsWith("__") && !key.startsWith("checkpoint")),
  );
}

const inner = new StateGraph(Steps)
  .addNode("inner", async ({ input }, config: LangGraphRunnableConfig) => {
    if (input === "wait") await pause(3_600_000, config.signal);
    if (input === "ask") return { steps: [`inner:${String(interrupt("inner?"))}`] };
    return { steps: ["inner"] };
  })
  .addEdge(START, "inner")
  .addEdge("inner", END)
  .compile();

const middle = new StateGraph(Steps).addNode("middle", inner).addEdge(START, "middle").addEdge("middle", END).compile();

export const nested = new StateGraph(Steps)
  .addNode("outer", () => ({ steps: ["outer"] }))
  .addNode("sub", middle)
  .addEdge(START, "outer")
  .addEdge("outer", "sub")
  .addEdge("sub", END)
  .compile();

const Branches = Annotation.Root({ topics: last<string[]>([]), reports: list<string>() });

export const parallel = new StateGraph(Branches)
  .addNode("plan", () => ({ topics: ["x", "y", "z"] }))
  .addNode("branch", (state: { topic: string }) => ({ reports: [state.topic] }))
  .addNode("join", ({ reports }) => ({ reports: [`${reports.length} reports`] }))
  .addEdge(START, "plan")
  .addConditionalEdges("plan", ({ topics }) => topics.map((topic) => new Send("branch", { topic })))
  .addEdge("branch", "join")
  .addEdge("join", END)
  .compile();

export const custom = new StateGraph(Steps)
  .addNode("work", (_state, config: LangGraphRunnableConfig) => {
    for (let index = 0; index < 3; index++) config.writer?.({ progress: index });
    return { steps: ["worked"] };
  })
  .addEdge(START, "work")
  .addEdge("work", END)
  .compile();

/** Three steps in a row, for breakpoints and commands. */
export const breakpoints = new StateGraph(Steps)
  .addNode("one", () => ({ steps: ["one"] }))
  .addNode("two", () => ({ steps: ["two"] }))
  .addNode("three", () => ({ steps: ["three"] }))
  .addEdge(START, "one")
  .addEdge("one", "two")
  .addEdge("two", "three")
  .addEdge("three", END)
  .compile();

/** Returns or throws what JSON has no word for, as its input says. */
export const hostile = new StateGraph(Steps)
  .addNode("strike", ({ input }) => {
    switch (input) {
      case "throw undefined":
        throw undefined;
      case "throw string":
        throw "just a string";
      case "throw circular":
        throw circular();
      case "bigint":
        return { input: 10n };
      case "nan":
        return { input: [Number.NaN, Number.POSITIVE_INFINITY] };
      case "circular":
        return { input: circular() };
      case "nul":
        return { input: "a\u0000b\ud800c" };
      case "function":
        return { input: { f: () => 1, kept: true } };
      default:
        return { input: nestedArrays(Number(input)) };
    }
  })
  .addEdge(START, "strike")
  .addEdge("strike", END)
  .compile();

function circular(): Record<string, unknown> {
  const value: Record<string, unknown> = { name: "circular" };
  value.self = value;
  return value;
}

function nestedArrays(depth: number): unknown {
  let value: unknown = "bottom";
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

export const ownSaver = new StateGraph(Steps)
  .addNode("one", () => ({ steps: ["one"] }))
  .addEdge(START, "one")
  .addEdge("one", END)
  .compile({ checkpointer: new MemorySaver() });

/** A graph per configuration. */
export function factory(config: LangGraphRunnableConfig) {
  const name = String(config.configurable?.flavour ?? "plain");
  return new StateGraph(Steps)
    .addNode("make", () => ({ steps: [name] }))
    .addEdge(START, "make")
    .addEdge("make", END)
    .compile();
}

/** Goes where a command sends it. */
export const deep = new StateGraph(Steps)
  .addNode("start", () => new Command({ goto: "end", update: { steps: ["start"] } }), { ends: ["end"] })
  .addNode("end", () => ({ steps: ["end"] }))
  .addEdge(START, "start")
  .compile();
