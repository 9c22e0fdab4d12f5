/**
 * LangChain classes as one graph sees them.
 *
 * A graph's project may carry its own copy of `@langchain/core` and `@langchain/langgraph`. Values that heddle hands to a
 * graph are built with that copy, so that `instanceof` in user code holds; heddle itself never uses `instanceof` on them.
 */
import * as hostMessages from "@langchain/core/messages";
import { Command, Send } from "@langchain/langgraph";

export interface MessageKit {
  /** The module `@langchain/core/messages`. */
  readonly messages: typeof hostMessages;
  readonly Command: typeof Command;
  readonly Send: typeof Send;
}

/** heddle's own copy. */
export const hostKit: MessageKit = { messages: hostMessages, Command, Send };
