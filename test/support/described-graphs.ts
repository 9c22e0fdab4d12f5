/** Graphs that say what they look like: with schemas, with subgraphs, and one whose shape depends on its configuration. */
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph, StateSchema } from "@langchain/langgraph";
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

/** One node, named by the configuration. */
export function shaped(config: LangGraphRunnableConfig) {
  const node = String(config.configurable?.node ?? "plain");
  return new StateGraph(Steps)
    .addNode(node, () => ({ steps: [node] }))
    .addEdge(START, node as typeof START)
    .addEdge(node as typeof START, END)
    .compile();
}
