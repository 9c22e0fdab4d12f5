/**
 * The port to user code: everything heddle asks of a graph goes through here and nothing else touches one.
 *
 * What crosses it is plain data and ready JSON, so that an implementation may live in this process or on a worker thread.
 */
import type { EmbedTexts } from "../core/items.js";
import type {
  CheckpointPointer,
  InterruptsByTask,
  Json,
  JsonObject,
  RunCommand,
  RunConfig,
  RunError,
  RunPayload,
  ThreadProjection,
  ThreadState,
} from "../core/model.js";
import type { SpanRecording } from "../core/tracing.js";

export interface GraphInfo {
  readonly graphId: string;
  readonly description: string | null;
  /** Defaults of the graph's system assistant. */
  readonly config: RunConfig;
  readonly context: Json;
  /** `own`: the graph was compiled with a checkpointer and keeps it; heddle's otherwise. */
  readonly checkpointer: "own" | "injected";
  readonly store: "own" | "injected";
  /** Whether it was compiled to stop before or after nodes of its own. */
  readonly hasBreakpoints: boolean;
}

/** What the graph is driven with; decided by the recovery rule, not by the host. */
export type GraphInput =
  | { readonly kind: "input"; readonly value: Json }
  | { readonly kind: "command"; readonly command: RunCommand }
  /** Go on from the head checkpoint; `resume` has answers, by interrupt id, that no task has taken yet. */
  | { readonly kind: "continue"; readonly resume?: JsonObject };

export interface ExecuteRequest {
  readonly graphId: string;
  readonly runId: string;
  readonly threadId: string;
  readonly assistantId: string;
  readonly attempt: number;
  /** The claim that it is executed under: what it writes is written by that. */
  readonly fence: number;
  /** The run's metadata, which the graph sees in its config. */
  readonly metadata: JsonObject;
  readonly payload: RunPayload;
  readonly input: GraphInput;
  /** Interrupts that were pending when the run began: what the run neither answers nor supersedes stays pending. */
  readonly pendingBefore: InterruptsByTask;
  /** When `signal` aborts with this reason, keep the message that was being streamed (`runs.keep_partial_on_cancel`). */
  readonly keepPartialOn: unknown;
  /** What of it is traced; absent for nothing. */
  readonly recording?: SpanRecording | undefined;
}

export interface GraphEvent {
  /** The wire name without namespace: a stream mode, or `messages/partial` and its siblings. */
  readonly event: string;
  readonly namespace: readonly string[];
  /** One line of JSON. */
  readonly data: string;
}

/**
 * How an execution ended. A paused graph `finished`: its projection carries the interrupts. The projection is null where
 * the state cannot be read: the thread keeps the one it had.
 */
export type ExecuteResult =
  | { readonly kind: "finished"; readonly projection: ThreadProjection | null }
  | { readonly kind: "aborted"; readonly projection: ThreadProjection | null }
  | { readonly kind: "failed"; readonly error: RunError; readonly projection: ThreadProjection | null }
  /** Another run took its thread down: it is to be run again. Never for a run that was told to stop. */
  | { readonly kind: "evicted" };

/** A place in a thread's state, with the configuration that graph factories are called with. */
export interface StateRef {
  readonly graphId: string;
  readonly threadId: string;
  readonly checkpoint: CheckpointPointer | null;
  readonly config: RunConfig;
  /** Under which the thread is taken for a write. */
  readonly reservation?: string | undefined;
}

export interface StateUpdate {
  readonly values?: Json | undefined;
  readonly command?: RunCommand | undefined;
  readonly asNode?: string | undefined;
}

export interface HistoryQuery {
  readonly limit: number;
  readonly before: string | null;
  readonly metadata: JsonObject;
  /** What the states may take together as JSON; the first one may be larger. */
  readonly maxBytes: number;
}

export interface HistoryPage {
  /** Newest first. */
  readonly states: readonly ThreadState[];
  /** Where the bytes ended before the limit did: the `before` of what follows. */
  readonly next: string | null;
}

export interface GraphSchemas {
  readonly input_schema: JsonObject | null;
  readonly output_schema: JsonObject | null;
  readonly state_schema: JsonObject | null;
  readonly config_schema: JsonObject | null;
  readonly context_schema: JsonObject | null;
}

export interface GraphHost {
  graphs(): readonly GraphInfo[];
  /**
   * Runs the graph and yields its events in order; returns how it ended. Aborting `signal` stops the graph; the
   * generator returns only when the graph can write nothing any more. Errors of user code are a result, never thrown.
   */
  execute(request: ExecuteRequest, signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult>;
  /**
   * Whether the code that executes the run still reacts, or nothing of it is left and only its state is read. A lease is
   * renewed only while it does.
   */
  isAnswering(runId: string): boolean;
  getState(ref: StateRef, options: { readonly subgraphs: boolean }): Promise<ThreadState>;
  /** Reads no more states than the page has room for, and one. */
  getHistory(ref: StateRef, query: HistoryQuery): Promise<HistoryPage>;
  /** Applies supersteps of updates; returns the new checkpoint and the root state after it. */
  updateState(
    ref: StateRef,
    supersteps: readonly (readonly StateUpdate[])[],
  ): Promise<{ readonly checkpoint: JsonObject; readonly projection: ThreadProjection }>;
  schemas(graphId: string, config: RunConfig): Promise<GraphSchemas>;
  /** `xray`: how many levels of subgraphs to draw open; true for all. */
  drawing(graphId: string, config: RunConfig, xray: boolean | number): Promise<JsonObject>;
  subgraphs(
    graphId: string,
    config: RunConfig,
    options: { readonly namespace: string | null; readonly recurse: boolean },
  ): Promise<{ readonly [namespace: string]: GraphSchemas }>;
  /** The meaning of texts, by the model that items are indexed with; rejects where they are not. */
  readonly embed: EmbedTexts;
  close(): Promise<void>;
}
