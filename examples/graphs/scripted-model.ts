/**
 * A chat model that needs no network: it says what a script tells it to, token by token.
 *
 * It behaves like a hosted model where that matters to a gateway: text and tool calls arrive in chunks, usage comes
 * with the last one, and an aborted run stops between two tokens. The same conversation always gets the same answer.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessageChunk, type BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk, type ChatResult } from "@langchain/core/outputs";
import { concat } from "@langchain/core/utils/stream";

export interface ScriptedToolCall {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface ScriptedReply {
  readonly text: string;
  readonly toolCalls?: readonly ScriptedToolCall[];
}

/** Decides what the model says next from the conversation so far. */
export type Script = (messages: readonly BaseMessage[]) => ScriptedReply;

export interface ScriptedModelOptions {
  readonly script: Script;
  /** Pause before each token, in milliseconds. */
  readonly tokenDelayMs: number;
}

/** A streaming chat model that follows a script; rejects with an `AbortError` when its signal aborts. */
export class ScriptedModel extends BaseChatModel {
  readonly #script: Script;
  readonly #tokenDelayMs: number;

  constructor(options: ScriptedModelOptions) {
    super({});
    this.#script = options.script;
    this.#tokenDelayMs = options.tokenDelayMs;
  }

  override _llmType(): string {
    return "scripted";
  }

  /** The script already knows its tools. */
  override bindTools(): this {
    return this;
  }

  override async *_streamResponseChunks(
    messages: BaseMessage[],
    options: this["ParsedCallOptions"],
    runManager?: CallbackManagerForLLMRun,
  ): AsyncGenerator<ChatGenerationChunk> {
    const reply = this.#script(messages);
    const toolCalls = reply.toolCalls ?? [];
    const pieces = [...textPieces(reply.text), ...toolCallPieces(toolCalls, countToolCalls(messages))];
    for (const piece of [...pieces, lastPiece(messages, pieces.length, toolCalls.length > 0)]) {
      options.signal?.throwIfAborted();
      if (this.#tokenDelayMs > 0) await delay(this.#tokenDelayMs, undefined, { signal: options.signal });
      const chunk = new ChatGenerationChunk({ text: piece.text, message: piece });
      yield chunk;
      await runManager?.handleLLMNewToken(chunk.text, undefined, undefined, undefined, undefined, { chunk });
    }
  }

  override async _generate(
    messages: BaseMessage[],
    options: this["ParsedCallOptions"],
    runManager?: CallbackManagerForLLMRun,
  ): Promise<ChatResult> {
    let whole: ChatGenerationChunk | undefined;
    for await (const chunk of this._streamResponseChunks(messages, options, runManager)) {
      whole = whole === undefined ? chunk : concat(whole, chunk);
    }
    return { generations: whole === undefined ? [] : [whole] };
  }
}

/** The text of a message, whether it is a string or a list of content blocks. */
export function textOf(message: BaseMessage | undefined): string {
  return message?.text ?? "";
}

/** Words with the white space before them; joined they are the text again. */
function textPieces(text: string): AIMessageChunk[] {
  return (text.match(/\s*\S+|\s+$/g) ?? []).map((content) => new AIMessageChunk({ content }));
}

/** As hosted models do it: the name first, then the arguments as fragments of JSON. */
function toolCallPieces(calls: readonly ScriptedToolCall[], callsBefore: number): AIMessageChunk[] {
  return calls.flatMap((call, index) => {
    const type = "tool_call_chunk" as const;
    const head = { type, index, id: `call_${callsBefore + index + 1}`, name: call.name, args: "" };
    const fragments = JSON.stringify(call.args).match(/.{1,12}/gsu) ?? [];
    return [head, ...fragments.map((args) => ({ type, index, args }))].map(
      (chunk) => new AIMessageChunk({ content: "", tool_call_chunks: [chunk] }),
    );
  });
}

function lastPiece(messages: readonly BaseMessage[], outputTokens: number, callsTools: boolean): AIMessageChunk {
  const inputTokens = messages.reduce((sum, message) => sum + textPieces(textOf(message)).length, 0);
  return new AIMessageChunk({
    content: "",
    response_metadata: { model_name: "scripted", finish_reason: callsTools ? "tool_calls" : "stop" },
    usage_metadata: {
      input_tokens: inputTokens,
      output_tokens: outputTokens,
      total_tokens: inputTokens + outputTokens,
    },
  });
}

function countToolCalls(messages: readonly BaseMessage[]): number {
  return messages.filter((message) => message.getType() === "tool").length;
}
