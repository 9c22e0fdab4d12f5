/** From a request to the row of a run: merging of assistant, thread and request as the Platform merges. Pure. */
import { newId } from "../core/ids.js";
import type { Assistant, Json, JsonObject, MultitaskStrategy, RunCommand, RunPayload, Thread } from "../core/model.js";
import type { InFlightRun, NewRun } from "../storage/storage.js";
import { normaliseResume } from "./resume.js";

/** A run as a client asks for it, after validation: what its payload will hold, not merged yet, and how to admit it. */
export interface RunRequest extends Omit<RunPayload, "temporary"> {
  readonly assistantId: string;
  readonly metadata: JsonObject;
  /** undefined: the configured default. */
  readonly multitaskStrategy: MultitaskStrategy | undefined;
  readonly ifNotExists: "create" | "reject";
  readonly afterSeconds: number;
  readonly onCompletion: "delete" | "keep";
  /** From `Idempotency-Key`. */
  readonly idempotencyKey: string | null;
  /** Request headers that the graph may see. */
  readonly headerConfigurable: JsonObject;
}

export interface DraftContext {
  readonly assistant: Assistant;
  /** The thread as it is now; a new one for a run that creates it. */
  readonly thread: Pick<Thread, "threadId" | "metadata" | "config" | "interrupts">;
  readonly inFlight: readonly InFlightRun[];
  readonly strategy: MultitaskStrategy;
  readonly temporary: boolean;
  readonly now: number;
}

/** Throws `validation` when the command answers several interrupts without naming them. */
export function draftRun(request: RunRequest, context: DraftContext): NewRun {
  const { assistant, thread } = context;
  const runId = newId();
  const identity = {
    run_id: runId,
    thread_id: thread.threadId,
    graph_id: assistant.graphId,
    assistant_id: assistant.assistantId,
  };
  return {
    runId,
    threadId: thread.threadId,
    assistantId: assistant.assistantId,
    graphId: assistant.graphId,
    metadata: { ...assistant.metadata, ...thread.metadata, ...request.metadata },
    multitaskStrategy: context.strategy,
    runAfter: context.now + Math.round(request.afterSeconds * 1000),
    payload: {
      input: request.input,
      command: draftCommand(request.command, context),
      config: {
        ...assistant.config,
        ...thread.config,
        ...request.config,
        configurable: {
          ...withoutServerOwned({
            ...assistant.config.configurable,
            ...(thread.config.configurable as JsonObject | undefined),
            ...request.headerConfigurable,
            ...request.config.configurable,
          }),
          ...identity,
        },
      },
      context: mergeContext(assistant.context, request.context),
      streamModes: request.streamModes,
      subgraphs: request.subgraphs,
      resumable: request.resumable,
      interruptBefore: request.interruptBefore,
      interruptAfter: request.interruptAfter,
      durability: request.durability,
      checkpoint: request.checkpoint,
      temporary: context.temporary,
      onDisconnect: request.onDisconnect,
    },
  };
}

/** While other runs are in flight nobody knows yet what will be asked: the worker normalises when this run starts. */
function draftCommand(command: RunCommand | null, { thread, inFlight }: DraftContext): RunCommand | null {
  if (command === null || inFlight.length > 0) return command;
  return normaliseResume(command, thread.interrupts);
}

function mergeContext(base: Json, own: Json): Json {
  return isRecord(base) && isRecord(own) ? { ...base, ...own } : (own ?? base);
}

function isRecord(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without what only the server sets: LangGraph's own keys, who the caller is, and the place to start from. */
function withoutServerOwned(configurable: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(configurable).filter(([key]) => !SERVER_OWNED.test(key)));
}

const SERVER_OWNED = /^(__|langgraph_auth_|checkpoint_(id|ns|map)$)/;
