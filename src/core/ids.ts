/** Identifiers: time-ordered uuids for what heddle creates, LangGraph's name-based uuid for system assistants. */
import { randomUUID } from "node:crypto";
import { v5 } from "@langchain/core/utils/uuid";

/** The namespace from which the Platform derives a system assistant's id. */
const SYSTEM_ASSISTANT_NAMESPACE = "6ba7b821-9dad-11d1-80b4-00c04fd430c8";

/**
 * A uuid that sorts by creation time (RFC 9562, version 7): 48 bits of milliseconds, and the random bits of a version 4
 * one, which Node has in store where other libraries ask the system for each.
 */
export function newId(): string {
  const time = Date.now().toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

/** The id that every server of this API gives to the assistant of graph `graphId`. */
export function systemAssistantId(graphId: string): string {
  return v5(graphId, SYSTEM_ASSISTANT_NAMESPACE);
}
