/**
 * LangChain classes as one graph sees them.
 *
 * A graph's project may carry its own copy of `@langchain/core` and `@langchain/langgraph`. Values that heddle hands to a
 * graph are built with that copy, so that `instanceof` in user code holds; heddle itself never uses `instanceof` on them.
 */
import * as hostMessages from "@langchain/core/messages";
import { Command, Send } from "@langchain/langgraph";
import type { Json } from "./model.js";

export interface MessageKit {
  /** The module `@langchain/core/messages`. */
  readonly messages: typeof hostMessages;
  readonly Command: typeof Command;
  readonly Send: typeof Send;
}

/** heddle's own copy. */
export const hostKit: MessageKit = { messages: hostMessages, Command, Send };

/** The message classes that LangChain has, by the names that they are serialized under. */
export const MESSAGE_CLASSES = [
  "HumanMessage",
  "HumanMessageChunk",
  "SystemMessage",
  "SystemMessageChunk",
  "FunctionMessage",
  "FunctionMessageChunk",
  "RemoveMessage",
  "AIMessage",
  "AIMessageChunk",
  "ToolMessage",
  "ToolMessageChunk",
  "ChatMessage",
  "ChatMessageChunk",
] as const;
export type MessageClass = (typeof MESSAGE_CLASSES)[number];

export function isMessageClass(name: unknown): name is MessageClass {
  return MESSAGE_CLASSES.some((known) => known === name);
}

/** Whether LangGraph would obey the input instead of giving it to the graph: a command, or a list with one. */
export function isCommand(value: Json): boolean {
  if (Array.isArray(value)) return value.some(isCommand);
  return typeof value === "object" && value !== null && "lg_name" in value && value.lg_name === "Command";
}
