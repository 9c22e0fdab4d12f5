/** What a message makes of a graph's input. Pure. */
import type { Assistant, Json } from "../core/model.js";
import { isObject } from "../protocol/json-object.js";
import { takesType } from "./a2a-card.js";
import { A2A_ERRORS } from "./a2a-errors.js";
import { MESSAGE_ID, type Part, type SentMessage, toGraphContent } from "./a2a-message.js";
import { RpcError } from "./json-rpc.js";

export interface InputOptions {
  readonly assistant: Assistant;
  readonly takesMessages: boolean;
  /** Of the graph's message. */
  readonly messageId: string;
}

/**
 * Data is the input of a graph that takes no messages, and a part of the message for any other. Throws an `RpcError` for
 * what the agent does not take.
 */
export function inputOf(message: SentMessage, { assistant, takesMessages, messageId }: InputOptions): Json {
  const { parts } = message;
  for (const part of parts) requireType(assistant, part);
  if (takesMessages) {
    const named = { additional_kwargs: { [MESSAGE_ID]: message.messageId } };
    return { messages: [{ type: "human", id: messageId, content: toGraphContent(parts), ...named }] };
  }
  const [only, ...others] = parts;
  if (only?.kind === "data" && others.length === 0 && isObject(only.data)) return only.data;
  throw new RpcError(A2A_ERRORS.contentType, "the agent takes no messages: send one part with data");
}

function requireType(assistant: Assistant, part: Part): void {
  if (part.kind !== "file" || takesType(assistant, part.file.mediaType)) return;
  throw new RpcError(A2A_ERRORS.contentType, `the agent takes no files of type ${part.file.mediaType}`);
}
