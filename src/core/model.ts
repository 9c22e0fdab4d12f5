/**
 * The vocabulary of heddle: LangGraph's nouns as plain data.
 *
 * Inside the gateway everything is camelCase and times are epoch milliseconds; the wire's snake_case and ISO dates appear
 * only under `api/`. Nothing here does I/O.
 */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export const RUN_STATUSES = ["pending", "running", "success", "error", "timeout", "interrupted"] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

/** A run that is *in flight* still occupies its thread. */
export function isInFlight(status: RunStatus): boolean {
  return status === "pending" || status === "running";
}

export const THREAD_STATUSES = ["idle", "busy", "interrupted", "error"] as const;
export type ThreadStatus = (typeof THREAD_STATUSES)[number];

export const MULTITASK_STRATEGIES = ["reject", "enqueue", "interrupt", "rollback"] as const;
export type MultitaskStrategy = (typeof MULTITASK_STRATEGIES)[number];

export const CANCEL_ACTIONS = ["interrupt", "rollback"] as const;
export type CancelAction = (typeof CANCEL_ACTIONS)[number];

export const STREAM_MODES = [
  "values",
  "messages",
  "messages-tuple",
  "updates",
  "events",
  "tasks",
  "checkpoints",
  "debug",
  "custom",
  "tools",
] as const;
export type StreamMode = (typeof STREAM_MODES)[number];

export const DURABILITIES = ["sync", "async", "exit"] as const;
export type Durability = (typeof DURABILITIES)[number];

export interface Interrupt {
  readonly id: string;
  readonly value: Json;
}

/** Pending interrupts by the id of the task that waits. */
export type InterruptsByTask = { readonly [taskId: string]: readonly Interrupt[] };

/** What a failed run shows to clients. */
export interface RunError {
  readonly error: string;
  readonly message: string;
}

/** Points at one checkpoint of a thread; without `checkpointId` at the head of the namespace. */
export interface CheckpointPointer {
  readonly checkpointNs: string;
  readonly checkpointId?: string | undefined;
  readonly checkpointMap?: JsonObject | undefined;
}

export interface ThreadTtl {
  readonly strategy: "delete" | "keep_latest";
  readonly ttlMinutes: number;
  readonly expiresAt: number;
}

export interface Thread {
  readonly threadId: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly stateUpdatedAt: number | null;
  readonly metadata: JsonObject;
  readonly config: JsonObject;
  readonly status: ThreadStatus;
  readonly interrupts: InterruptsByTask;
  readonly error: RunError | null;
  readonly ttl: ThreadTtl | null;
}

/** The root state a thread shows; written whenever a run pauses or ends, and by state updates. */
export interface ThreadProjection {
  /** The wire JSON of the state values; null for a thread without state. */
  readonly valuesJson: string | null;
  readonly interrupts: InterruptsByTask;
  /** Names of the nodes that would run next; decides, with `interrupts`, between idle and interrupted. */
  readonly next: readonly string[];
}

export interface RunConfig {
  readonly tags?: readonly string[];
  readonly recursion_limit?: number;
  readonly configurable?: JsonObject;
  readonly [key: string]: Json | undefined;
}

/** LangGraph's `Command` as the wire spells it; `resume` is always a map of interrupt ids once a run is admitted. */
export interface RunCommand {
  readonly resume?: Json;
  readonly update?: Json;
  readonly goto?: Json;
}

/** Everything that a run needs to execute, fixed at admission. Stored as JSON and shown as `kwargs`. */
export interface RunPayload {
  readonly input: Json;
  readonly command: RunCommand | null;
  readonly config: RunConfig;
  readonly context: Json | null;
  readonly streamModes: readonly StreamMode[];
  readonly subgraphs: boolean;
  readonly resumable: boolean;
  /** Whether its log has what event streaming needs besides what its stream modes ask for; absent in runs of old. */
  readonly eventStreaming?: boolean;
  readonly interruptBefore: readonly string[] | "*" | null;
  readonly interruptAfter: readonly string[] | "*" | null;
  readonly durability: Durability;
  readonly checkpoint: CheckpointPointer | null;
  /** The run's thread exists only for this run: its graph is gone with it (`on_completion: delete`). */
  readonly temporary: boolean;
  /** A temporary thread stays where the run ends with a question, until it expires; absent: it goes all the same. */
  readonly keepWhenPaused?: boolean;
  readonly onDisconnect: "cancel" | "continue";
  /** Where to say how the run ended; absent: nowhere. */
  readonly webhook?: string;
  /** What feedback LangSmith is to give addresses for. */
  readonly feedbackKeys?: readonly string[];
  readonly langsmithTracer?: LangsmithTracer;
  /** The W3C trace context of the request that created it. Never shown to clients. */
  readonly traceparent?: string;
  /** Who asked for it; absent where nobody is asked who they are. Never shown to clients. */
  readonly user?: User;
}

/** Where LangSmith is to keep a run's trace. */
export interface LangsmithTracer {
  readonly projectName: string | null;
  readonly exampleId: string | null;
}

/** As LangGraph's `Auth` knows users; whatever else `authenticate` returned is there as well. */
export interface User extends JsonObject {
  readonly identity: string;
  readonly display_name: string;
  readonly is_authenticated: boolean;
  readonly permissions: readonly string[];
}

export interface Run {
  readonly runId: string;
  readonly threadId: string;
  readonly assistantId: string;
  readonly graphId: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly status: RunStatus;
  readonly metadata: JsonObject;
  readonly multitaskStrategy: MultitaskStrategy;
  readonly payload: RunPayload;
  /** Executions that ended in a crash count; a graceful release does not. */
  readonly attempt: number;
  /** Grows with every claim; the first half of every event id. */
  readonly fence: number;
  /**
   * The thread's claim number when the run was first claimed; null before. The claims of a run are neighbours, so that
   * the claim with fence `n` has the number `firstClaim + n - 1`.
   */
  readonly firstClaim: number | null;
  /** Epoch milliseconds before which the run may not start. */
  readonly runAfter: number;
  readonly cancelAction: CancelAction | null;
  readonly error: RunError | null;
}

/** What every run of a cron gets. Stored as JSON, as a run's payload is. */
export interface CronPayload
  extends Omit<
    RunPayload,
    | "command"
    | "checkpoint"
    | "temporary"
    | "keepWhenPaused"
    | "eventStreaming"
    | "onDisconnect"
    | "user"
    | "feedbackKeys"
    | "langsmithTracer"
    | "traceparent"
  > {
  readonly multitaskStrategy: MultitaskStrategy;
}

/** A schedule by which runs are created: on one thread, or each on a thread of its own. */
export interface Cron {
  readonly cronId: string;
  readonly assistantId: string;
  /** null: every run gets a thread of its own. */
  readonly threadId: string | null;
  /** Five fields, read in `timezone`; null is UTC. */
  readonly schedule: string;
  readonly timezone: string | null;
  /** The last moment at which it may fire. */
  readonly endAt: number | null;
  readonly enabled: boolean;
  /** Of the thread that was made for a run; null for a cron of a thread. */
  readonly onRunCompleted: "delete" | "keep" | null;
  readonly payload: CronPayload;
  /** Its runs have it as well. */
  readonly metadata: JsonObject;
  /** Who created it, as clients see it and as its runs are authorised; null while nobody authenticates callers. */
  readonly userId: string | null;
  readonly identity: User | null;
  /** When it is due; null while it is disabled, and when nothing is left to fire. */
  readonly nextRunAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface AssistantVersion {
  readonly assistantId: string;
  readonly version: number;
  readonly graphId: string;
  readonly name: string;
  readonly description: string | null;
  readonly config: RunConfig;
  readonly context: Json;
  readonly metadata: JsonObject;
  readonly createdAt: number;
}

export interface Assistant extends AssistantVersion {
  readonly updatedAt: number;
}

/** One task of a checkpoint, as `ThreadState.tasks` shows it. All values are wire JSON. */
export interface StateTask {
  readonly id: string;
  readonly name: string;
  readonly path: Json;
  readonly error: Json;
  readonly interrupts: readonly Interrupt[];
  readonly checkpoint: Json;
  readonly state: ThreadState | null;
  readonly result: Json;
}

/** A snapshot of a thread at one checkpoint. `checkpoint` is null where the thread has none. */
export interface ThreadState {
  readonly values: Json;
  readonly next: readonly string[];
  readonly tasks: readonly StateTask[];
  readonly checkpoint: Json;
  readonly metadata: JsonObject;
  readonly createdAt: string | null;
  readonly parentCheckpoint: Json;
  readonly interrupts: readonly Interrupt[];
}
