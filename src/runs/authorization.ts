/** A run as LangGraph's auth handlers know it, and what they make of it. */
import type { Caller } from "../core/caller.js";
import type { Assistant, Json, RunCommand, RunConfig } from "../core/model.js";
import type { Scope } from "../core/scope.js";
import type { RunRequest } from "./draft.js";

/** Asks whether the caller may make this run; what the authorisation changed about it is what will run. */
export async function authorizeRun(
  caller: Caller,
  request: RunRequest,
  { threadId, runId, assistant }: { readonly threadId: string; readonly runId: string; readonly assistant: Assistant },
): Promise<{ readonly scope: Scope; readonly request: RunRequest }> {
  const { scope, value } = await caller.authorize("threads:create_run", {
    thread_id: threadId,
    run_id: runId,
    assistant_id: assistant.assistantId,
    status: "pending",
    metadata: request.metadata,
    prevent_insert_if_inflight: request.multitaskStrategy === "reject",
    multitask_strategy: request.multitaskStrategy ?? null,
    if_not_exists: request.ifNotExists,
    after_seconds: request.afterSeconds,
    kwargs: {
      input: request.input,
      command: request.command,
      config: request.config,
      context: request.context,
    } satisfies Changeable,
  });
  return { scope, request: { ...request, metadata: value.metadata, ...value.kwargs } };
}

interface Changeable {
  readonly input: Json;
  readonly command: RunCommand | null;
  readonly config: RunConfig;
  readonly context: Json | null;
}
