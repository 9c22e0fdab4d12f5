/** What a graph streams, each chunk with its mode and its namespace. */
import { isCheckpointEnvelope } from "@langchain/langgraph/stream";
import { type ReadAhead, readAhead } from "../core/async.js";
import { toJson } from "../core/json.js";
import type { RunPayload } from "../core/model.js";
import type { BoundGraph, LangChainEvent, StreamOptions } from "./bound-graph.js";
import { type GraphChunk, graphStreamModes } from "./chunks.js";
import type { ExecuteRequest, GraphEvent } from "./host.js";

/** The graph's chunks in order; with the `events` mode also every LangChain event, as ready wire events. */
export async function* streamGraph(
  graph: BoundGraph,
  input: unknown,
  config: StreamOptions,
  { runId, payload }: Pick<ExecuteRequest, "runId" | "payload">,
): AsyncGenerator<GraphChunk | GraphEvent> {
  const { streamModes } = payload;
  const subgraphs = needsNamespaces(payload);
  const options = { ...config, streamMode: graphStreamModes(payload), subgraphs };
  if (!streamModes.includes("events")) {
    // Told a version, Pregel's iterator also yields what identifies the checkpoint of each state.
    const versioned = payload.eventStreaming === true ? { ...options, version: "v2" } : options;
    for await (const chunk of await graph.stream(input, versioned)) yield toGraphChunk(chunk, subgraphs);
    return;
  }
  for await (const event of graph.streamEvents(input, { ...options, version: "v2" })) {
    if (event.tags?.includes("langsmith:hidden")) continue;
    const isChunk = isRootChunk(event, runId);
    const shown = isChunk && payload.eventStreaming === true ? withoutEventStreaming(event, payload) : event;
    if (shown !== undefined) yield { event: "events", namespace: [], data: toJson(shown) };
    if (isChunk) yield toGraphChunk(event.data.chunk, subgraphs);
  }
}

/**
 * Makes `graph`, a copy for one execution, hand its chunks on at a pace: LangGraph moves all that a node says without
 * a pause through its chain of streams in one turn of the event loop. Only the first of them is emptied at once, since it
 * forgets what nobody took when the graph fails. What is caught up is what the chain behind it has taken.
 */
export function readAheadInside(graph: BoundGraph): Pick<ReadAhead<unknown>, "caughtUp"> {
  const original = graph._streamIterator;
  let opened: ReadAhead<unknown> | undefined;
  async function* paced(input: unknown, options: unknown): AsyncGenerator<unknown> {
    opened = readAhead(original.call(graph, input, options));
    yield* opened;
  }
  // not enumerable: a copy of the graph must not take it along
  Object.defineProperty(graph, "_streamIterator", { value: paced, enumerable: false });
  return {
    async caughtUp() {
      await opened?.caughtUp();
    },
  };
}

/** The event that tells of a chunk of the root as it is when nothing more than `payload` asks for is streamed. */
function withoutEventStreaming(event: LangChainEvent, payload: RunPayload): LangChainEvent | undefined {
  const alone = { ...payload, eventStreaming: false };
  const { namespace, mode, payload: said } = toGraphChunk(event.data.chunk, true);
  const namesGraphs = needsNamespaces(alone);
  const isNamed = namesGraphs && mode === "checkpoints" && isCheckpointEnvelope(said);
  if (!isNamed && !graphStreamModes(alone).includes(mode)) return undefined;
  if (namesGraphs) return event;
  const isOfRoot = namespace.length === 0 || mode === "messages"; // LangGraph mixes in what models say anywhere
  return isOfRoot ? { ...event, data: { ...event.data, chunk: [mode, said] } } : undefined;
}

/** LangGraph mixes what subgraphs write and their tools' events into those of the root unless it is told to name them. */
function needsNamespaces({ subgraphs, streamModes, eventStreaming }: RunPayload): boolean {
  return subgraphs || eventStreaming === true || streamModes.includes("custom") || streamModes.includes("tools");
}

function isRootChunk(event: LangChainEvent, runId: string): boolean {
  return event.event === "on_chain_stream" && event.run_id === runId && Array.isArray(event.data.chunk);
}

function toGraphChunk(chunk: unknown, subgraphs: boolean): GraphChunk {
  // With several modes LangGraph yields [namespace, mode, payload], and without subgraphs [mode, payload].
  if (!subgraphs) {
    const [mode, payload] = chunk as [string, unknown];
    return { namespace: [], mode, payload };
  }
  const [namespace, mode, payload] = chunk as [string[] | null, string, unknown];
  return { namespace: namespace ?? [], mode, payload };
}
