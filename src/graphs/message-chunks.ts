/**
 * Messages as two modes stream them: `messages-tuple` as they come, `messages` accumulated.
 *
 * The metadata of a message is the same object for all its tokens and is serialised once per message.
 */
import { flattenMessage, isMessage, type MessageLike, toJson } from "../core/json.js";
import type { JsonObject } from "../core/model.js";
import type { GraphEvent } from "./host.js";

/** What both kinds of message streams make of a chunk. */
export interface MessageStream {
  fromTuple(namespace: readonly string[], payload: unknown): Iterable<GraphEvent>;
  /** Told of full states, which show messages that were not streamed. */
  fromValues(namespace: readonly string[], values: unknown): Iterable<GraphEvent>;
  /** A tuple that is not shown, because it comes from a subgraph. */
  omit(payload: unknown): void;
}

interface MessageChunkLike extends MessageLike {
  concat(other: MessageLike): MessageChunkLike;
}

export function isChunk(message: MessageLike): message is MessageChunkLike {
  return "concat" in message && typeof message.concat === "function";
}

/** What LangGraph's messages mode yields. */
type Tuple = [message: MessageLike, metadata: JsonObject];

/** The namespace of the task that a message's metadata name, with those above it: `a:1|b:2`. */
export function taskOf(metadata: JsonObject): string {
  return String(metadata.langgraph_checkpoint_ns ?? metadata.checkpoint_ns ?? "");
}

// ---- messages-tuple

/**
 * `[message, metadata]`. A message of a subgraph that is not shown, and becomes a message of the root's state, is shown
 * then: LangGraph itself does not stream it again.
 */
export function createMessageTuples(): MessageStream {
  const metadataJson = new WeakMap<object, string>();
  /** By message: the metadata of the subgraph's node that streamed it. */
  const omitted = new Map<string, JsonObject>();

  function jsonOf(metadata: JsonObject): string {
    let json = metadataJson.get(metadata);
    if (json === undefined) {
      json = toJson(metadata);
      metadataJson.set(metadata, json);
    }
    return json;
  }

  return {
    *fromTuple(namespace, payload) {
      const [message, metadata] = payload as Tuple;
      yield { event: "messages", namespace, data: `[${messageJson(message)},${jsonOf(metadata)}]` };
    },

    *fromValues(namespace, values) {
      if (omitted.size === 0) return;
      for (const message of messagesIn(values)) {
        const metadata = message.id === undefined ? undefined : omitted.get(message.id);
        if (message.id === undefined || metadata === undefined) continue;
        omitted.delete(message.id);
        yield { event: "messages", namespace, data: `[${toJson(message)},${toJson(ofRootNode(metadata))}]` };
      }
    },

    omit(payload) {
      const [{ id }, metadata] = payload as Tuple;
      if (id !== undefined) omitted.set(id, metadata);
    },
  };
}

/** What can be told of the root's node from the metadata of a node inside it. */
function ofRootNode(metadata: JsonObject): JsonObject {
  const { langgraph_step, langgraph_triggers, langgraph_path, ...common } = metadata;
  const [task = ""] = taskOf(metadata).split("|");
  return { ...common, langgraph_node: task.split(":")[0] ?? "", langgraph_checkpoint_ns: task, checkpoint_ns: task };
}

/** A token keeps its chunk type (`AIMessageChunk`), which clients use to tell it from a whole message. */
function messageJson(message: MessageLike): string {
  const flat = flattenMessage(message);
  if (isChunk(message)) flat.type = CHUNK_TYPES[message.type] ?? flat.type;
  return toJson(flat);
}

const CHUNK_TYPES: Record<string, string> = {
  ai: "AIMessageChunk",
  human: "HumanMessageChunk",
  system: "SystemMessageChunk",
  tool: "ToolMessageChunk",
  function: "FunctionMessageChunk",
  generic: "ChatMessageChunk",
};

// ---- messages

/** `messages/metadata` once per streamed message, `messages/partial` per token, `messages/complete` for whole ones. */
export function createMessageAccumulator(): MessageStream {
  const streaming = new Map<string, MessageChunkLike>();
  const completed = new Set<string>();

  function complete(namespace: readonly string[], messages: readonly MessageLike[]): GraphEvent[] {
    const fresh = messages.filter(({ id }) => id !== undefined && !completed.has(id) && !streaming.has(id));
    for (const { id } of fresh) if (id !== undefined) completed.add(id);
    return fresh.length === 0 ? [] : [{ event: "messages/complete", namespace, data: toJson(fresh) }];
  }

  return {
    *fromTuple(namespace, payload) {
      const [message, metadata] = payload as Tuple;
      if (!isChunk(message) || message.id === undefined) {
        yield* complete(namespace, [message]);
        return;
      }
      const before = streaming.get(message.id);
      if (before === undefined) {
        yield { event: "messages/metadata", namespace, data: toJson({ [message.id]: { metadata } }) };
      }
      const accumulated = before === undefined ? message : before.concat(message);
      streaming.set(message.id, accumulated);
      yield { event: "messages/partial", namespace, data: toJson([accumulated]) };
    },

    *fromValues(namespace, values) {
      const messages = messagesIn(values);
      for (const { id } of messages) if (id !== undefined) streaming.delete(id); // they are whole now
      yield* complete(namespace, messages);
    },

    omit() {}, // it is complete when the state has it
  };
}

function messagesIn(values: unknown): readonly MessageLike[] {
  if (typeof values !== "object" || values === null || !("messages" in values)) return [];
  return Array.isArray(values.messages) ? values.messages.filter(isMessage) : [];
}
