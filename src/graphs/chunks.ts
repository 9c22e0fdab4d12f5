/**
 * Turns what a graph streams into the events of its run's log: the order and the shapes of the Platform.
 *
 * One instance per execution, because messages accumulate. Each event is serialised here, once. Without the flag for
 * subgraphs nothing of theirs is shown, whatever LangGraph mixes into the stream of the root.
 *
 * What event streaming needs and the run's stream modes did not ask for is in the log too, under names that begin with `#`
 * and that REST streams leave out. A chunk that both need is there once.
 */
import { isCheckpointEnvelope } from "@langchain/langgraph/stream";
import { type MessageLike, toJson } from "../core/json.js";
import type { JsonObject, RunPayload } from "../core/model.js";
import { checkpointEnvelope, wireCheckpoint } from "./checkpoint-chunks.js";
import type { GraphEvent } from "./host.js";
import { createMessageAccumulator, createMessageTuples, type MessageStream, taskOf } from "./message-chunks.js";
import type { MessageEnds } from "./message-ends.js";
import { taskSummary } from "./task-summary.js";

/** A chunk as `graph.stream` yields it with several modes: namespace (empty without subgraphs), mode, payload. */
export interface GraphChunk {
  readonly namespace: readonly string[];
  readonly mode: string;
  readonly payload: unknown;
}

export interface ChunkConverter {
  convert(chunk: GraphChunk): Iterable<GraphEvent>;
}

/** What of a run's payload decides which events its log has. */
export type Streamed = Pick<RunPayload, "streamModes" | "subgraphs" | "eventStreaming">;

/** What event streaming reads, besides `values`. */
const EVENT_STREAMING_MODES = ["updates", "messages", "tools", "custom", "tasks"] as const;

/** LangGraph's modes for what a client asked for; `values` always, because the run's result comes from it. */
export function graphStreamModes({ streamModes, eventStreaming }: Streamed): string[] {
  const modes = streamModes
    .map((mode) => (mode === "messages-tuple" ? "messages" : mode))
    .filter((mode) => mode !== "events");
  return [...new Set(["values", ...modes, ...(eventStreaming === true ? EVENT_STREAMING_MODES : [])])];
}

export function createChunkConverter(
  { streamModes, subgraphs, eventStreaming }: Streamed,
  ends?: MessageEnds,
): ChunkConverter {
  const wanted = new Set<string>(streamModes);
  const tuples = createMessageTuples();
  const messages: MessageStream[] = [];
  if (wanted.has("messages-tuple")) messages.push(tuples);
  if (wanted.has("messages")) messages.push(createMessageAccumulator());
  let before: GraphChunk | undefined;

  function* shown(chunk: GraphChunk): Generator<GraphEvent> {
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
  }

  /** What `shown` does not tell, or not with its namespace. */
  function* unshown(chunk: GraphChunk): Generator<GraphEvent> {
    const { namespace, mode, payload } = chunk;
    switch (mode) {
      case "messages": {
        const isShown = wanted.has("messages-tuple") && (subgraphs || !isNested(chunk));
        if (!isShown)
          for (const { data } of tuples.fromTuple(ROOT, payload)) yield { event: "#messages", namespace, data };
        return;
      }
      case "checkpoints":
        yield { event: "#checkpoint", namespace, data: toJson(checkpointEnvelope(payload)) };
        return;
      case "tasks":
        yield {
          event: "#task",
          namespace,
          data: toJson(taskSummary(payload, { isUpdateTold: isUpdateOf(before, chunk) })),
        };
        return;
      case "values":
      case "updates":
      case "custom":
      case "tools":
        if (wanted.has(mode) && (subgraphs || namespace.length === 0)) return;
        yield { event: `#${mode}`, namespace, data: toJson(payload) };
    }
  }

  function* completed(): Generator<GraphEvent> {
    for (const id of ends?.take() ?? []) yield { event: "#message-end", namespace: ROOT, data: toJson(id) };
  }

  return {
    *convert(chunk) {
      if (eventStreaming !== true) return yield* shown(chunk);
      yield* completed();
      const isEnvelope = chunk.mode === "checkpoints" && isCheckpointEnvelope(chunk.payload);
      if (!isEnvelope) yield* shown(chunk);
      yield* unshown(chunk);
      before = chunk;
      if (chunk.mode !== "messages") return;
      ends?.out(chunk.payload);
      yield* completed();
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

/** LangGraph tells a task's update and its result in one go. */
function isUpdateOf(before: GraphChunk | undefined, { namespace }: GraphChunk): boolean {
  return before?.mode === "updates" && before.namespace.join("|") === namespace.join("|");
}

/** LangGraph.js spells the parent config in camel case and leaves its own keys in configurables: the wire does neither. */
function wirePayload(mode: string, payload: unknown): unknown {
  if (mode === "checkpoints") return wireCheckpoint(payload);
  if (mode !== "debug" || typeof payload !== "object" || payload === null) return payload;
  const event = payload as { readonly type?: string; readonly payload?: unknown };
  return event.type === "checkpoint" ? { ...event, payload: wireCheckpoint(event.payload) } : event;
}
