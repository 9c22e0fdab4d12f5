/** What a LangChain message is in JSON, in one short definition for all kinds of messages. */
import type { JsonObject } from "../core/model.js";

/** The name that schemas refer to it by. */
export const MESSAGE = "Message";

export const messageSchema: JsonObject = {
  type: "object",
  properties: {
    type: { enum: ["human", "ai", "system", "developer", "tool", "function", "generic", "remove"] },
    content: { anyOf: [{ type: "string" }, { type: "array", items: { type: ["string", "object"] } }] },
    id: { type: ["string", "null"] },
    name: { type: ["string", "null"] },
    tool_calls: { type: "array", items: { type: "object" } },
    tool_call_id: { type: "string" },
  },
  required: ["content"],
};

/** Marks a field that holds a list of messages, as LangGraph's own schemas do. */
export const MESSAGE_LIST: JsonObject = { langgraph_type: "messages" };
