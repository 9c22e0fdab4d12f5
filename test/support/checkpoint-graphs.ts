/** Small graphs that write what they do to `log`, for tests of what is kept of a run. */
import { Annotation, DeltaChannel, END, interrupt, Send, START, StateGraph } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";

const LogState = Annotation.Root({
  log: Annotation<string[]>({ reducer: (before, after) => before.concat(after), default: () => [] }),
});

/** What the tests need of any of these graphs, whatever their nodes are called. */
export type BuildGraph = (checkpointer: BaseCheckpointSaver) => {
  invoke(input: unknown, config: object): Promise<unknown>;
  getState(config: object): Promise<{
    readonly values: unknown;
    readonly tasks: readonly { readonly interrupts: readonly { readonly id?: string; readonly value?: unknown }[] }[];
  }>;
};

export const THREAD = { configurable: { thread_id: "thread" } };

/** A node that asks `question` and logs the answer. */
const asks = (question: string) => () => ({ log: [`${question}=${interrupt(question)}`] });

/** A node that logs its name. */
const logs = (name: string) => () => ({ log: [name] });

export function sequence(checkpointer: BaseCheckpointSaver) {
  return new StateGraph(LogState)
    .addNode("a", logs("a"))
    .addNode("b", logs("b"))
    .addEdge(START, "a")
    .addEdge("a", "b")
    .addEdge("b", END)
    .compile({ checkpointer });
}

/** Works once; its log is stored as what was added to it, and whole every fifth time. */
export function deltaLog(checkpointer: BaseCheckpointSaver) {
  const DeltaState = Annotation.Root({
    log: () =>
      new DeltaChannel<string[], string[]>((before, writes) => before.concat(...writes), {
        snapshotFrequency: 5,
        initialValueFactory: () => [],
      }),
  });
  return new StateGraph(DeltaState)
    .addNode("n", logs("n"))
    .addEdge(START, "n")
    .addEdge("n", END)
    .compile({ checkpointer });
}

/** Asks twice, with work in between. */
export function twoApprovals(checkpointer: BaseCheckpointSaver) {
  return new StateGraph(LogState)
    .addNode("first", asks("q1"))
    .addNode("work", logs("work"))
    .addNode("second", asks("q2"))
    .addEdge(START, "first")
    .addEdge("first", "work")
    .addEdge("work", "second")
    .addEdge("second", END)
    .compile({ checkpointer });
}

/** Asks twice within one node. */
export function twoQuestions(checkpointer: BaseCheckpointSaver) {
  return new StateGraph(LogState)
    .addNode("ask", () => ({ log: [`${interrupt("q1")}/${interrupt("q2")}`] }))
    .addEdge(START, "ask")
    .addEdge("ask", END)
    .compile({ checkpointer });
}

/** `x` asks while `y` works, then `z` asks. */
export function parallel(checkpointer: BaseCheckpointSaver) {
  return new StateGraph(LogState)
    .addNode("x", asks("qx"))
    .addNode("y", logs("y"))
    .addNode("z", asks("qz"))
    .addEdge(START, "x")
    .addEdge(START, "y")
    .addEdge(["x", "y"], "z")
    .addEdge("z", END)
    .compile({ checkpointer });
}

/** Two tasks that both ask. */
export function parallelQuestions(checkpointer: BaseCheckpointSaver) {
  return new StateGraph(LogState)
    .addNode("x", asks("qx"))
    .addNode("y", asks("qy"))
    .addEdge(START, "x")
    .addEdge(START, "y")
    .addEdge("x", END)
    .addEdge("y", END)
    .compile({ checkpointer });
}

export function fanOut(checkpointer: BaseCheckpointSaver) {
  return new StateGraph(LogState)
    .addNode("plan", logs("plan"))
    .addNode("work", (state: { item: number }) => ({ log: [`work ${state.item}`] }))
    .addNode("join", logs("join"))
    .addEdge(START, "plan")
    .addConditionalEdges("plan", () => [new Send("work", { item: 1 }), new Send("work", { item: 2 })], ["work"])
    .addEdge("work", "join")
    .addEdge("join", END)
    .compile({ checkpointer });
}

/** Works, calls a subgraph that works and asks, then asks itself. */
export function withSubgraph(checkpointer: BaseCheckpointSaver) {
  const subgraph = new StateGraph(LogState)
    .addNode("inner-work", logs("inner"))
    .addNode("inner-ask", asks("inner question"))
    .addEdge(START, "inner-work")
    .addEdge("inner-work", "inner-ask")
    .addEdge("inner-ask", END)
    .compile();
  return new StateGraph(LogState)
    .addNode("before", logs("before"))
    .addNode("sub", subgraph)
    .addNode("after", asks("outer question"))
    .addEdge(START, "before")
    .addEdge("before", "sub")
    .addEdge("sub", "after")
    .addEdge("after", END)
    .compile({ checkpointer });
}
