/**
 * A lead that hands its work to other agents: each call of the `task` tool is one of them, with messages of its own.
 *
 * The calls run side by side. Clients that know subagents (both of LangGraph's `useStream` hooks) show them apart; for
 * all others the lead's answer is in the thread as ever.
 */
import { type AIMessage, HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import {
  END,
  type LangGraphRunnableConfig,
  MessagesValue,
  Send,
  START,
  StateGraph,
  StateSchema,
} from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { z } from "zod";
import { Pace, tokenDelayMs } from "./pace.js";
import { type Script, ScriptedModel, textOf } from "./scripted-model.js";

const State = new StateSchema({ messages: MessagesValue });

/** An agent that answers once, by its script. */
function agent(name: string, script: Script) {
  return new StateGraph(State)
    .addNode(name, async ({ messages }, config: LangGraphRunnableConfig) => {
      const model = new ScriptedModel({ script, tokenDelayMs: tokenDelayMs(config) });
      return { messages: [await model.invoke(messages, config)] };
    })
    .addEdge(START, name)
    .addEdge(name, END)
    .compile({ name });
}

const MEMBERS = {
  historian: agent("historian", ([task]) => ({
    text: `I have looked into it: ${textOf(task)} Nobody remembers who began. The oldest traces are older than writing, and every one of them was made by somebody who had learnt it from somebody else.`,
  })),
  critic: agent("critic", ([task]) => ({
    text: `Let me be strict: ${textOf(task)} It takes patience, it hides its mistakes badly, and it is worth doing all the same.`,
  })),
};

const Task = z.object({
  description: z.string().describe("What the agent is to do"),
  subagent_type: z.enum(["historian", "critic"]).describe("Who is to do it"),
});

const task = tool(
  async ({ description, subagent_type: name }, config: LangGraphRunnableConfig) => {
    const { messages } = await MEMBERS[name].invoke({ messages: [new HumanMessage(description)] }, config);
    return textOf(messages.at(-1));
  },
  { name: "task", description: "Hands a task to another agent.", schema: Task },
);

async function lead(state: typeof State.State, config: LangGraphRunnableConfig): Promise<typeof State.Update> {
  const model = new ScriptedModel({ script: leadScript, tokenDelayMs: tokenDelayMs(config) });
  return { messages: [await model.invoke(state.messages, config)] };
}

/** One task of the run for each call: so that every agent has a namespace of its own. */
function handOver({ messages }: typeof State.State): Send[] | typeof END {
  const calls = (messages.at(-1) as AIMessage).tool_calls ?? []; // the lead has just spoken
  return calls.length === 0 ? END : calls.map((call) => new Send("tools", { lg_tool_call: call }));
}

/** The crew graph of the examples. */
export const graph = new StateGraph(State, { context: Pace })
  .addNode("lead", lead)
  .addNode("tools", new ToolNode([task]))
  .addEdge(START, "lead")
  .addConditionalEdges("lead", handOver, ["tools", END])
  .addEdge("tools", "lead")
  .compile({ name: "crew", description: "A lead that hands its work to two agents, side by side." });

const leadScript: Script = (messages) => {
  if (messages.at(-1)?.getType() === "tool") {
    return { text: "Both have reported. In short: it is old, it is hard, and we should go on with it." };
  }
  const topic =
    textOf(messages.at(-1))
      .trim()
      .replace(/[?!.]+$/u, "") || "weaving";
  return {
    text: `I will ask the historian and the critic about ${topic}.`,
    toolCalls: [
      { name: "task", args: { subagent_type: "historian", description: `Where does ${topic} come from?` } },
      { name: "task", args: { subagent_type: "critic", description: `What is wrong with ${topic}?` } },
    ],
  };
};
