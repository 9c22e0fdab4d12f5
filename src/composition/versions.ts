/** Which heddle this is, and which LangGraph it runs. */
import { createRequire } from "node:module";

export function versions(): { readonly version: string; readonly langgraphVersion: string } {
  const require = createRequire(import.meta.url);
  return {
    version: (require("../../package.json") as { version: string }).version,
    langgraphVersion: (require("@langchain/langgraph/package.json") as { version: string }).version,
  };
}
