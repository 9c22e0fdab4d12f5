/** Graphs that say what they look like: with schemas, with subgraphs, and one whose shape depends on its configuration. */
import {
  Annotation,
  END,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  START,
  StateGraph,
  StateSchema,
} from "@langchain/langgraph";
import { z } from "zod";

const Profile = new StateSchema({ name: z.string(), age: z.number().optional() });
const Greeting = new StateSchema({ greeting: z.string() });

/** Schemas of everything: state, input, output, context. */
export const greeter = new StateGraph({
  state: Profile,
  input: new StateSchema({ name: z.string() }),
  output: Greeting,
  context: z.object({ language: z.enum(["en", "de"]).default("en"), formal: z.boolean().optional() }),
})
  .addNode("greet", ({ name }) => ({ greeting: `Hello ${name}` }) as never)
  .addEdge(START, "greet")
  .addEdge("greet", END)
  .compile();

const Steps = Annotation.Root({ steps: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) });

/** One node, named by the configuration, as is a member of its input; a node cannot be "impossible". */
export function shaped(config: LangGraphRunnableConfig) {
  const node = String(config.configurable?.node ?? "plain");
  if (node === "impossible") throw new Error("no such node can be");
  const input = new StateSchema({ [`for_${node}`]: z.string().optional() });
  return new StateGraph({ state: Steps, input })
    .addNode(node, () => ({ steps: [node] }))
    .addEdge(START, node as typeof START)
    .addEdge(node as typeof START, END)
    .compile();
}

const cellar = new StateGraph(Steps)
  .addNode("dig", () => ({ steps: ["dig"] }))
  .addNode("pave", () => ({ steps: ["pave"] }))
  .addEdge(START, "dig")
  .addEdge("dig", "pave")
  .addEdge("pave", END)
  .compile();

const ground = new StateGraph(Steps)
  .addNode("cellar", cellar)
  .addNode("walls", () => ({ steps: ["walls"] }))
  .addEdge(START, "cellar")
  .addEdge("cellar", "walls")
  .addEdge("walls", END)
  .compile();

/** Subgraphs on two levels, each of more than one node: LangGraph draws no smaller one open. */
export const house = new StateGraph(Steps)
  .addNode("ground", ground)
  .addNode("roof", () => ({ steps: ["roof"] }))
  .addEdge(START, "ground")
  .addConditionalEdges("ground", () => "roof", ["roof", END])
  .addEdge("roof", END)
  .compile();

interface Ticket {
  /** As the customer put it. */
  title: string;
  urgency?: "low" | "high";
  /** Those that it was split into. */
  parts?: Ticket[];
}

const Desk = Annotation.Root({
  ...MessagesAnnotation.spec,
  ticket: Annotation<Ticket | null>,
  owner: Annotation<string | undefined>,
  notes: Annotation<string[], string>({ reducer: (all, note) => [...all, note], default: () => [] }),
});

const review = new StateGraph(Annotation.Root({ approved: Annotation<boolean> }))
  .addNode("check", () => ({ approved: true }))
  .addEdge(START, "check")
  .compile();

const office = new StateGraph(Annotation.Root({ owner: Annotation<string | undefined>, stamp: Annotation<number> }))
  .addNode("review", review)
  .addNode("file", () => ({}))
  .addEdge(START, "review")
  .addEdge("review", "file")
  .compile();

/** Nothing of it has a schema at run time: what it holds is said by types alone, as are its subgraphs. */
export const desk = new StateGraph(
  { stateSchema: Desk, input: Annotation.Root({ ...MessagesAnnotation.spec, ticket: Annotation<Ticket | null> }) },
  Annotation.Root({ tone: Annotation<"formal" | "friendly"> }),
)
  .addNode("office", office)
  .addEdge(START, "office")
  .addEdge("office", END)
  .compile();
