/** Graphs for several processes: what they leave says which process did it. */
import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const last = <T>(initial: T) => Annotation<T>({ reducer: (_, next) => next, default: () => initial });

export interface Step {
  readonly round: number;
  readonly pid: number;
}

/** Goes round `rounds` times, `stepMs` each; every round leaves a step in the state and says one before. */
export const steady = new StateGraph(
  Annotation.Root({
    rounds: last(0),
    stepMs: last(0),
    round: last(0),
    steps: Annotation<Step[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
  }),
)
  .addNode("step", async ({ round, stepMs }, { writer, signal }: LangGraphRunnableConfig) => {
    const step: Step = { round, pid: process.pid };
    writer?.(step);
    await pause(stepMs, undefined, { signal });
    return { round: round + 1, steps: [step] };
  })
  .addEdge(START, "step")
  .addConditionalEdges("step", ({ round, rounds }) => (round < rounds ? "step" : END), ["step", END])
  .compile();

/** Works for so long, and notes in a file when it is told to stop: a line `mark epochMs`. */
export const patient = new StateGraph(
  Annotation.Root({ ms: last(0), mark: last(""), file: last(""), done: last(false) }),
)
  .addNode("work", async ({ ms, mark, file }, { writer, signal }: LangGraphRunnableConfig) => {
    signal?.addEventListener("abort", () => appendFileSync(file, `${mark} ${Date.now()}\n`), { once: true });
    writer?.({ working: mark });
    await pause(ms, undefined, { signal });
    return { done: true };
  })
  .addEdge(START, "work")
  .addEdge("work", END)
  .compile();
