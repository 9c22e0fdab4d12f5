/** A graph that can be held: its second node waits until a file exists, and says how often it was started. */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Annotation, interrupt, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const Gate = Annotation.Root({
  gate: Annotation<string>,
  steps: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

export const gate = new StateGraph(Gate)
  .addNode("first", ({ gate: file }) => {
    appendFileSync(`${file}.first`, "x");
    return { steps: ["first"] };
  })
  .addNode("wait", async ({ gate: file }, config: LangGraphRunnableConfig) => {
    appendFileSync(`${file}.wait`, "x");
    while (!existsSync(file)) await pause(20, undefined, { signal: config.signal });
    return { steps: ["waited"] };
  })
  .addEdge(START, "first")
  .addEdge("first", "wait")
  .compile();

export const ask = new StateGraph(Gate)
  .addNode("ask", () => ({ steps: [String(interrupt("go on?"))] }))
  .addEdge(START, "ask")
  .compile();

/** Does not listen when it is told to stop. */
export const deaf = new StateGraph(Gate)
  .addNode("wait", async ({ gate: file }) => {
    appendFileSync(`${file}.wait`, "x");
    while (!existsSync(file)) await pause(20);
    return { steps: ["heard"] };
  })
  .addEdge(START, "wait")
  .compile();
