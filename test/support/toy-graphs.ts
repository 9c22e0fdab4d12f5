/** Small graphs that need no model. */
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";

/** A builder whose graph answers every input with one message. */
export function replyBuilder(text = "hello") {
  return new StateGraph(MessagesAnnotation)
    .addNode("reply", () => ({ messages: [{ role: "ai", content: text }] }))
    .addEdge(START, "reply")
    .addEdge("reply", END);
}
