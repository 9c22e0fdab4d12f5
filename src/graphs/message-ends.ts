/**
 * Tells when a message that a model streams is complete, which LangGraph's `messages` mode does not say.
 *
 * A model call may end before its last tokens have come out of the graph's stream. So tokens are counted where the model
 * says them and where they come out, and an end is told when the counts meet. Where they never do (calls that are not
 * streamed, for example) nothing is told: the end of the message's task says it.
 */
import type { MessageLike } from "../core/json.js";
import { isChunk } from "./message-chunks.js";

export interface MessageEnds {
  /** To be called back by LangChain during the execution. */
  readonly handler: LangChainHandler;
  /** Takes note of what came out of the graph's `messages` mode. */
  out(tuple: unknown): void;
  /** The ids of messages that are complete now, each once. */
  take(): readonly string[];
}

/** What of LangChain's `CallbackHandlerMethods` is used, whichever copy of the library calls it. */
export interface LangChainHandler {
  readonly awaitHandlers: true;
  handleLLMNewToken(
    token: string,
    indices: unknown,
    callId: string,
    parentId: unknown,
    tags: unknown,
    fields?: { readonly chunk?: { readonly message?: MessageLike } },
  ): void;
  handleLLMEnd(output: unknown, callId: string): void;
  handleLLMError(error: unknown, callId: string): void;
}

interface Call {
  messageId: string;
  tokens: number;
}

export function createMessageEnds(): MessageEnds {
  const calls = new Map<string, Call>();
  /** By message: how many tokens of it have come out. */
  const seen = new Map<string, number>();
  const ended: Call[] = [];

  function endCall(callId: string): void {
    const call = calls.get(callId);
    calls.delete(callId);
    if (call !== undefined) ended.push(call);
  }

  return {
    handler: {
      awaitHandlers: true,
      handleLLMNewToken(_token, _indices, callId, _parentId, _tags, fields) {
        const messageId = fields?.chunk?.message?.id ?? `run-${callId}`; // as LangGraph names what has no id yet
        const call = calls.get(callId) ?? { messageId, tokens: 0 };
        call.tokens++;
        calls.set(callId, call);
      },
      handleLLMEnd: (_output, callId) => endCall(callId),
      handleLLMError: (_error, callId) => void calls.delete(callId),
    },

    out(tuple) {
      const [message] = tuple as [MessageLike]; // LangGraph's messages mode yields pairs that begin with it
      if (isChunk(message) && message.id !== undefined) seen.set(message.id, (seen.get(message.id) ?? 0) + 1);
    },

    take() {
      if (ended.length === 0) return NONE;
      const complete: string[] = [];
      for (let index = ended.length - 1; index >= 0; index--) {
        const { messageId, tokens } = ended[index] ?? NO_CALL;
        if ((seen.get(messageId) ?? 0) < tokens) continue;
        ended.splice(index, 1);
        seen.delete(messageId);
        complete.unshift(messageId);
      }
      return complete;
    },
  };
}

const NONE: readonly string[] = [];
const NO_CALL: Call = { messageId: "", tokens: Number.POSITIVE_INFINITY };
