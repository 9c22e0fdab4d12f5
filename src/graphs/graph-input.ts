/** From heddle's requests to what LangGraph is called with: config, input, commands, updates. Pure. */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { MessageKit } from "../core/kit.js";
import type { CheckpointPointer, Json, JsonObject, RunCommand, RunConfig, User } from "../core/model.js";
import { clientConfigurable } from "../core/server-owned.js";
import type { StreamOptions } from "./bound-graph.js";
import type { ExecuteRequest, StateRef, StateUpdate } from "./host.js";

/** What `graph.stream` is called with, but for what is streamed. */
export function executionConfig(request: ExecuteRequest, signal: AbortSignal): StreamOptions {
  const { payload } = request;
  const { configurable, metadata } = payload.config;
  const identity = {
    run_id: request.runId,
    thread_id: request.threadId,
    graph_id: request.graphId,
    assistant_id: request.assistantId,
  };
  return {
    ...runnableOptions(payload.config),
    ...(isEmpty(payload.context) ? {} : { context: payload.context }),
    ...(payload.interruptBefore === null ? {} : { interruptBefore: payload.interruptBefore }),
    ...(payload.interruptAfter === null ? {} : { interruptAfter: payload.interruptAfter }),
    configurable: {
      ...configurable,
      ...(request.input.kind === "continue" ? {} : checkpointKeys(payload.checkpoint)),
      ...userKeys(payload.user),
      thread_id: request.threadId,
      run_id: request.runId,
    },
    metadata: {
      ...(metadata as JsonObject | undefined),
      ...request.metadata,
      ...identity,
      run_attempt: request.attempt,
    },
    durability: payload.durability,
    runId: request.runId,
    signal,
  };
}

/** The options of a run's config that are LangChain's, in both spellings; nothing else of it reaches the graph's options. */
const RUNNABLE_OPTIONS = [
  ["tags", "tags"],
  ["recursion_limit", "recursionLimit"],
  ["max_concurrency", "maxConcurrency"],
  ["run_name", "runName"],
] as const;

function runnableOptions(config: RunConfig): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [wire, name] of RUNNABLE_OPTIONS) {
    const value = config[wire] ?? config[name];
    if (value !== undefined && value !== null) options[name] = Array.isArray(value) ? [...value] : value;
  }
  return options;
}

/** Who runs it, as graphs of the Platform are told. */
function userKeys(user: User | undefined): Record<string, unknown> {
  if (user === undefined) return {};
  return {
    langgraph_auth_user: user,
    langgraph_auth_user_id: user.identity,
    langgraph_auth_permissions: user.permissions,
  };
}

function isEmpty(context: Json): boolean {
  return context === null || (typeof context === "object" && Object.keys(context).length === 0);
}

function checkpointKeys(pointer: CheckpointPointer | null): Record<string, unknown> {
  if (pointer === null) return {};
  return {
    checkpoint_ns: pointer.checkpointNs,
    ...(pointer.checkpointId === undefined ? {} : { checkpoint_id: pointer.checkpointId }),
    ...(pointer.checkpointMap === undefined ? {} : { checkpoint_map: pointer.checkpointMap }),
  };
}

export function stateConfig(ref: StateRef): RunnableConfig {
  return {
    configurable: {
      ...clientConfigurable(ref.config.configurable ?? {}),
      ...checkpointKeys(ref.checkpoint),
      thread_id: ref.threadId,
    },
  };
}

export function toGraphInput(kit: MessageKit, request: ExecuteRequest): unknown {
  switch (request.input.kind) {
    case "input":
      return request.input.value;
    case "command":
      return toCommand(kit, request.input.command);
    case "continue": {
      const { resume } = request.input;
      return resume === undefined ? null : toCommand(kit, { resume });
    }
  }
}

function toCommand(kit: MessageKit, command: RunCommand): unknown {
  const fields: Record<string, unknown> = {};
  if (command.resume !== undefined) fields.resume = command.resume;
  if (command.update !== undefined && command.update !== null) fields.update = command.update;
  if (command.goto !== undefined && command.goto !== null) fields.goto = toGoto(kit, command.goto);
  return new kit.Command(fields);
}

function toGoto(kit: MessageKit, goto: Json): unknown {
  const targets = (Array.isArray(goto) ? goto : [goto]) as readonly Json[];
  return targets.map((target) => {
    if (typeof target === "string") return target;
    const { node, input } = target as { readonly node: string; readonly input?: Json }; // checked by the API's schema
    return new kit.Send(node, input ?? null);
  });
}

export function toGraphUpdate(kit: MessageKit, update: StateUpdate): { values?: unknown; asNode?: string } {
  return {
    values: update.command === undefined ? update.values : toCommand(kit, update.command),
    ...(update.asNode === undefined ? {} : { asNode: update.asNode }),
  };
}
