/** From a request to the row of a run: merging of assistant, thread and request as the Platform merges. Pure. */
import { invalid } from "../core/errors.js";
import { MAX_RUN_METADATA_KEYS } from "../core/metadata.js";
import type {
  Assistant,
  Json,
  JsonObject,
  MultitaskStrategy,
  RunCommand,
  RunPayload,
  Thread,
  User,
} from "../core/model.js";
import { clientConfigurable, clientContext } from "../core/server-owned.js";
import type { InFlightRun, NewRun } from "../storage/ports/runs.js";
import { normaliseResume } from "./resume.js";

/** A run as a client asks for it, after validation: what its payload will hold, not merged yet, and how to admit it. */
export interface RunRequest extends Omit<RunPayload, "temporary" | "keepWhenPaused" | "user"> {
  readonly assistantId: string;
  /** undefined: the current one. */
  readonly assistantVersion?: number | undefined;
  readonly metadata: JsonObject;
  /** undefined: the configured default. */
  readonly multitaskStrategy: MultitaskStrategy | undefined;
  readonly ifNotExists: "create" | "reject";
  readonly afterSeconds: number;
  /** What becomes of a thread that is made for the run. */
  readonly onCompletion: "delete" | "delete_unless_paused" | "keep";
  /** From `Idempotency-Key`. */
  readonly idempotencyKey: string | null;
  /** Request headers that the graph may see. */
  readonly headerConfigurable: JsonObject;
}

/** A run as it is by default: what a request says goes on top of it. */
export const PLAIN_RUN: Omit<RunRequest, "assistantId" | "idempotencyKey" | "headerConfigurable"> = {
  input: null,
  command: null,
  metadata: {},
  config: {},
  context: null,
  checkpoint: null,
  streamModes: ["values"],
  subgraphs: false,
  resumable: false,
  interruptBefore: null,
  interruptAfter: null,
  durability: "async",
  multitaskStrategy: undefined,
  ifNotExists: "reject",
  afterSeconds: 0,
  onDisconnect: "continue",
  onCompletion: "delete",
};

export interface DraftContext {
  readonly runId: string;
  /** Who asks for it. */
  readonly user: User | null;
  readonly assistant: Assistant;
  /** The thread as it is now; a new one for a run that creates it. */
  readonly thread: Pick<Thread, "threadId" | "metadata" | "config" | "interrupts">;
  readonly inFlight: readonly InFlightRun[];
  readonly strategy: MultitaskStrategy;
  readonly temporary: boolean;
  /** Whether what event streaming needs is recorded of runs that do not ask for it. */
  readonly recordAll: boolean;
  /** The cron that fires it. */
  readonly cronId: string | null;
  readonly now: number;
}

/**
 * Throws `validation` when the command answers several interrupts without naming them, or when there is more metadata than a
 * graph can carry.
 */
export function draftRun(request: RunRequest, context: DraftContext): NewRun {
  const { runId, user, assistant, thread } = context;
  const identity: JsonObject = {
    run_id: runId,
    thread_id: thread.threadId,
    graph_id: assistant.graphId,
    assistant_id: assistant.assistantId,
    ...(context.cronId === null ? {} : { cron_id: context.cronId }),
  };
  const config = { ...assistant.config, ...thread.config, ...request.config };
  const metadata = { ...assistant.metadata, ...thread.metadata, ...request.metadata };
  requireFewKeys({ ...(config.metadata as JsonObject | undefined), ...metadata });
  return {
    runId,
    threadId: thread.threadId,
    assistantId: assistant.assistantId,
    graphId: assistant.graphId,
    metadata,
    multitaskStrategy: context.strategy,
    runAfter: context.now + Math.round(request.afterSeconds * 1000),
    payload: {
      input: request.input,
      command: draftCommand(request.command, context),
      config: {
        ...config,
        configurable: {
          ...clientConfigurable({
            ...assistant.config.configurable,
            ...(thread.config.configurable as JsonObject | undefined),
            ...request.headerConfigurable,
            ...request.config.configurable,
          }),
          ...identity,
        },
      },
      context: clientContext(mergeContext(assistant.context, request.context)),
      streamModes: request.streamModes,
      subgraphs: request.subgraphs,
      resumable: request.resumable,
      // Nobody watches a thread that was made for the run.
      eventStreaming: !context.temporary && (request.eventStreaming === true || context.recordAll),
      interruptBefore: request.interruptBefore,
      interruptAfter: request.interruptAfter,
      durability: request.durability,
      checkpoint: request.checkpoint,
      temporary: context.temporary,
      ...(context.temporary && request.onCompletion === "delete_unless_paused" ? { keepWhenPaused: true } : {}),
      onDisconnect: request.onDisconnect,
      ...(request.webhook === undefined ? {} : { webhook: request.webhook }),
      ...(request.feedbackKeys === undefined ? {} : { feedbackKeys: request.feedbackKeys }),
      ...(request.langsmithTracer === undefined ? {} : { langsmithTracer: request.langsmithTracer }),
      ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }),
      ...(user === null ? {} : { user }),
    },
  };
}

/** Of everything that the graph's config would have as `metadata`. */
function requireFewKeys(metadata: JsonObject): void {
  const count = Object.keys(metadata).length;
  if (count <= MAX_RUN_METADATA_KEYS) return;
  throw invalid(
    `metadata: that of the run, its config, its thread and its assistant have ${count} keys together, of at most ${MAX_RUN_METADATA_KEYS}`,
  );
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
