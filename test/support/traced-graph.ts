/** Everything that a trace shows: nodes, a subgraph, a tool and a model in it, a question, and a failure on demand. */
import { SimpleChatModel } from "@langchain/core/language_models/chat_models";
import { HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { Annotation, interrupt, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";

const State = Annotation.Root({ topic: Annotation<string>, asks: Annotation<boolean>, answer: Annotation<string> });

class Parrot extends SimpleChatModel {
  override getLsParams() {
    return { ls_model_type: "chat" as const, ls_model_name: "parrot-1", ls_provider: "aviary" };
  }
  _llmType(): string {
    return "parrot";
  }
  async _call([message]: Parameters<SimpleChatModel["_call"]>[0]): Promise<string> {
    return `about ${message?.text}`;
  }
}

const look = tool(
  async ({ topic }: { topic: string }) => {
    if (topic === "nothing") throw new RangeError(`no such topic: ${topic}`);
    return `seen ${topic}`;
  },
  {
    name: "look",
    description: "Looks",
    schema: z.object({ topic: z.string() }),
  },
);

const inner = new StateGraph(State)
  .addNode("think", async ({ topic }, config) => {
    const said = await new Parrot({}).invoke([new HumanMessage(topic)], config);
    return { answer: said.text };
  })
  .addEdge(START, "think")
  .compile();

export const graph = new StateGraph(State)
  .addNode("search", async ({ topic }, config) => {
    await look.invoke({ topic }, config);
    return {};
  })
  .addNode("ask", ({ asks }) => (asks ? { answer: interrupt("really?") } : {}))
  .addNode("inner", inner)
  .addEdge(START, "search")
  .addEdge(START, "ask")
  .addEdge("search", "inner")
  .compile();
