/**
 * Turns what a graph streams into wire events: the order and the shapes of the Platform.
 *
 * One instance per execution, because messages accumulate. Each event is serialised here, once. Without the flag for
 * subgraphs nothing of theirs is shown, whatever LangGraph mixes into the stream of the root.
 */
import { type MessageLike, toJson } from "../core/json.js";
import type { JsonObject, StreamMode } from "../core/model.js";
import { wireCheckpoint } from "./checkpoint-chunks.js";
import type { GraphEvent } from "./host.js";
import { createMessageAccumulator, createMessageTuples, type MessageStream, taskOf } from "./message-chunks.js";

/** A chunk as `graph.stream` yields it with several modes: namespace (empty without subgraphs), mode, payload. */
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
  const messages: MessageStream[] = [];
  if (wanted.has("messages-tuple")) messages.push(createMessageTuples());
  if (wanted.has("messages")) messages.push(createMessageAccumulator());

  return {
    *convert(chunk) {
      const { mode, payload } = chunk;
      if (!subgraphs && isNested(chunk)) {
        if (mode === "messages") for (const stream of messages) stream.omit(payload);
        return;
      }
      const namespace = subgraphs ? chunk.namespace : ROOT;
      if (mode === "messages") {
        for (const stream of messages) yield* stream.fromTuple(namespace, payload);
        return;
      }
      if (mode === "values") for (const stream of messages) yield* stream.fromValues(namespace, payload);
      if (wanted.has(mode)) yield { event: mode, namespace, data: toJson(wirePayload(mode, payload)) };
    },
  };
}

const ROOT: readonly string[] = [];

/** What comes from a graph below the root. LangGraph books messages and tools to a task, so those of the root have one. */
function isNested({ namespace, mode, payload }: GraphChunk): boolean {
  if (mode === "tools") return namespace.length > 1;
  if (mode !== "messages") return namespace.length > 0;
  const [, metadata] = payload as [MessageLike, JsonObject]; // LangGraph's messages mode yields exactly this pair
  return taskOf(metadata).includes("|");
}

/** LangGraph.js spells the parent config in camel case and leaves its own keys in configurables: the wire does neither. */
function wirePayload(mode: string, payload: unknown): unknown {
  if (mode === "checkpoints") return wireCheckpoint(payload);
  if (mode !== "debug" || typeof payload !== "object" || payload === null) return payload;
  const event = payload as { readonly type?: string; readonly payload?: unknown };
  return event.type === "checkpoint" ? { ...event, payload: wireCheckpoint(event.payload) } : event;
}
