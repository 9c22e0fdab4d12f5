/** The port of checkpoints. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { MessageKit } from "../../core/kit.js";
import type { Durability } from "../../core/model.js";
import type { Awaitable, StoreTransaction } from "./page.js";
import type { Lease } from "./runs.js";

/** A run as one claim of it has it. On a shared database whoever writes for it still has that claim, or nothing is written. */
export type ClaimedRun = Pick<Lease, "threadId" | "runId" | "fence">;

/** What keeps the runs of a thread away while somebody else writes to it. */
export type ThreadHold =
  | { readonly kind: "reservation"; readonly owner: string }
  /** A transaction of the thread store that has locked the thread's row: what is written is a part of it where it can be. */
  | { readonly kind: "transaction"; readonly transaction: StoreTransaction };

/** A saver for one execution: stamps its run id on everything and refuses writes once closed. */
export interface RunSaver {
  readonly saver: BaseCheckpointSaver;
  /** Resolves when everything written so far is stored; rejects with what could not be. */
  settled(): Promise<void>;
  /** After this every write is refused: a graph that ignores its cancel can change nothing any more. */
  close(): void;
}

/** What a run left in the checkpoints, besides its own command. */
export interface Leftover {
  /** It has a checkpoint in the root: it is beyond the superstep in which it began. */
  readonly checkpoint: boolean;
  /** One of its tasks has written something, or one of its subgraphs has a checkpoint. */
  readonly work: boolean;
  /** Ids of interrupts whose tasks have taken an answer from it. */
  readonly taken: readonly string[];
  /** The thread has subgraphs that remember from call to call. */
  readonly memory: boolean;
}

export interface Size {
  readonly count: number;
  /** Of what was stored; keys and indexes take more. */
  readonly bytes: number;
}

/** What is stored of a thread. Every byte counts once. */
export interface CheckpointSizes {
  /** Without the short values that they carry. */
  readonly checkpoints: Size;
  readonly values: Size;
  /** How many versions of a channel's value are kept, and what these take in all checkpoints. */
  readonly valuesByChannel: ReadonlyMap<string, Size>;
  readonly writes: Size;
}

/** Each method that changes something is one transaction. */
export interface Checkpoints {
  /**
   * For one execution. With durability `sync` a write returns when it is stored; otherwise it may return when it is on its
   * way, in order, so that a graph never waits for it. `kit` names the message classes that stored messages come back as. */
  forRun(run: ClaimedRun & { readonly durability?: Durability }, kit: MessageKit): RunSaver;
  /**
   * For reading state and for writes outside of runs, under the `reservation` of the thread. They are refused once `signal`
   * is aborted, with its reason.
   */
  saver(
    kit: MessageKit,
    options?: { readonly signal?: AbortSignal | undefined; readonly reservation?: string | undefined },
  ): BaseCheckpointSaver;
  /** Whether there is such a checkpoint, without reading it. */
  has(threadId: string, checkpointNs: string, checkpointId: string): Awaitable<boolean>;
  /** Whether the newest state of the thread was written outside of runs; false for a thread without any. */
  isHeadOutsideRuns(threadId: string): Awaitable<boolean>;
  /** What was persisted of this run (recovery rule). */
  leftBy(threadId: string, runId: string): Awaitable<Leftover>;
  /**
   * Drops the newest checkpoint of the run in each subgraph that is under way, and in the root if `root` or it is a fork,
   * when nothing was built upon it: driven again, the graph makes it anew from what was stored before, and stops where it
   * would have stopped (recovery rule).
   */
  stepBack(run: ClaimedRun, options: { readonly root: boolean }): Awaitable<void>;
  /** What was written for the run; for a claim of it, or because it is being rolled back. */
  deleteRun(run: ClaimedRun): Awaitable<void>;
  /** Of a thread whose deletion has begun. */
  deleteThread(threadId: string): Awaitable<void>;
  /** Copies every checkpoint and write of `from`, which is held, to `to`, which is being prepared. */
  copyThread(threads: {
    readonly from: string;
    readonly to: string;
    readonly hold: ThreadHold;
    /** Who has the reservation of `to`. */
    readonly preparedBy: string;
  }): Awaitable<void>;
  /** Keeps the newest checkpoint of each namespace that the head still refers to. */
  pruneToLatest(threadId: string, hold: ThreadHold): Awaitable<void>;
  /** What is stored of the thread; others get their turn while it is counted. */
  sizesOf(threadId: string): Promise<CheckpointSizes>;
  /** Returns when everything written so far survives a power failure. */
  sync(): Awaitable<void>;
  /** Throws, or rejects with, `unavailable`, saying why, while nothing can be written. */
  requireWritable(): Awaitable<void>;
  close(): Awaitable<void>;
}
