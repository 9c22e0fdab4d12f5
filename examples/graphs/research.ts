/**
 * Plans, investigates in parallel, and reports: one branch per question (`Send`), progress as custom events.
 *
 * Ask it about anything. With `custom` among the stream modes every branch tells how far it is; the findings join in
 * the order of the plan, whatever branch finishes first.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  type LangGraphRunnableConfig,
  MessagesValue,
  Overwrite,
  ReducedValue,
  Send,
  START,
  StateGraph,
  StateSchema,
} from "@langchain/langgraph";
import { z } from "zod";
import { Pace, tokenDelayMs } from "./pace.js";
import { ScriptedModel, textOf } from "./scripted-model.js";

const STEPS = ["searching", "reading", "summarising"];

const Finding = z.object({ question: z.string(), answer: z.string() });

const State = new StateSchema({
  messages: MessagesValue,
  topic: z.string().default(""),
  questions: z.array(z.string()).default([]),
  findings: new ReducedValue(z.array(Finding).default([]), {
    reducer: (known, added) => [...known, ...added],
  }),
});

const Branch = new StateSchema({ question: z.string(), branch: z.number() });

function plan(state: typeof State.State): typeof State.Update {
  const asked = state.messages.findLast((message) => message.getType() === "human");
  const topic = (textOf(asked).trim() || state.topic.trim() || "weaving").replace(/[?!.]+$/u, "");
  const questions = [`Where does ${topic} come from?`, `How does ${topic} work?`, `Where is ${topic} going?`];
  // A second question in the same thread starts from an empty desk.
  return { topic, questions, findings: new Overwrite<z.infer<typeof Finding>[]>([]) };
}

function fanOut(state: typeof State.State): Send[] {
  return state.questions.map((question, branch) => new Send("investigate", { question, branch }));
}

async function investigate(
  { question, branch }: typeof Branch.State,
  config: LangGraphRunnableConfig,
): Promise<typeof State.Update> {
  for (const [index, step] of STEPS.entries()) {
    config.writer?.({ type: "progress", branch, question, step, done: index, of: STEPS.length });
    await delay(tokenDelayMs(config) * 5, undefined, { signal: config.signal });
  }
  config.writer?.({ type: "progress", branch, question, step: "finished", done: STEPS.length, of: STEPS.length });
  return { findings: [{ question, answer: ANSWERS[branch % ANSWERS.length] ?? "Nobody knows yet." }] };
}

async function report(state: typeof State.State, config: LangGraphRunnableConfig): Promise<typeof State.Update> {
  const script = (): { text: string } => ({ text: reportOn(state.topic, state.findings) });
  const model = new ScriptedModel({ script, tokenDelayMs: tokenDelayMs(config) });
  return { messages: [await model.invoke(state.messages.slice(-1), config)] };
}

/** The research graph of the examples. */
export const graph = new StateGraph(State, { context: Pace })
  .addNode("plan", plan)
  .addNode("investigate", investigate, { input: Branch })
  .addNode("report", report)
  .addEdge(START, "plan")
  .addConditionalEdges("plan", fanOut, ["investigate"])
  .addEdge("investigate", "report")
  .addEdge("report", "__end__")
  .compile({ name: "research", description: "Plans, investigates three questions in parallel, and writes a report." });

const ANSWERS = [
  "From many hands at once: every source I read names a different beginning, and all of them are partly right.",
  "By holding many thin things in order. Take one away and the rest still keep their places.",
  "Wherever the next row is laid. The direction is chosen one pass at a time.",
];

function reportOn(topic: string, findings: readonly z.infer<typeof Finding>[]): string {
  const sections = findings.map(({ question, answer }, index) => `${index + 1}. ${question}\n${answer}`);
  return [`What I found out about ${topic}:`, ...sections].join("\n\n");
}
