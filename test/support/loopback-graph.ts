/** A graph that asks the gateway it runs in, by a client without a URL. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ callerOptions: { maxRetries: 0 } });
const INPUT = { messages: [{ type: "human", content: "from inside" }] };
const State = Annotation.Root({ status: Annotation<string>, said: Annotation<unknown> });

export const graph = new StateGraph(State)
  .addNode("ask", async () => {
    const thread = await client.threads.create();
    const said = await client.runs.wait(thread.thread_id, "echo", { input: INPUT });
    return { status: thread.status, said };
  })
  .addEdge(START, "ask")
  .compile();
