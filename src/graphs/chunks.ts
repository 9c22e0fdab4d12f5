/**
 * Turns what a graph streams into wire events: the order and the shapes of api.md §2.8.
 *
 * One instance per execution, because the `messages` mode accumulates. Each event is serialised here, once; the metadata
 * of a message is the same object for all its tokens and is serialised once per message.
 */
import { flattenMessage, isMessage, type MessageLike, toJson } from "../core/json.js";
import type { JsonObject, StreamMode } from "../core/model.js";
import type { GraphEvent } from "./host.js";

/** A chunk as `graph.stream` yields it with several modes: namespace (null without subgraphs), mode, payload. */
export interface GraphChunk {
  readonly namespace: readonly string[];
  readonly mode: string;
  readonly payload: unknown;
}

export interface ChunkConverter {
  convert(chunk: GraphChunk): Iterable<GraphEvent>;
}

/** LangGraph's modes for what a client asked for; `values` always, because the run's result comes from it. */
export function graphStreamModes(requested: readonly StreamMode[]): string[] {
  const modes = requested
    .map((mode) => (mode === "messages-tuple" ? "messages" : mode))
    .filter((mode) => mode !== "events");
  return [...new Set(["values", ...modes])];
}

export function createChunkConverter(requested: readonly StreamMode[], subgraphs: boolean): ChunkConverter {
  const wanted = new Set<string>(requested);
  const metadataJson = new WeakMap<object, string>();
  const accumulator = wanted.has("messages") ? createMessageAccumulator() : undefined;

  return {
    *convert(chunk) {
      if (!subgraphs && isNested(chunk)) return;
      const { mode, payload } = chunk;
      const namespace = subgraphs ? chunk.namespace : ROOT;
      if (mode === "messages") {
        if (wanted.has("messages-tuple")) {
          yield { event: "messages", namespace, data: tupleJson(payload, metadataJson) };
        }
        if (accumulator !== undefined) yield* accumulator.fromTuple(namespace, payload);
        return;
      }
      if (mode === "values" && accumulator !== undefined) yield* accumulator.fromValues(namespace, payload);
      if (!wanted.has(mode)) return;
      yield { event: mode, namespace, data: toJson(wirePayload(mode, payload)) };
    },
  };
}

const ROOT: readonly string[] = [];

/** What comes from a graph below the root. LangGraph books messages and tools to a task, so those of the root have one. */
function isNested({ namespace, mode, payload }: GraphChunk): boolean {
  if (mode === "tools") return namespace.length > 1;
  if (mode !== "messages") return namespace.length > 0;
  const [, metadata] = payload as [MessageLike, JsonObject]; // as in tupleJson
  return String(metadata.langgraph_checkpoint_ns ?? metadata.checkpoint_ns ?? "").includes("|");
}

// ---- messages-tuple

/** `[message, metadata]`; a token keeps its chunk type (`AIMessageChunk`), which clients use to tell it from a whole message. */
function tupleJson(payload: unknown, metadataCache: WeakMap<object, string>): string {
  const [message, metadata] = payload as [MessageLike, object]; // LangGraph's messages mode yields exactly this pair
  let metadataText = metadataCache.get(metadata);
  if (metadataText === undefined) {
    metadataText = toJson(metadata);
    metadataCache.set(metadata, metadataText);
  }
  return `[${messageJson(message)},${metadataText}]`;
}

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

interface MessageChunkLike extends MessageLike {
  concat(other: MessageLike): MessageChunkLike;
}

export function isChunk(message: MessageLike): message is MessageChunkLike {
  return "concat" in message && typeof message.concat === "function";
}

// ---- messages (accumulated)

/** `messages/metadata` once per streamed message, `messages/partial` per token, `messages/complete` for whole ones. */
function createMessageAccumulator() {
  const streaming = new Map<string, MessageChunkLike>();
  const completed = new Set<string>();

  function complete(namespace: readonly string[], messages: readonly MessageLike[]): GraphEvent[] {
    const fresh = messages.filter(({ id }) => id !== undefined && !completed.has(id) && !streaming.has(id));
    for (const { id } of fresh) if (id !== undefined) completed.add(id);
    return fresh.length === 0 ? [] : [{ event: "messages/complete", namespace, data: toJson(fresh) }];
  }

  return {
    *fromTuple(namespace: readonly string[], payload: unknown): Iterable<GraphEvent> {
      const [message, metadata] = payload as [MessageLike, object]; // as in tupleJson
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

    /** Whole messages that entered the state; one that was streamed before is complete now. */
    *fromValues(namespace: readonly string[], values: unknown): Iterable<GraphEvent> {
      if (typeof values !== "object" || values === null || !("messages" in values)) return;
      const messages = Array.isArray(values.messages) ? values.messages.filter(isMessage) : [];
      for (const { id } of messages) if (id !== undefined) streaming.delete(id);
      yield* complete(namespace, messages);
    },
  };
}

// ---- debug, checkpoints

/** LangGraph.js spells the parent config in camel case and leaves its own keys in configurables: the wire does neither. */
function wirePayload(mode: string, payload: unknown): unknown {
  if (mode === "checkpoints") return wireCheckpoint(payload);
  if (mode !== "debug" || typeof payload !== "object" || payload === null) return payload;
  const event = payload as { readonly type?: string; readonly payload?: unknown };
  return event.type === "checkpoint" ? { ...event, payload: wireCheckpoint(event.payload) } : event;
}

interface CheckpointPayload {
  readonly config?: ConfigLike;
  readonly parentConfig?: ConfigLike;
  readonly tasks?: readonly { readonly state?: unknown }[];
}

interface ConfigLike {
  readonly configurable?: { readonly [key: string]: unknown };
}

function wireCheckpoint(payload: unknown): unknown {
  const { config, parentConfig, tasks, ...rest } = payload as CheckpointPayload; // shape of LangGraph's mapDebugCheckpoint
  return {
    ...rest,
    config: publicConfig(config),
    parent_config: publicConfig(parentConfig),
    checkpoint: pointerOf(config),
    parent_checkpoint: pointerOf(parentConfig),
    tasks: (tasks ?? []).map((task) => ({ ...task, checkpoint: pointerOf(task.state as ConfigLike | undefined) })),
  };
}

function publicConfig(config: ConfigLike | undefined): unknown {
  if (config === undefined) return null;
  const { callbacks: _callbacks, ...shown } = config as ConfigLike & { callbacks?: unknown };
  return { ...shown, configurable: publicConfigurable(config.configurable ?? {}) };
}

/** Without LangGraph's internal keys, which hold functions and whole objects. */
function publicConfigurable(configurable: { readonly [key: string]: unknown }): Record<string, unknown> {
  return Object.fromEntries(Object.entries(configurable).filter(([key]) => !key.startsWith("__")));
}

/** The checkpoint that a config points at, as the wire shows it; null when it points at none. */
export function pointerOf(config: ConfigLike | undefined): Record<string, unknown> | null {
  const configurable = config?.configurable;
  if (configurable === undefined) return null;
  if (configurable.checkpoint_id === undefined && !configurable.checkpoint_ns) return null;
  return {
    thread_id: configurable.thread_id,
    checkpoint_ns: configurable.checkpoint_ns ?? "",
    checkpoint_id: configurable.checkpoint_id ?? null,
    checkpoint_map: configurable.checkpoint_map ?? null,
  };
}
