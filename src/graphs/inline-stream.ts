/** What a graph streams, each chunk with its mode and its namespace. */
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
  const options = { ...config, streamMode: graphStreamModes(streamModes), subgraphs };
  if (!streamModes.includes("events")) {
    for await (const chunk of await graph.stream(input, options)) yield toGraphChunk(chunk, subgraphs);
    return;
  }
  for await (const event of graph.streamEvents(input, { ...options, version: "v2" })) {
    if (event.tags?.includes("langsmith:hidden")) continue;
    yield { event: "events", namespace: [], data: toJson(event) };
    if (isRootChunk(event, runId)) yield toGraphChunk(event.data.chunk, subgraphs);
  }
}

/** LangGraph mixes what subgraphs write and their tools' events into those of the root unless it is told to name them. */
function needsNamespaces({ subgraphs, streamModes }: RunPayload): boolean {
  return subgraphs || streamModes.includes("custom") || streamModes.includes("tools");
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
