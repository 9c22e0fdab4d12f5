/** Graphs for load under faults: short, with a trace of every node in the state, so that what ran twice shows. */
import { setTimeout as pause } from "node:timers/promises";
import { Annotation, END, interrupt, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const Work = Annotation.Root({
  mark: Annotation<string>({ reducer: (_, next) => next, default: () => "" }),
  steps: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** Long enough that a process can die in the middle of it. */
const step =
  (name: string) =>
  async ({ mark }: typeof Work.State, { writer, signal }: LangGraphRunnableConfig) => {
    writer?.({ at: `${mark}:${name}` });
    await pause(Math.random() * 25, undefined, { signal });
    return { steps: [`${mark}:${name}`] };
  };

/** What `work` adds to the steps for a run whose input has `mark`. */
export function stepsOf(mark: string): readonly string[] {
  return ["a", "b", "c"].map((name) => `${mark}:${name}`);
}

export const work = new StateGraph(Work)
  .addNode("a", step("a"))
  .addNode("b", step("b"))
  .addNode("c", step("c"))
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", "c")
  .addEdge("c", END)
  .compile();

const Question = Annotation.Root({
  question: Annotation<string>({ reducer: (_, next) => next, default: () => "" }),
  answers: Annotation<unknown[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** Asks once; keeps what it was told. */
export const approve = new StateGraph(Question)
  .addNode("ask", ({ question }) => ({ answers: [interrupt({ question })] }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();
