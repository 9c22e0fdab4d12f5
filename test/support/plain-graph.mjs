// A graph without any type.
import { Annotation, START, StateGraph } from "@langchain/langgraph";

export const plain = new StateGraph(Annotation.Root({ topic: Annotation() }))
  .addNode("work", () => ({}))
  .addEdge(START, "work")
  .compile();
