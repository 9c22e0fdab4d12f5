/** A graph with a long-term memory: answers with the item that it reads, and puts another in its place. */
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const Recall = Annotation.Root({
  namespace: Annotation<string[]>,
  key: Annotation<string>,
  read: Annotation<unknown>,
});

export const memory = new StateGraph(Recall)
  .addNode("swap", async ({ namespace, key }, { store }: LangGraphRunnableConfig) => {
    const item = await store?.get(namespace, key);
    await store?.put(namespace, key, { from: "graph" });
    return { read: item?.value };
  })
  .addEdge(START, "swap")
  .addEdge("swap", END)
  .compile();
