/**
 * LangChain messages as stored fields and back, of whatever copy of `@langchain/core` they are.
 *
 * Every field of a message is kept as it is. A message comes back through an empty constructor and gets its fields
 * assigned, because constructors interpret what they are given (they parse tool calls, merge chunks, warn).
 */
import type { MessageLike } from "../core/json.js";
import { isMessageClass, type MessageClass, type MessageKit } from "../core/kit.js";

export type MessageFields = Record<string, unknown>;

const COMMON = ["id", "name", "additional_kwargs", "response_metadata"] as const;
const AI = [...COMMON, "tool_calls", "invalid_tool_calls", "usage_metadata"] as const;
const TOOL = [...COMMON, "tool_call_id", "status", "artifact", "metadata"] as const;
const CHAT = [...COMMON, "role"] as const;

/** Their fields beside `content`. */
const FIELDS = {
  HumanMessage: COMMON,
  HumanMessageChunk: COMMON,
  SystemMessage: COMMON,
  SystemMessageChunk: COMMON,
  FunctionMessage: COMMON,
  FunctionMessageChunk: COMMON,
  RemoveMessage: COMMON,
  AIMessage: AI,
  AIMessageChunk: [...AI, "tool_call_chunks"],
  ToolMessage: TOOL,
  ToolMessageChunk: TOOL,
  ChatMessage: CHAT,
  ChatMessageChunk: CHAT,
} as const satisfies Record<MessageClass, readonly string[]>;

/** For classes of users, which extend one of these under another name. */
const CLASS_BY_TYPE: Readonly<Record<string, MessageClass>> = {
  human: "HumanMessage",
  ai: "AIMessage",
  system: "SystemMessage",
  tool: "ToolMessage",
  function: "FunctionMessage",
  generic: "ChatMessage",
  remove: "RemoveMessage",
};

/** Constructors fill these in by themselves; empty, they are not stored. */
const COLLECTIONS: ReadonlySet<string> = new Set([
  "additional_kwargs",
  "response_metadata",
  "tool_calls",
  "invalid_tool_calls",
  "tool_call_chunks",
]);

/** Constructor arguments that are no field of their own: `type` follows from the class, `contentBlocks` is `content`. */
const DERIVED = ["content", "contentBlocks", "type"];

const KNOWN: ReadonlySet<string> = new Set([...DERIVED, ...Object.values(FIELDS).flat()]);

/** The parts of a message to store; undefined for a kind of message that LangChain does not have. */
export function readMessage(
  message: MessageLike,
): { name: MessageClass; fields: MessageFields; extras: Record<string, unknown> } | undefined {
  const name = classOf(message);
  if (name === undefined) return undefined;
  const source = message as unknown as Record<string, unknown>; // read only: classOf has told that it is a message
  const fields: MessageFields = { content: source.content };
  for (const field of FIELDS[name]) {
    const value = source[field];
    if (value !== undefined && !(COLLECTIONS.has(field) && isEmpty(value))) fields[field] = value;
  }
  return { name, fields, extras: readExtras(source.lc_kwargs) };
}

/** A message of the class as `kit` knows it. `fields` and `extras` become part of it. */
export function createMessage(
  kit: MessageKit,
  name: MessageClass,
  fields: MessageFields,
  extras: Record<string, unknown>,
): object {
  // every name of classOf is a class of the module, and each takes its fields as one object
  const Class = kit.messages[name] as unknown as new (fields: { content: string }) => Record<string, unknown>;
  const message = new Class({ content: "" });
  const kwargs = message.lc_kwargs as Record<string, unknown>;
  for (const field in fields) {
    message[field] = fields[field];
    kwargs[field] = fields[field];
  }
  if (!isEmpty(extras)) message.lc_kwargs = { ...kwargs, ...extras };
  return message;
}

function classOf(message: MessageLike): MessageClass | undefined {
  const Class = message.constructor as { lc_name?: () => unknown } | undefined;
  const name = typeof Class?.lc_name === "function" ? Class.lc_name() : undefined;
  if (isMessageClass(name)) return name;
  return Object.hasOwn(CLASS_BY_TYPE, message.type) ? CLASS_BY_TYPE[message.type] : undefined;
}

/** What the constructor was given beyond LangChain's fields; LangChain itself keeps it there, too. */
function readExtras(kwargs: unknown): Record<string, unknown> {
  if (typeof kwargs !== "object" || kwargs === null) return {};
  const unknown = Object.entries(kwargs).filter(([key, value]) => !KNOWN.has(key) && value !== undefined);
  return Object.fromEntries(unknown);
}

function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value !== "object" || value === null) return false;
  for (const _ in value) return false;
  return true;
}
