/**
 * A task in as few words as the life of subgraphs is told with: without what it was given and what it returned.
 *
 * `tool_call_id` is the call that a tool node was given, in LangGraph's two spellings; `agent` is the name that
 * `createAgent` gives its graph. `unclear` is the end of a task that failed, or that handed over to a graph above it:
 * LangGraph tells both alike, and what becomes of the task above says which it was.
 */
import type { JsonObject } from "../core/model.js";

export type TaskSummary =
  | { readonly id: string; readonly name: string; readonly tool_call_id?: string; readonly agent?: string }
  | { readonly id: string; readonly name: string; readonly ended: "result" | "interrupts" | "unclear" };

/** From the payload of LangGraph's `tasks` mode; a result is one where the task's update was told just before. */
export function taskSummary(payload: unknown, { isUpdateTold }: { readonly isUpdateTold: boolean }): TaskSummary {
  const task = payload as TaskPayload; // shape of LangGraph's mapDebugTasks and mapDebugTaskResults
  const identity = { id: task.id, name: task.name };
  if (!("result" in task)) {
    const toolCallId = toolCallOf(task.input);
    const agent = task.metadata?.lc_agent_name;
    return {
      ...identity,
      ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
      ...(typeof agent === "string" && agent !== "" ? { agent } : {}),
    };
  }
  const isPaused = (task.interrupts?.length ?? 0) > 0;
  return { ...identity, ended: isPaused ? "interrupts" : isUpdateTold ? "result" : "unclear" };
}

interface TaskPayload {
  readonly id: string;
  readonly name: string;
  readonly input?: unknown;
  readonly metadata?: JsonObject;
  readonly result?: unknown;
  readonly interrupts?: readonly unknown[];
}

function toolCallOf(input: unknown): string | undefined {
  if (typeof input !== "object" || input === null) return undefined;
  const calls: readonly unknown[] = Array.isArray(input) ? input : "tool_call" in input ? [input.tool_call] : [];
  return calls.map(idOf).find((id) => id !== undefined);
}

function idOf(call: unknown): string | undefined {
  if (typeof call !== "object" || call === null || !("id" in call)) return undefined;
  return typeof call.id === "string" ? call.id : undefined;
}
