/** Identifiers: time-ordered uuids for what heddle creates, LangGraph's name-based uuid for system assistants. */
import { v5, v7 } from "@langchain/core/utils/uuid";

/** The namespace from which the Platform derives a system assistant's id. */
const SYSTEM_ASSISTANT_NAMESPACE = "6ba7b821-9dad-11d1-80b4-00c04fd430c8";

/** A uuid that sorts by creation time (RFC 9562, version 7). */
export function newId(): string {
  return v7();
}

/** The id that every server of this API gives to the assistant of graph `graphId`. */
export function systemAssistantId(graphId: string): string {
  return v5(graphId, SYSTEM_ASSISTANT_NAMESPACE);
}
