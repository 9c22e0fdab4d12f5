/** Toy graphs that chat, for the faces of other protocols. */
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import {
  Annotation,
  END,
  interrupt,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  MessagesZodState,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { z } from "zod";
import { passGate } from "./gates.js";
import { REASONING, ScriptedModel, saying } from "./message-graphs.js";

/** Says what it was given, as JSON. */
export const mirror = new StateGraph(MessagesAnnotation)
  .addNode("say", ({ messages }, { configurable }: LangGraphRunnableConfig) => {
    const seen = messages.map((message: BaseMessage) => ({
      type: message.getType(),
      content: message.content,
      ...("tool_calls" in message ? { tool_calls: message.tool_calls } : {}),
      ...("tool_call_id" in message ? { tool_call_id: message.tool_call_id } : {}),
    }));
    return { messages: [new AIMessage(JSON.stringify({ seen, params: configurable?.model_params ?? null }))] };
  })
  .addEdge(START, "say")
  .addEdge("say", END)
  .compile();

/** Asks two questions at once, says the answers. */
const Panel = Annotation.Root({
  ...MessagesAnnotation.spec,
  answers: Annotation<unknown[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
export const panel = new StateGraph(Panel)
  .addNode("name", () => ({ answers: [{ name: interrupt("Your name?") }] }))
  .addNode("age", () => ({ answers: [{ age: interrupt({ question: "Your age?", unit: "years" }) }] }))
  .addNode("say", ({ answers }) => ({ messages: [new AIMessage(JSON.stringify(answers))] }))
  .addEdge(START, "name")
  .addEdge(START, "age")
  .addEdge(["name", "age"], "say")
  .addEdge("say", END)
  .compile();

/** Asks one simple question, greets. */
export const greeter = new StateGraph(MessagesAnnotation)
  .addNode("ask", () => ({ messages: [new AIMessage(`Hello ${String(interrupt({ question: "Your name?" }))}!`)] }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();

/** Thinks aloud, is stopped by its limit, counts its tokens. */
export const thinker = saying((config) =>
  new ScriptedModel([
    ...REASONING,
    {
      content: "",
      usage_metadata: { input_tokens: 5, output_tokens: 7, total_tokens: 12 },
      response_metadata: { finish_reason: "length" },
    },
  ]).invoke([], config),
);

/** Says a word, then fails when its gate opens. */
export const faulty = new StateGraph(MessagesAnnotation)
  .addNode("speak", (_state, config: LangGraphRunnableConfig) =>
    new ScriptedModel([{ content: "Well" }]).invoke([], config).then((message) => ({ messages: [message] })),
  )
  .addNode("fail", async (_state, { configurable, signal }: LangGraphRunnableConfig) => {
    await passGate(configurable?.gate, signal);
    throw new RangeError("out of range");
  })
  .addEdge(START, "speak")
  .addEdge("speak", "fail")
  .addEdge("fail", END)
  .compile();

/** Waits at the gate that its assistant names, says a word. */
export const patient = new StateGraph(MessagesAnnotation)
  .addNode("wait", async (_state, { configurable, signal }: LangGraphRunnableConfig) => {
    await passGate(configurable?.gate, signal);
    return { messages: [new AIMessage("At last")] };
  })
  .addEdge(START, "wait")
  .addEdge("wait", END)
  .compile();

/** Puts plain data into its messages, which LangGraph streams nothing of. */
export const terse = new StateGraph(MessagesAnnotation)
  .addNode("say", () => ({ messages: [{ role: "assistant", content: "plain" }] }))
  .addEdge(START, "say")
  .addEdge("say", END)
  .compile();

/** Takes a city and no messages. */
export const weather = new StateGraph(
  z.object({ city: z.string().describe("Which one"), report: z.string().default("") }),
)
  .addNode("look", ({ city }) => {
    if (city === "Atlantis") throw new RangeError("it is under water");
    return { report: `sunny in ${city}` };
  })
  .addEdge(START, "look")
  .addEdge("look", END)
  .compile();

/** Messages with a schema that can be described, and a context. */
export const described = new StateGraph(MessagesZodState, z.object({ tone: z.string().optional() }))
  .addNode("say", ({ messages }, { context }: LangGraphRunnableConfig<{ tone?: string }>) => ({
    messages: [new AIMessage(`${context?.tone ?? "plain"}: ${messages.at(-1)?.text ?? ""}`)],
  }))
  .addEdge(START, "say")
  .addEdge("say", END)
  .compile();

const insider = new StateGraph(MessagesAnnotation)
  .addNode("say", (_state, config: LangGraphRunnableConfig) =>
    new ScriptedModel([{ content: "from " }, { content: "inside" }])
      .invoke([], config)
      .then((said) => ({ messages: [said] })),
  )
  .addEdge(START, "say")
  .addEdge("say", END)
  .compile();

/** Leaves the talking to a subgraph, whose output is the whole conversation. */
export const delegating = new StateGraph(MessagesAnnotation)
  .addNode("team", insider)
  .addEdge(START, "team")
  .addEdge("team", END)
  .compile();

/** Returns the whole conversation, not only what is new. */
export const verbose = new StateGraph(MessagesAnnotation)
  .addNode("say", ({ messages }) => ({ messages: [...messages, new AIMessage("new")] }))
  .addEdge(START, "say")
  .addEdge("say", END)
  .compile();

/** What `babbler` says in one piece, and how many of them. */
export const BABBLE = { piece: "x".repeat(100_000), pieces: 100 };

/** Says more than fits into any buffer. */
export const babbler = saying((config) =>
  new ScriptedModel(Array.from({ length: BABBLE.pieces }, () => ({ content: BABBLE.piece }))).invoke([], config),
);
