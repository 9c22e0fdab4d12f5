/** Gateways that serve the example graphs offline and keep the words of a stopped answer. */
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { startTestGateway, type TestGateway } from "./gateway.js";
import { type ServedGateway, serveGateway } from "./served-gateway.js";

const EXAMPLES = fileURLToPath(new URL("../../examples/graphs", import.meta.url));

/** In this process, on SQLite. */
export function startExampleAgent(runs: Record<string, unknown> = {}): Promise<TestGateway> {
  return startTestGateway({ storage: "sqlite", config: exampleConfig(runs) });
}

/** As a process that can be killed and started again. */
export function serveExampleAgent(): Promise<ServedGateway> {
  return serveGateway(exampleConfig({}));
}

/** Sections of config.yaml. */
export function exampleConfig(runs: Record<string, unknown>) {
  vi.stubEnv("AGENT_MODEL", "scripted"); // whatever keys the developer has set
  const names = ["agent", "crew", "subgraphs"];
  return {
    graphs: Object.fromEntries(names.map((name) => [name, `${EXAMPLES}/${name}.ts:graph`])),
    runs: { keep_partial_on_cancel: true, ...runs },
  };
}
