/** The react-chat page in a real browser, straight at a gateway on SQLite. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { loadConfig } from "../../src/config.js";
import { silentLog } from "../../src/core/log.js";
import { startGateway } from "../../src/server.js";
import { describeReactChat, type ServedGateway } from "../support/react-chat-suite.js";

const AGENT = fileURLToPath(new URL("../../examples/graphs/agent.ts", import.meta.url));

describeReactChat("react-chat at the gateway", async (): Promise<ServedGateway> => {
  vi.stubEnv("AGENT_MODEL", "scripted"); // whatever keys the developer has set
  const folder = mkdtempSync(join(tmpdir(), "heddle-e2e-"));
  const file = join(folder, "config.yaml");
  writeFileSync(file, JSON.stringify({ graphs: { agent: `${AGENT}:graph` }, runs: { keep_partial_on_cancel: true } }));
  const { config } = loadConfig({ cwd: folder, file, environment: {}, overrides: { port: 0 } });
  const gateway = await startGateway(config, { log: silentLog, watch: false });
  return {
    apiUrl: gateway.url,
    async stop() {
      await gateway.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
