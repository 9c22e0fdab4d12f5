/**
 * The rows of checkpoints as savers see them, whatever database holds them: what is read, what is written.
 *
 * SQLite answers at once, a server answers later; what a saver does is written once, for both.
 */
import { isDeepStrictEqual } from "node:util";
import type { Channels, ChannelValue } from "./checkpoint-channels.js";
import type { Awaitable } from "./ports/page.js";
import type { Stored } from "./serde.js";

/** The task to which LangGraph books what no task wrote, such as a resume value for whoever asks first. */
export const NULL_TASK = "00000000-0000-0000-0000-000000000000";

export interface CheckpointKey {
  readonly threadId: string;
  readonly checkpointNs: string;
  readonly checkpointId: string;
}

export interface CheckpointRow extends CheckpointKey {
  readonly parentId: string | null;
  readonly checkpoint: Stored;
  readonly metadata: Stored;
  readonly channels: Channels;
}

export interface WriteRow {
  readonly taskId: string;
  readonly idx: number;
  readonly channel: string;
  readonly stored: Stored;
}

/** All that makes one checkpoint, as of one moment. */
export interface LoadedCheckpoint {
  readonly row: CheckpointRow;
  /** Of the channels whose values have rows of their own. */
  readonly values: ReadonlyMap<string, Stored>;
  /** In the order of tasks, and of each task's writes. */
  readonly writes: readonly WriteRow[];
}

export interface ListQuery {
  readonly threadId: string | undefined;
  readonly checkpointNs: string | undefined;
  readonly checkpointId: string | undefined;
  /** Only checkpoints written before this one; where it is gone, before what its id says. */
  readonly beforeId: string | undefined;
  /** JSON object: each of its members must be equal in the stored metadata. */
  readonly metadata: string | undefined;
  readonly limit: number | undefined;
}

/** A value that the checkpoint `checkpointId` stored. */
export interface ValueRef {
  readonly channel: string;
  readonly checkpointId: string;
}

export interface CheckpointReads {
  /** Without an id the newest of the namespace. */
  load(
    threadId: string,
    checkpointNs: string,
    checkpointId: string | undefined,
  ): Awaitable<LoadedCheckpoint | undefined>;
  channels(key: CheckpointKey): Awaitable<Channels | undefined>;
  /** By channel, of one namespace; what is missing is left out. */
  values(place: Omit<CheckpointKey, "checkpointId">, refs: readonly ValueRef[]): Awaitable<ReadonlyMap<string, Stored>>;
  writes(key: CheckpointKey): Awaitable<readonly WriteRow[]>;
  /** Newest first. */
  list(query: ListQuery): Awaitable<readonly CheckpointKey[]>;
}

/** Plain data, so that another thread can ask for it. */
export type CheckpointWrite =
  | {
      readonly kind: "checkpoint";
      readonly runId: string;
      readonly row: CheckpointRow;
      readonly values: readonly ChannelValue[];
    }
  | {
      readonly kind: "writes";
      readonly runId: string;
      readonly key: CheckpointKey;
      readonly writes: readonly WriteRow[];
      /** What happens to a write that is there already: special channels replace it. */
      readonly existing: "replace" | "keep";
    };

/** Of writes to one checkpoint, in the order of tasks, places and time, those that count: a later run's replace an earlier one's. */
export function latestWrites(ordered: Iterable<WriteRow>): readonly WriteRow[] {
  const latest = new Map<string, WriteRow>();
  for (const write of ordered) latest.set(`${write.idx} ${write.taskId}`, write);
  return [...latest.values()];
}

/** Both are JSON objects as the serializer wrote them, so that equal values have equal JSON. */
export function matchesMetadata(metadata: string, filter: string): boolean {
  const stored = JSON.parse(metadata);
  const asked = Object.entries(JSON.parse(filter));
  return asked.every(([key, value]) => Object.hasOwn(stored, key) && isDeepStrictEqual(stored[key], value));
}
