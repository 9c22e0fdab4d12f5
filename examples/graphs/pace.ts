/** How fast the scripted examples speak; `token_delay_ms` in a run's `context` or `config.configurable`. */
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { z } from "zod";

const DEFAULT_TOKEN_DELAY_MS = 20;

/** What a run of a scripted example may be configured with. */
export const Pace = z.object({
  token_delay_ms: z.number().min(0).max(60_000).optional().describe("Pause before each token, in milliseconds"),
});

/** The run's pause before each token, in milliseconds; throws if it is not a sensible number. */
export function tokenDelayMs(config: LangGraphRunnableConfig): number {
  const chosen = Pace.parse({ ...config.configurable, ...config.context });
  return chosen.token_delay_ms ?? DEFAULT_TOKEN_DELAY_MS;
}
