/**
 * A chat agent: it answers in tokens, calls tools, and asks a human before it sends or deletes anything.
 *
 * Runs offline on a script; with `OPENAI_API_KEY` or `ANTHROPIC_API_KEY` it uses that provider's model (agent-model.ts).
 */
import { type LangGraphRunnableConfig, MessagesValue, START, StateGraph, StateSchema } from "@langchain/langgraph";
import { ToolNode, toolsCondition } from "@langchain/langgraph/prebuilt";
import { agentModel } from "./agent-model.js";
import { agentTools } from "./agent-tools.js";
import { Pace, tokenDelayMs } from "./pace.js";

const State = new StateSchema({ messages: MessagesValue });

async function agent(state: typeof State.State, config: LangGraphRunnableConfig): Promise<typeof State.Update> {
  const model = await agentModel(process.env, { tokenDelayMs: tokenDelayMs(config) });
  return { messages: [await model.invoke(state.messages, config)] };
}

/** The chat agent of the examples. */
export const graph = new StateGraph(State, { context: Pace })
  .addNode("agent", agent)
  .addNode("tools", new ToolNode(agentTools))
  .addEdge(START, "agent")
  .addConditionalEdges("agent", toolsCondition, ["tools", "__end__"])
  .addEdge("tools", "agent")
  .compile({ name: "agent", description: "Chats, calls tools, and asks before it sends or deletes anything." });
