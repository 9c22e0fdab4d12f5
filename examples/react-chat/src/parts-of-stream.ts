/** The agents and graphs inside a run, as `@langchain/react` discovers them. */
import type { Message } from "@langchain/langgraph-sdk";
import { toMessageDict } from "@langchain/langgraph-sdk/ui";
import { type AnyStream, type SelectorTarget, useMessages } from "@langchain/react";
import type { Part } from "./chat-model.js";

/** Agents that tool calls started, and graphs inside graphs; what an agent is made of is not told apart from it. */
export function partsOf(stream: AnyStream): readonly Part[] {
  const agents = [...stream.subagents.values()].map((agent) => ({
    id: agent.id,
    kind: "subagent" as const,
    name: agent.name,
    isRunning: agent.status === "running",
    useMessages: () => useDicts(stream, agent),
  }));
  const graphs = [...stream.subgraphs.values()]
    .filter(({ namespace }) => !namespace.some((segment) => segment.startsWith("tools:")))
    .map((graph) => ({
      id: graph.id,
      kind: "subgraph" as const,
      name: graph.nodeName,
      isRunning: graph.status === "running",
      useMessages: () => useDicts(stream, graph),
    }));
  return [...agents, ...graphs];
}

function useDicts(stream: AnyStream, part: SelectorTarget): readonly Message[] {
  return useMessages(stream, part).map((message) => toMessageDict(message) as Message); // the same, as the wire has it
}
