/** The react-chat page in a real browser, through the shipped nginx.conf and its path prefix. */
import { startExampleAgent } from "../support/example-agent.js";
import { NGINX, NGINX_MISSING, startNginx } from "../support/nginx.js";
import { describeReactChat } from "../support/react-chat-suite.js";

describeReactChat("react-chat through nginx", {
  missing: NGINX === undefined ? NGINX_MISSING : undefined,
  modes: [
    { hook: "legacy", transport: "sse", scope: "all" },
    { hook: "event-streaming", transport: "sse", scope: "essentials" },
    { hook: "event-streaming", transport: "websocket", scope: "essentials" },
  ],
  async start() {
    const gateway = await startExampleAgent();
    const nginx = await startNginx(Number(new URL(gateway.url).port));
    return {
      apiUrl: `${nginx.url}/api/langgraph`,
      async stop() {
        await nginx.stop();
        await gateway.stop();
      },
    };
  },
});
