/** The react-chat page in a real browser, straight at a gateway on SQLite. */
import { startExampleAgent } from "../support/example-agent.js";
import { describeReactChat } from "../support/react-chat-suite.js";

describeReactChat("react-chat at the gateway", {
  async start() {
    const gateway = await startExampleAgent();
    return { apiUrl: gateway.url, stop: () => gateway.stop() };
  },
});
