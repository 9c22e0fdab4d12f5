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

const Recollection = Annotation.Root({
  user: Annotation<string>,
  fact: Annotation<string>,
  question: Annotation<string>,
  found: Annotation<unknown>,
});

/** A graph that remembers a fact and finds what it knows by meaning, in nodes and in a subgraph. */
const recall = new StateGraph(Recollection)
  .addNode("find", async ({ user, question }, { store }: LangGraphRunnableConfig) => {
    const items = await store?.search(["facts", user], { query: question, limit: 2 });
    return { found: items?.map(({ key, score }) => ({ key, isScored: typeof score === "number" })) };
  })
  .addEdge(START, "find")
  .addEdge("find", END);

export const recollection = new StateGraph(Recollection)
  .addNode("remember", async ({ user, fact }, { store }: LangGraphRunnableConfig) => {
    await store?.put(["facts", user], fact, { text: fact });
    return {};
  })
  .addNode("recall", recall.compile())
  .addEdge(START, "remember")
  .addEdge("remember", "recall")
  .addEdge("recall", END)
  .compile();
