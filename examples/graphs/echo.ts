/** The smallest useful graph: it answers with what it was told. Good for trying the API with curl. */
import { AIMessage } from "@langchain/core/messages";
import { MessagesValue, START, StateGraph, StateSchema } from "@langchain/langgraph";

const State = new StateSchema({ messages: MessagesValue });

function echo(state: typeof State.State): typeof State.Update {
  const last = state.messages.at(-1);
  return { messages: [new AIMessage({ content: last?.content ?? "" })] };
}

/** The echo graph of the examples. */
export const graph = new StateGraph(State)
  .addNode("echo", echo)
  .addEdge(START, "echo")
  .addEdge("echo", "__end__")
  .compile({ name: "echo", description: "Answers with the last message." });
