/** The react-chat page in a real browser, straight at a gateway process on SQLite. */
import { serveExampleAgent } from "../support/example-agent.js";
import { describeReactChat } from "../support/react-chat-suite.js";

describeReactChat("react-chat at the gateway", {
  restarts: true,
  modes: [
    { hook: "legacy", transport: "sse", scope: "all" },
    { hook: "event-streaming", transport: "sse", scope: "all" },
    { hook: "event-streaming", transport: "websocket", scope: "essentials" },
  ],
  async start() {
    const gateway = await serveExampleAgent();
    return {
      apiUrl: gateway.url,
      restart: (meanwhile) => gateway.restart("SIGKILL", meanwhile),
      stop: () => gateway[Symbol.asyncDispose](),
    };
  },
});
