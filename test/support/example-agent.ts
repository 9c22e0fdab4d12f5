/** A gateway on SQLite that serves the example agent offline and keeps the words of a stopped answer. */
import { vi } from "vitest";
import { startTestGateway, type TestGateway } from "./gateway.js";

export function startExampleAgent(): Promise<TestGateway> {
  vi.stubEnv("AGENT_MODEL", "scripted"); // whatever keys the developer has set
  return startTestGateway({
    storage: "sqlite",
    config: {
      graphs: { agent: "./examples/graphs/agent.ts:graph" },
      runs: { keep_partial_on_cancel: true },
    },
  });
}
