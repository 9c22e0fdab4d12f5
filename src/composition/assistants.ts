/** Assistants: every graph that was loaded has its system assistant from the start. */
import { createAssistantService } from "../graphs/assistants.js";
import { SqlAssistantStore } from "../storage/assistants.js";
import type { Code } from "./code.js";
import type { Storage } from "./storage.js";

interface AssistantsDeps {
  readonly storage: Pick<Storage, "database" | "clock">;
  readonly code: Pick<Code, "host">;
}

export async function openAssistants({ storage: { database, clock }, code: { host } }: AssistantsDeps) {
  const assistants = createAssistantService({ assistants: new SqlAssistantStore({ database, clock }), host });
  await assistants.syncSystemAssistants();
  return assistants;
}
