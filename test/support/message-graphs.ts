/** Graphs that say messages in every way that LangGraph streams them. */
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import {
  AIMessage,
  AIMessageChunk,
  type BaseMessage,
  type BaseMessageLike,
  HumanMessage,
} from "@langchain/core/messages";
import { ChatGenerationChunk, type ChatResult } from "@langchain/core/outputs";
import {
  END,
  type LangGraphRunnableConfig,
  MessagesAnnotation,
  pushMessage,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { createMessageTuples } from "../../src/graphs/message-chunks.js";
import type { MessageEvent } from "../../src/protocol/messages.js";

export type ChunkFields = Exclude<ConstructorParameters<typeof AIMessageChunk>[0], string>;

interface Manager {
  handleLLMNewToken(text: string, ...rest: unknown[]): Promise<unknown>;
}

/** Says the chunks that it is given. */
export class ScriptedModel extends BaseChatModel {
  readonly chunks: readonly ChunkFields[];

  constructor(chunks: readonly ChunkFields[]) {
    super({});
    this.chunks = chunks;
  }

  _llmType(): string {
    return "scripted";
  }

  async _generate(): Promise<ChatResult> {
    const [first, ...others] = this.chunks.map((fields) => new AIMessageChunk(fields));
    if (first === undefined) throw new Error("the model has nothing to say");
    const message = others.reduce((said, chunk) => said.concat(chunk), first);
    return { generations: [{ text: "", message }] };
  }

  override async *_streamResponseChunks(
    _messages: BaseMessage[],
    _options: this["ParsedCallOptions"],
    runManager?: Manager,
  ): AsyncGenerator<ChatGenerationChunk> {
    for (const fields of this.chunks) {
      const message = new AIMessageChunk(fields);
      const text = typeof message.content === "string" ? message.content : "";
      const chunk = new ChatGenerationChunk({ text, message });
      yield chunk;
      await runManager?.handleLLMNewToken(text, undefined, undefined, undefined, undefined, { chunk });
    }
  }
}

type Say = (config: LangGraphRunnableConfig) => Promise<BaseMessageLike | BaseMessageLike[]> | BaseMessageLike[];

/** A graph of one node. */
export function saying(say: Say) {
  return new StateGraph(MessagesAnnotation)
    .addNode("say", async (_, config: LangGraphRunnableConfig) => ({ messages: await say(config) }))
    .addEdge(START, "say")
    .addEdge("say", END)
    .compile();
}

export type MessageGraph = ReturnType<typeof saying>;

export function streaming(chunks: readonly ChunkFields[]): MessageGraph {
  return saying((config) => new ScriptedModel(chunks).invoke([], config));
}

const call = (fields: { index: number; id?: string; name?: string; args: string }) => ({
  type: "tool_call_chunk" as const,
  ...fields,
});
const usage = (input: number, output: number) => ({
  input_tokens: input,
  output_tokens: output,
  total_tokens: input + output,
});

export const TEXT: readonly ChunkFields[] = [{ content: "" }, { content: "Hel" }, { content: "lo" }, { content: "" }];

export const REASONING: readonly ChunkFields[] = [
  { content: [{ type: "reasoning", reasoning: "Let me", index: 0 }] },
  { content: [{ type: "reasoning", reasoning: " think", index: 0 }] },
  { content: [{ type: "text", text: "Forty", index: 1 }] },
  { content: [{ type: "text", text: "-two", index: 1 }] },
];

export const THINKING: readonly ChunkFields[] = [
  { content: [{ type: "thinking", thinking: "Hm", index: 0 }] },
  { content: [{ type: "thinking", thinking: "m", index: 0 }] },
  { content: [{ type: "thinking", signature: "sig", index: 0 }] },
  { content: [{ type: "text", text: "Yes", index: 1 }] },
];

/** As OpenAI counts: texts and calls each from 0. */
export const CALLS: readonly ChunkFields[] = [
  { content: "I look" },
  { content: "", tool_call_chunks: [call({ index: 0, id: "c1", name: "search", args: "" })] },
  { content: "", tool_call_chunks: [call({ index: 0, args: '{"q":' })] },
  { content: "", tool_call_chunks: [call({ index: 0, args: '"a"}' })] },
  { content: "", tool_call_chunks: [call({ index: 1, id: "c2", name: "open", args: "" })] },
  { content: "", tool_call_chunks: [call({ index: 1, args: '{"n":1}' })] },
];

/** As Anthropic counts: one block after the other. */
export const ANTHROPIC_CALL: readonly ChunkFields[] = [
  { content: [{ type: "text", text: "I look", index: 0 }] },
  {
    content: [{ type: "tool_use", id: "c1", name: "search", input: "", index: 1 }],
    tool_call_chunks: [call({ index: 1, id: "c1", name: "search", args: "" })],
  },
  {
    content: [{ type: "input_json_delta", input: '{"q":', index: 1 }],
    tool_call_chunks: [call({ index: 1, args: '{"q":' })],
  },
  {
    content: [{ type: "input_json_delta", input: '"a"}', index: 1 }],
    tool_call_chunks: [call({ index: 1, args: '"a"}' })],
  },
];

export const BROKEN_CALL: readonly ChunkFields[] = [
  { content: "", tool_call_chunks: [call({ index: 0, id: "c1", name: "search", args: '{"q" 1' })] },
];

export const IMAGE: readonly ChunkFields[] = [
  { content: [{ type: "text", text: "Look", index: 0 }] },
  { content: [{ type: "image", id: "i1", data: "QUJD", mimeType: "image/png", index: 1 }] },
];

export const AUDIO: readonly ChunkFields[] = [
  { content: "", additional_kwargs: { audio: { id: "a1", transcript: "Hel" } } },
  { content: "", additional_kwargs: { audio: { data: "QUJD", transcript: "lo" } } },
  { content: "", additional_kwargs: { audio: { data: "REVG" } } },
];

export const GENERATED_IMAGE: readonly ChunkFields[] = [
  { content: "Drawn" },
  {
    content: "",
    additional_kwargs: {
      tool_outputs: [{ type: "image_generation_call", id: "g1", result: "QUJD", output_format: "webp" }],
    },
  },
];

export const USAGE: readonly ChunkFields[] = [
  { content: "Hi", usage_metadata: usage(5, 0) },
  { content: "", usage_metadata: usage(0, 2), response_metadata: { finish_reason: "length", model_name: "m" } },
];

export const returned = saying(() => [
  new AIMessage({ id: "w1", content: "whole", usage_metadata: usage(1, 2), response_metadata: { model_name: "m" } }),
]);

export const returnedHuman = saying(() => [new HumanMessage({ id: "h1", content: "hello" })]);

export const pushed = saying((config) => {
  pushMessage(new AIMessage({ id: "p1", content: [{ type: "text", text: "half" }] }), config);
  pushMessage(new AIMessage({ id: "p1", content: "done" }), config);
  return [];
});

/** What the log says of a run, and how its state ends. */
export async function logOf(graph: MessageGraph): Promise<{ log: string[]; messages: BaseMessage[] }> {
  const tuples = createMessageTuples();
  const log: string[] = [];
  let messages: BaseMessage[] = [];
  const stream = await graph.stream({ messages: [] }, { streamMode: ["messages", "values"] });
  for await (const [mode, payload] of stream) {
    if (mode === "messages") for (const { data } of tuples.fromTuple([], payload)) log.push(data);
    else messages = (payload as { messages: BaseMessage[] }).messages;
  }
  return { log, messages };
}

/** LangGraph's own events of the protocol. */
export async function eventsOf(graph: MessageGraph): Promise<readonly MessageEvent[]> {
  const events: MessageEvent[] = [];
  for await (const { method, params } of await graph.streamEvents({ messages: [] }, { version: "v3" })) {
    if (method !== "messages") continue;
    const { namespace, node, data } = JSON.parse(JSON.stringify(params)) as MessageEvent;
    events.push({ namespace, node, data });
  }
  return events;
}
