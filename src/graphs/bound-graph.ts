/**
 * What heddle uses of a compiled LangGraph, whichever copy of the library compiled it: structure instead of `instanceof`.
 */
import type { RunnableConfig } from "@langchain/core/runnables";

export interface StateSnapshotLike {
  readonly values: unknown;
  readonly next: readonly string[];
  readonly config: RunnableConfig;
  readonly tasks: readonly SnapshotTaskLike[];
  readonly metadata?: Record<string, unknown>;
  readonly createdAt?: string;
  readonly parentConfig?: RunnableConfig;
}

export interface SnapshotTaskLike {
  readonly id: string;
  readonly name: string;
  readonly path?: unknown;
  readonly error?: unknown;
  readonly interrupts: readonly { readonly id?: string; readonly value?: unknown }[];
  /** A config that points at the subgraph's state, or that state itself. */
  readonly state?: RunnableConfig | StateSnapshotLike;
  readonly result?: unknown;
}

/** Options of `stream` in LangGraph's own spelling. */
export type StreamOptions = RunnableConfig & Record<string, unknown>;

export interface BoundGraph {
  readonly channels: { readonly [name: string]: unknown };
  readonly checkpointer?: unknown;
  stream(input: unknown, options: StreamOptions): Promise<AsyncIterable<unknown>>;
  /** What `stream` reads: of every Runnable, for its subclasses to say how it streams. */
  _streamIterator(input: unknown, options: unknown): AsyncIterable<unknown>;
  streamEvents(input: unknown, options: StreamOptions & { version: "v2" }): AsyncIterable<LangChainEvent>;
  getState(config: RunnableConfig, options?: { subgraphs?: boolean }): Promise<StateSnapshotLike>;
  getStateHistory(
    config: RunnableConfig,
    options: { limit?: number; before?: RunnableConfig; filter?: Record<string, unknown> },
  ): AsyncIterable<StateSnapshotLike>;
  bulkUpdateState(
    config: RunnableConfig,
    supersteps: { updates: { values?: unknown; asNode?: string }[] }[],
  ): Promise<RunnableConfig>;
}

export interface LangChainEvent {
  readonly event: string;
  readonly run_id: string;
  readonly tags?: readonly string[];
  readonly data: { readonly chunk?: unknown };
}
