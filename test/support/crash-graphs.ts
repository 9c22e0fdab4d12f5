/**
 * Small graphs, one per shape that a crash can meet. They log what they do to `log`; every question is asked once in a
 * conversation, so that an answer which reaches another question than its own is seen.
 */
import { AIMessage } from "@langchain/core/messages";
import {
  Annotation,
  Command,
  END,
  entrypoint,
  interrupt,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  MessagesDeltaValue,
  Send,
  START,
  StateGraph,
  StateSchema,
  task,
} from "@langchain/langgraph";

/** What graphs meet outside of themselves. */
export interface World {
  /** Called whenever a question gets an answer, also in an execution of which nothing is kept. */
  answered(question: string, answer: unknown): void;
  /** Where a node waits; rejects when it is told to stop. */
  pass(signal: AbortSignal | undefined): Promise<void>;
}

/** An answer says which question it was made for, and by which command. */
export interface Answer {
  readonly to: string;
  readonly by: string;
}

const Log = Annotation.Root({
  log: Annotation<string[]>({ reducer: (before, after) => before.concat(after), default: () => [] }),
  turn: Annotation<number>({ reducer: (_before, after) => after, default: () => 0 }),
});

type State = typeof Log.State;

const logs = (name: string) => () => ({ log: [name] });

export type CrashGraphs = ReturnType<typeof crashGraphs>;

export function crashGraphs(world: World) {
  const ask = (question: string): string => {
    const answer: unknown = interrupt(question);
    world.answered(question, answer);
    return `${question} <- ${(answer as Answer).by}`;
  };
  const asks = (question: string) => () => ({ log: [ask(question)] });

  const inner = () =>
    new StateGraph(Log)
      .addNode("inner-work", logs("inner work"))
      .addNode("inner-ask", asks("inner?"))
      .addNode("inner-rest", logs("inner rest"))
      .addEdge(START, "inner-work")
      .addEdge("inner-work", "inner-ask")
      .addEdge("inner-ask", "inner-rest")
      .addEdge("inner-rest", END);

  /** Only what it adds, so that the parent's reducer does not see its own entries again. */
  const added = (before: State, after: { readonly log: readonly string[] }) => ({
    log: after.log.slice(before.log.length),
  });

  return {
    sequence: () =>
      new StateGraph(Log)
        .addNode("a", logs("a"))
        .addNode("b", logs("b"))
        .addNode("c", logs("c"))
        .addEdge(START, "a")
        .addEdge("a", "b")
        .addEdge("b", "c")
        .addEdge("c", END)
        .compile(),

    /** Three branches of unequal length that meet. */
    parallel: () =>
      new StateGraph(Log)
        .addNode("x", logs("x"))
        .addNode("y", logs("y"))
        .addNode("y2", logs("y2"))
        .addNode("z", logs("z"))
        .addNode("join", logs("join"))
        .addEdge(START, "x")
        .addEdge(START, "y")
        .addEdge(START, "z")
        .addEdge("y", "y2")
        .addEdge(["x", "y2", "z"], "join")
        .addEdge("join", END)
        .compile(),

    /** A node that waits for all that is under way. */
    deferred: () =>
      new StateGraph(Log)
        .addNode("short", logs("short"))
        .addNode("long", logs("long"))
        .addNode("longer", asks("longer?"))
        .addNode("last", logs("last"), { defer: true })
        .addEdge(START, "short")
        .addEdge(START, "long")
        .addEdge("long", "longer")
        .addEdge("short", "last")
        .addEdge("longer", "last")
        .addEdge("last", END)
        .compile(),

    fanOut: () =>
      new StateGraph(Log)
        .addNode("plan", logs("plan"))
        .addNode("work", ({ item }: { item: number }) => ({
          log: [item === 1 ? ask("item 1?") : `work ${item}`],
        }))
        .addNode("join", logs("join"))
        .addEdge(START, "plan")
        .addConditionalEdges("plan", () => [0, 1, 2].map((item) => new Send("work", { item })), ["work"])
        .addEdge("work", "join")
        .addEdge("join", END)
        .compile(),

    subgraph: () =>
      new StateGraph(Log)
        .addNode("before", logs("before"))
        .addNode("sub", inner().compile())
        .addNode("after", asks("outer?"))
        .addEdge(START, "before")
        .addEdge("before", "sub")
        .addEdge("sub", "after")
        .addEdge("after", END)
        .compile(),

    /** A node asks, calls a graph that asks, and asks again. */
    calledSubgraph: () => {
      const sub = inner().compile();
      return new StateGraph(Log)
        .addNode("call", async (state: State) => {
          const first = ask("before the call?");
          const result = await sub.invoke(state);
          return { log: [first, ...added(state, result).log, ask("after the call?")] };
        })
        .addNode("after", logs("after"))
        .addEdge(START, "call")
        .addEdge("call", "after")
        .addEdge("after", END)
        .compile();
    },

    nested: () => {
      const middle = new StateGraph(Log)
        .addNode("middle-work", logs("middle work"))
        .addNode("innermost", inner().compile())
        .addNode("middle-ask", asks("middle?"))
        .addEdge(START, "middle-work")
        .addEdge("middle-work", "innermost")
        .addEdge("innermost", "middle-ask")
        .addEdge("middle-ask", END)
        .compile();
      return new StateGraph(Log)
        .addNode("sub", middle)
        .addNode("beside", asks("beside?"))
        .addNode("after", logs("after"))
        .addEdge(START, "sub")
        .addEdge(START, "beside")
        .addEdge(["sub", "beside"], "after")
        .addEdge("after", END)
        .compile();
    },

    /** A subgraph that remembers from call to call. */
    remembering: () => {
      const memory = new StateGraph(Log)
        .addNode("note", ({ log }) => ({ log: [`seen ${log.length}`] }))
        .addNode("note-more", logs("noted"))
        .addEdge(START, "note")
        .addEdge("note", "note-more")
        .addEdge("note-more", END)
        .compile({ checkpointer: true });
      return new StateGraph(Log)
        .addNode("prepare", logs("prepare"))
        .addNode("remember", async (state: State) => ({
          log: [`memory: ${(await memory.invoke({ log: [`turn ${state.turn}`] })).log.join(", ")}`],
        }))
        .addNode("after", logs("after"))
        .addEdge(START, "prepare")
        .addEdge("prepare", "remember")
        .addEdge("remember", "after")
        .addEdge("after", END)
        .compile();
    },

    /** Three branches that ask, one of them twice, and one that works; then one more question. */
    questions: () =>
      new StateGraph(Log)
        .addNode("x", asks("x?"))
        .addNode("y", () => ({ log: [ask("y1?"), ask("y2?")] }))
        .addNode("z", asks("z?"))
        .addNode("w", logs("w"))
        .addNode("last", asks("last?"))
        .addEdge(START, "x")
        .addEdge(START, "y")
        .addEdge(START, "z")
        .addEdge(START, "w")
        .addEdge(["x", "y", "z", "w"], "last")
        .addEdge("last", END)
        .compile(),

    twoQuestions: () =>
      new StateGraph(Log)
        .addNode("work", logs("work"))
        .addNode("ask", () => ({ log: [ask("first?"), ask("second?"), ask("third?")] }))
        .addNode("next", asks("next?"))
        .addEdge(START, "work")
        .addEdge("work", "ask")
        .addEdge("ask", "next")
        .addEdge("next", END)
        .compile(),

    /** A node without a result of its own but the answer it got. */
    silent: () =>
      new StateGraph(Log)
        .addNode("ask", () => {
          ask("silent?");
          return {};
        })
        .addNode("next", asks("loud?"))
        .addEdge(START, "ask")
        .addEdge("ask", "next")
        .addEdge("next", END)
        .compile(),

    /** Asks once per turn until three were taken. */
    loop: () =>
      new StateGraph(Log)
        .addNode("work", ({ turn }) => ({ turn: turn + 1, log: [`turn ${turn + 1}`] }))
        .addNode("check", ({ turn }) => ({ log: [ask(`turn ${turn} ok?`)] }))
        .addEdge(START, "work")
        .addEdge("work", "check")
        .addConditionalEdges("check", ({ turn }) => (turn < 3 ? "work" : END), ["work", END])
        .compile(),

    /** Nodes that say where to go, one of them out of a subgraph. */
    commands: () => {
      const handing = new StateGraph(Log)
        .addNode("hand", () => new Command({ graph: Command.PARENT, goto: "target", update: { log: ["handed over"] } }))
        .addEdge(START, "hand")
        .compile();
      return new StateGraph(Log)
        .addNode("route", () => new Command({ goto: ["left", "handing"], update: { log: ["routed"] } }), {
          ends: ["left", "handing"],
        })
        .addNode("left", logs("left"))
        .addNode("handing", handing, { ends: ["target"] })
        .addNode("target", asks("target?"))
        .addEdge(START, "route")
        .addEdge("target", END)
        .compile();
    },

    /** Stops where it was compiled to: before `b`, after `c`, and inside of a subgraph. */
    breakpoints: () => {
      const sub = new StateGraph(Log)
        .addNode("s", logs("s"))
        .addNode("t", logs("t"))
        .addNode("u", logs("u"))
        .addEdge(START, "s")
        .addEdge("s", "t")
        .addEdge("t", "u")
        .addEdge("u", END)
        .compile({ interruptBefore: ["t"], interruptAfter: ["t"] });
      return new StateGraph(Log)
        .addNode("a", logs("a"))
        .addNode("b", logs("b"))
        .addNode("c", logs("c"))
        .addNode("sub", sub)
        .addEdge(START, "a")
        .addEdge("a", "b")
        .addEdge("b", "c")
        .addEdge("c", "sub")
        .addEdge("sub", END)
        .compile({ interruptBefore: ["b"], interruptAfter: ["c"] });
    },

    /** Goes round until it was told the third time. */
    roundabout: () =>
      new StateGraph(Log)
        .addNode("round", ({ turn }) => ({ turn: turn + 1, log: [`round ${turn + 1}`] }))
        .addEdge(START, "round")
        .addConditionalEdges("round", ({ turn }) => (turn < 3 ? "round" : END), ["round", END])
        .compile(),

    chat: () =>
      new StateGraph(MessagesAnnotation)
        .addNode("llm", ({ messages }) => ({ messages: [new AIMessage(`heard ${messages.length}`)] }))
        .addNode("again", ({ messages }) => ({ messages: [{ role: "ai", content: `still ${messages.length}` }] }))
        .addEdge(START, "llm")
        .addEdge("llm", "again")
        .addEdge("again", END)
        .compile(),

    /** Messages that are stored as what was added to them. */
    deltas: () =>
      new StateGraph(new StateSchema({ messages: MessagesDeltaValue }))
        .addNode("llm", async ({ messages }) => ({ messages: [new AIMessage(`heard ${messages.length}`)] }))
        .addNode("again", async ({ messages }) => ({ messages: [new AIMessage(`still ${messages.length}`)] }))
        .addEdge(START, "llm")
        .addEdge("llm", "again")
        .addEdge("again", END)
        .compile(),

    store: () =>
      new StateGraph(Log)
        .addNode("write", async (_state, { store }: LangGraphRunnableConfig) => {
          await store?.put(["crash"], "first", { text: "first" });
          await store?.put(["crash", "deep"], "second", { text: "second" });
          return { log: ["written"] };
        })
        .addNode("read", async (_state, { store }: LangGraphRunnableConfig) => {
          const found = await store?.get(["crash"], "first");
          await store?.delete(["crash"], "first");
          return { log: [`read ${found?.value.text ?? "nothing"}`] };
        })
        .addEdge(START, "write")
        .addEdge("write", "read")
        .addEdge("read", END)
        .compile(),

    failing: () =>
      new StateGraph(Log)
        .addNode("fine", logs("fine"))
        .addNode("asks", asks("shall I fail?"))
        .addNode("fails", () => {
          throw new RangeError("out of range");
        })
        .addEdge(START, "fine")
        .addEdge("fine", "asks")
        .addEdge("asks", "fails")
        .addEdge("fails", END)
        .compile(),

    /** The functional API: tasks that are not run again once their result is stored. */
    functional: () => {
      const double = task("double", async (n: number) => n * 2);
      return entrypoint("functional", async ({ n }: { n: number }) => {
        const doubled = await double(n);
        const both = await Promise.all([double(doubled), double(doubled + 1)]);
        return { log: [`${doubled}`, both.join("+"), ask("functional?"), `${await double(100)}`] };
      });
    },

    /** Its second node waits at the gate. */
    gated: () =>
      new StateGraph(Log)
        .addNode("before", logs("before"))
        .addNode("gate", async (_state: State, { signal }: LangGraphRunnableConfig) => {
          await world.pass(signal);
          return { log: ["gate"] };
        })
        .addNode("after", logs("after"))
        .addEdge(START, "before")
        .addEdge("before", "gate")
        .addEdge("gate", "after")
        .addEdge("after", END)
        .compile(),
  };
}
