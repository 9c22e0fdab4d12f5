/**
 * The react-chat page in a real browser against 2 replicas that serve and 2 that execute, behind the shipped nginx.conf
 * (`npm run browser:cluster`).
 */
import { CLUSTER_MISSING, startCluster } from "../support/cluster.js";
import { exampleConfig } from "../support/example-agent.js";
import { describeReactChat } from "../support/react-chat-suite.js";
import { scaled } from "../support/scale.js";

describeReactChat("react-chat at a cluster", {
  missing: CLUSTER_MISSING,
  modes: scaled({
    quick: [{ hook: "legacy", transport: "sse", scope: "essentials" }],
    full: [
      { hook: "legacy", transport: "sse", scope: "all" },
      { hook: "event-streaming", transport: "sse", scope: "all" },
      { hook: "event-streaming", transport: "websocket", scope: "essentials" },
    ],
  }),
  async start() {
    const { graphs, ...config } = exampleConfig({});
    const cluster = await startCluster({ roles: ["api", "api", "worker", "worker"], graphs, config });
    return { apiUrl: `${cluster.url}/api/langgraph`, stop: () => cluster[Symbol.asyncDispose]() };
  },
});
