/** Toy graphs for runs and streams. Most wait at gates (`gates.ts`) that their test names in the configurable. */
import { SimpleChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk, type BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import { tool } from "@langchain/core/tools";
import {
  Annotation,
  END,
  entrypoint,
  interrupt,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { passGate } from "./gates.js";

const last = <T>(initial: T) => Annotation<T>({ reducer: (_, next) => next, default: () => initial });
const list = <T>() => Annotation<T[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
const Steps = Annotation.Root({ input: last<unknown>(null), steps: list<string>() });

/** before → waits at `gate` → after */
export const gated = new StateGraph(Steps)
  .addNode("before", () => ({ steps: ["before"] }))
  .addNode("gate", async (_state, { configurable, signal }: LangGraphRunnableConfig) => {
    await passGate(configurable?.gate, signal);
    return { steps: ["gate"] };
  })
  .addNode("after", () => ({ steps: ["after"] }))
  .addEdge(START, "before")
  .addEdge("before", "gate")
  .addEdge("gate", "after")
  .addEdge("after", END)
  .compile();

/**
 * Streams the words of the last message; before word number `hold_at` it waits at `gate`. With `calls_tool` it starts to
 * call a tool before it waits.
 */
class Speaker extends SimpleChatModel {
  _llmType(): string {
    return "speaker";
  }

  async _call(messages: BaseMessage[]): Promise<string> {
    return messages.at(-1)?.text ?? "";
  }

  override async *_streamResponseChunks(
    messages: BaseMessage[],
    options: this["ParsedCallOptions"] & { speech?: Record<string, unknown> },
    runManager?: { handleLLMNewToken(text: string, ...rest: unknown[]): Promise<unknown> },
  ): AsyncGenerator<ChatGenerationChunk> {
    const { gate, hold_at: holdAt, calls_tool: callsTool } = options.speech ?? {};
    const words = (messages.at(-1)?.text ?? "").split(" ");
    const say = async (message: AIMessageChunk, text: string) => {
      const chunk = new ChatGenerationChunk({ text, message });
      await runManager?.handleLLMNewToken(text, undefined, undefined, undefined, undefined, { chunk });
      return chunk;
    };
    for (const [index, word] of words.entries()) {
      if (index === holdAt) {
        if (callsTool === true) {
          const call = { name: "search", args: '{"q":', id: "call-1", index: 0, type: "tool_call_chunk" as const };
          yield await say(new AIMessageChunk({ content: "", tool_call_chunks: [call] }), "");
        }
        await passGate(gate, options.signal);
      }
      const text = index === 0 ? word : ` ${word}`;
      yield await say(new AIMessageChunk(text), text);
    }
  }
}

const speaker = new Speaker({});
const speak = async ({ messages }: typeof MessagesAnnotation.State, config: LangGraphRunnableConfig) => ({
  messages: [await speaker.invoke(messages, { ...config, speech: config.configurable } as never)],
});

/** A chat: llm → after */
export const talk = new StateGraph(MessagesAnnotation)
  .addNode("llm", speak)
  .addNode("after", () => ({}))
  .addEdge(START, "llm")
  .addEdge("llm", "after")
  .addEdge("after", END)
  .compile();

/** Never knows where to go from what it said. */
export const lostTalk = new StateGraph(MessagesAnnotation)
  .addNode("llm", speak)
  .addEdge(START, "llm")
  .addConditionalEdges("llm", () => new Promise<typeof END>(() => {}))
  .compile();

/** Two that speak at the same time. */
export const duet = new StateGraph(MessagesAnnotation)
  .addNode("alto", speak)
  .addNode("bass", speak)
  .addEdge(START, "alto")
  .addEdge(START, "bass")
  .addEdge("alto", END)
  .addEdge("bass", END)
  .compile();

const innerTalk = new StateGraph(MessagesAnnotation)
  .addNode("speak", async (state, config: LangGraphRunnableConfig) => {
    config.writer?.({ from: "inner" });
    return speak(state, config);
  })
  .addEdge(START, "speak")
  .addEdge("speak", END)
  .compile();

/** One that speaks in a subgraph, between two that write events of their own. */
export const choir = new StateGraph(MessagesAnnotation)
  .addNode("open", (_state, config: LangGraphRunnableConfig) => {
    config.writer?.({ from: "root" });
    return {};
  })
  .addNode("sub", innerTalk)
  .addEdge(START, "open")
  .addEdge("open", "sub")
  .addEdge("sub", END)
  .compile();

const Story = Annotation.Root({ ...MessagesAnnotation.spec, n: last(0), answer: last<unknown>(null) });

const storyPart = new StateGraph(Story)
  .addNode("inner", () => ({ n: 1 }))
  .addEdge(START, "inner")
  .addEdge("inner", END)
  .compile();

/** The graph of api.md's annex A: speaks five tokens, enters a subgraph, reports, asks. */
export const story = new StateGraph(Story)
  .addNode("llm", async (_state, config: LangGraphRunnableConfig) => ({
    messages: [await speaker.invoke([new AIMessage("h e l l o")], config as never)],
  }))
  .addNode("sub", storyPart)
  .addNode("ask", (_state, config: LangGraphRunnableConfig) => {
    config.writer?.({ progress: 1 });
    return { answer: interrupt({ q: "Go on?" }) };
  })
  .addEdge(START, "llm")
  .addEdge("llm", "sub")
  .addEdge("sub", "ask")
  .addEdge("ask", END)
  .compile();

/** Waits at the gate that it is told, and says what became of its signal. */
const wait = tool(
  async ({ gate, mood }: { gate: string; mood: string }, { signal }) => {
    try {
      await passGate(gate, signal);
    } catch (error) {
      openGateOfAbort(gate);
      throw error;
    }
    if (mood === "bad") throw new RangeError("the tool is in a bad mood");
    return `waited at ${gate}`;
  },
  {
    name: "wait",
    description: "Waits",
    schema: {
      type: "object",
      properties: { gate: { type: "string" }, mood: { type: "string" } },
      required: ["gate", "mood"],
    },
  },
);

/** The test sees at the gate `<name>:aborted` that the signal reached the tool. */
function openGateOfAbort(name: string): void {
  void passGate(`${name}:aborted`);
}

const tools = new StateGraph(MessagesAnnotation)
  .addNode("tools", new ToolNode([wait]))
  .addEdge(START, "tools")
  .addEdge("tools", END)
  .compile();

/** Calls the tool `wait` at the gate that its configurable names, in the root or (`nested`) in a subgraph. */
export const toolbox = new StateGraph(MessagesAnnotation)
  .addNode("model", (_state, { configurable }: LangGraphRunnableConfig) => {
    const args = { gate: configurable?.gate ?? "", mood: configurable?.mood ?? "good" };
    return { messages: [new AIMessage({ content: "", tool_calls: [{ id: "call-1", name: "wait", args }] })] };
  })
  .addNode("tools", new ToolNode([wait]))
  .addNode("nested", tools)
  .addEdge(START, "model")
  .addConditionalEdges("model", (_state, config) => (config.configurable?.nested === true ? "nested" : "tools"), [
    "tools",
    "nested",
  ])
  .addEdge("tools", END)
  .addEdge("nested", END)
  .compile();

/** Says `count` events of `size` characters at once, then waits at `gate`. */
export const flood = new StateGraph(Steps)
  .addNode("pour", async (_state, { configurable, signal, writer }: LangGraphRunnableConfig) => {
    const { count, size, gate } = configurable as { count: number; size: number; gate?: string };
    for (let index = 0; index < count; index++) {
      writer?.({ index, text: "x".repeat(size) });
      if (index % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
    }
    await passGate(gate, signal);
    return { steps: ["poured"] };
  })
  .addEdge(START, "pour")
  .addEdge("pour", END)
  .compile();

/** Says `count` events without a pause, is through with that superstep, and then waits at `gate`. */
export const recital = new StateGraph(Steps)
  .addNode("recite", (_state, { configurable, writer }: LangGraphRunnableConfig) => {
    for (let index = 0; index < Number(configurable?.count); index++) writer?.({ index });
    return { steps: ["recited"] };
  })
  .addNode("wait", async (_state, { configurable, signal }: LangGraphRunnableConfig) => {
    await passGate(configurable?.gate, signal);
    return { steps: ["waited"] };
  })
  .addEdge(START, "recite")
  .addEdge("recite", "wait")
  .addEdge("wait", END)
  .compile();

/** Beside one that is quick, one that does not listen to its abort: it waits at `gate` and writes afterwards. */
export const deaf = new StateGraph(Steps)
  .addNode("quick", () => ({ steps: ["quick"] }))
  .addNode("deaf", async (_state, { configurable, writer }: LangGraphRunnableConfig) => {
    writer?.({ deaf: "waits" });
    await passGate(configurable?.gate);
    writer?.({ deaf: "writes" });
    return { steps: ["deaf"] };
  })
  .addNode("after", () => ({ steps: ["after"] }))
  .addEdge(START, "quick")
  .addEdge(START, "deaf")
  .addEdge(["quick", "deaf"], "after")
  .addEdge("after", END)
  .compile();

/** Returns, writes as an event, or asks as a question, what JSON has no word for. */
export const spill = new StateGraph(Steps)
  .addNode("spill", ({ input }, { writer }: LangGraphRunnableConfig) => {
    const circular: Record<string, unknown> = { name: "circular" };
    circular.self = circular;
    let deep: unknown = "bottom";
    for (let level = 0; level < 5_000; level++) deep = [deep];
    const values: Record<string, unknown> = {
      bigint: 10n,
      nan: [Number.NaN, Number.NEGATIVE_INFINITY, -0],
      circular,
      deep,
      functions: { f: () => 1, s: Symbol("s"), u: undefined, kept: true },
      collections: { map: new Map([["a", 1]]), set: new Set([1]), date: new Date(0), bytes: new Uint8Array([1, 2]) },
      unreadable: {
        get trap() {
          throw new Error("do not look");
        },
      },
      toJSON: { toJSON: () => ({ shown: true }) },
      nul: "a\u0000b\ud800c",
    };
    const [way, kind] = String(input).split(" ");
    if (way === "write") writer?.(values[kind ?? ""]);
    if (way === "ask") return { steps: [String(interrupt(values[kind ?? ""]))] };
    if (way === "return") return { input: values[kind ?? ""] };
    if (way === "throw") throw hostileError(kind ?? "");
    return { steps: ["spilled"] };
  })
  .addEdge(START, "spill")
  .addEdge("spill", END)
  .compile();

function hostileError(kind: string): unknown {
  const error = new Error("x".repeat(kind === "long" ? 100_000 : 1));
  if (kind === "getter") {
    Object.defineProperty(error, "message", {
      get() {
        throw new Error("do not look");
      },
    });
  }
  if (kind === "proxy")
    return new Proxy(error, {
      get: () => {
        throw new Error("do not look");
      },
    });
  if (kind === "null") return null;
  if (kind === "number") return 42;
  return error;
}

/** A factory that waits at `gate` before it answers, and throws when it is told to. */
export async function slowFactory({ configurable }: LangGraphRunnableConfig) {
  if (configurable?.fail === true) throw new RangeError("the factory failed");
  await passGate(configurable?.gate);
  return gated;
}

/** Made at once for a run; for anything else it waits at `gate`. */
export async function reluctantFactory({ configurable }: LangGraphRunnableConfig, runtime: { accessContext: string }) {
  if (runtime.accessContext !== "threads.create_run") await passGate(configurable?.gate);
  return undecided;
}

/** Which way it goes is decided at the gate that its input names. */
export const undecided = new StateGraph(Steps)
  .addNode("work", () => ({ steps: ["worked"] }))
  .addEdge(START, "work")
  .addConditionalEdges("work", async ({ input }) => {
    await passGate(input);
    return END;
  })
  .compile();

/** Its state is a word. */
export const word = entrypoint("word", async (input: unknown) => `word: ${String(input)}`);

/** Its state is null. */
export const nothing = entrypoint("nothing", async () => null);
