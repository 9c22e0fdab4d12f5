/** A run that is known to execute: its first step is done and it waits in its second, until somebody stops it. */
import type { Client } from "@langchain/langgraph-sdk";

/** Starts the graph `slow`, or an assistant of it, on a thread; returns the run's id. */
export async function startSlowRun(client: Client, threadId: string, assistantId = "slow"): Promise<string> {
  let runId: string | undefined;
  const stream = client.runs.stream(threadId, assistantId, {
    input: { input: 1 },
    streamMode: "values",
    onDisconnect: "continue",
    onRunCreated: (created) => {
      runId = created.run_id;
    },
  });
  for await (const { event, data } of stream) {
    if (event === "values" && (data as { steps?: string[] }).steps?.includes("first") === true) break;
  }
  if (runId === undefined) throw new Error("the run said nothing of its id");
  return runId;
}
