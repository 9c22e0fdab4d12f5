/**
 * A graph in a graph in a graph: `desk` hands over to `team`, which hands over to `writer`.
 *
 * The innermost one streams a message, and with `ask_first` in the input it asks a human before it starts. Watch it
 * with `stream_subgraphs`, and resume it like any other interrupt: the run is paused two levels down.
 */
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import {
  interrupt,
  type LangGraphRunnableConfig,
  MessagesValue,
  START,
  StateGraph,
  StateSchema,
} from "@langchain/langgraph";
import { z } from "zod";
import { Pace, tokenDelayMs } from "./pace.js";
import { ScriptedModel, type ScriptedReply, textOf } from "./scripted-model.js";

const State = new StateSchema({
  messages: MessagesValue,
  ask_first: z.boolean().default(false).describe("Ask a human before writing"),
  approved: z.boolean().default(false),
});

function approve(state: typeof State.State): typeof State.Update {
  if (!state.ask_first) return { approved: true };
  const answer: unknown = interrupt({ question: `Shall I write about “${subjectOf(state.messages)}”?` });
  return { approved: answer === true };
}

async function compose(state: typeof State.State, config: LangGraphRunnableConfig): Promise<typeof State.Update> {
  if (!state.approved) return { messages: [new AIMessage("As you wish: nothing was written.")] };
  const model = new ScriptedModel({ script: verse, tokenDelayMs: tokenDelayMs(config) });
  return { messages: [await model.invoke(state.messages, config)] };
}

const writer = new StateGraph(State, { context: Pace })
  .addNode("approve", approve)
  .addNode("compose", compose)
  .addEdge(START, "approve")
  .addEdge("approve", "compose")
  .addEdge("compose", "__end__")
  .compile({ name: "writer" });

const team = new StateGraph(State, { context: Pace })
  .addNode("brief", (_state, config) => {
    config.writer?.({ level: "team", note: "briefing the writer" });
    return {};
  })
  .addNode("writer", writer)
  .addEdge(START, "brief")
  .addEdge("brief", "writer")
  .addEdge("writer", "__end__")
  .compile({ name: "team" });

/** The nested graph of the examples. */
export const graph = new StateGraph(State, { context: Pace })
  .addNode("desk", (_state, config) => {
    config.writer?.({ level: "desk", note: "handing over to the team" });
    return {};
  })
  .addNode("team", team)
  .addEdge(START, "desk")
  .addEdge("desk", "team")
  .addEdge("team", "__end__")
  .compile({ name: "subgraphs", description: "Two levels of subgraphs; the innermost one streams and may ask first." });

function verse(messages: readonly BaseMessage[]): ScriptedReply {
  const subject = subjectOf(messages);
  return {
    text: `Three lines about ${subject}:\n\n${subject}, held up to the light,\nthread over thread, level on level,\nand not one of them lost.`,
  };
}

function subjectOf(messages: readonly BaseMessage[]): string {
  const asked = messages.findLast((message) => message.getType() === "human");
  return textOf(asked).trim() || "nothing in particular";
}
