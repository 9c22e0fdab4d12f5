/**
 * LangGraph's SqliteSaver over heddle's tables and serializer.
 *
 * Against the stock one: a channel is stored only by the checkpoints that change it, everything carries the id of its
 * run, writes keep bytes as bytes, metadata filters bind their keys, and nothing is parsed that is not asked for.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import {
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  ERROR,
  getCheckpointId,
  maxChannelVersion,
  type PendingWrite,
  TASKS,
  WRITES_IDX_MAP,
} from "@langchain/langgraph-checkpoint";
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { describeError } from "../core/errors.js";
import { placeChannels, resolve } from "./checkpoint-channels.js";
import type { CheckpointKey, CheckpointReads, CheckpointRow, CheckpointWrite } from "./checkpoint-tables.js";
import { type Serde, type Stored, storedText } from "./serde.js";
import type { SqliteDatabase } from "./sqlite.js";

/** On whose behalf a saver writes, and how. Every method throws or rejects when it may not write any more. */
export interface Writer {
  /** Empty outside of runs. */
  readonly runId: string;
  /** In the order of the calls. What is written is what the rows hold at the call. */
  write(write: CheckpointWrite): void | Promise<void>;
  deleteThread(threadId: string): void | Promise<void>;
  /** Resolves when what was written so far can be read; rejects with what could not be written. */
  settled(): void | Promise<void>;
}

export interface SaverDeps {
  readonly connection: SqliteDatabase;
  readonly reads: CheckpointReads;
  readonly serde: Serde;
  readonly writer: Writer;
}

interface Put {
  readonly key: CheckpointKey;
  readonly parentId: string | undefined;
  readonly checkpoint: Checkpoint;
  readonly metadata: CheckpointMetadata;
  readonly newVersions: ChannelVersions;
}

export class CheckpointSaver extends SqliteSaver {
  readonly #reads: CheckpointReads;
  readonly #serde: Serde;
  readonly #writer: Writer;

  constructor({ connection, reads, serde, writer }: SaverDeps) {
    super(connection, serde);
    this.#reads = reads;
    this.#serde = serde;
    this.#writer = writer;
  }

  /** The tables exist: the file was migrated when it was opened. */
  protected override setup(): void {}

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const threadId = config.configurable?.thread_id;
    if (threadId === undefined) return undefined;
    await this.#writer.settled();
    const checkpointNs = config.configurable?.checkpoint_ns ?? "";
    const row = this.#reads.find(threadId, checkpointNs, getCheckpointId(config) || undefined);
    return row && this.#load(row);
  }

  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    await this.#writer.settled();
    const { thread_id: threadId, checkpoint_ns: checkpointNs } = config.configurable ?? {};
    const filter = Object.entries(options.filter ?? {}).filter(([, value]) => value !== undefined);
    const keys = this.#reads.list({
      threadId,
      checkpointNs,
      checkpointId: getCheckpointId(config) || undefined,
      beforeId: options.before && (getCheckpointId(options.before) || undefined),
      metadata: filter.length === 0 ? undefined : storedText(this.#serde.dumps(Object.fromEntries(filter))),
      limit: options.limit === undefined ? undefined : Math.max(0, options.limit),
    });
    for (const key of keys) {
      const row = this.#reads.find(key.threadId, key.checkpointNs, key.checkpointId);
      if (row !== undefined) yield this.#load(row); // it may have been deleted while the caller was busy
    }
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions = checkpoint.channel_versions,
  ): Promise<RunnableConfig> {
    const parentId: string | undefined = config.configurable?.checkpoint_id;
    const key = { ...requireThread(config), checkpointId: checkpoint.id };
    const isAgain = parentId === checkpoint.id && this.#reads.channels(key) !== undefined;
    // With durability "exit" LangGraph puts the checkpoint that a run started from once more when no superstep ended.
    // It stays as it was, with its parent and its run: what the run did is in the writes.
    if (!isAgain) await this.#insert({ key, parentId, checkpoint, metadata, newVersions });
    return toConfig(key);
  }

  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    const checkpointId: string | undefined = config.configurable?.checkpoint_id;
    if (checkpointId === undefined) throw new Error("config.configurable.checkpoint_id is missing");
    const key = { ...requireThread(config), checkpointId };
    const rows = writes.map(([channel, value], index) => {
      const stored = this.#dumps(channel, channel === ERROR ? boundedError(value) : value);
      return { taskId, idx: WRITES_IDX_MAP[channel] ?? index, channel, stored };
    });
    const isSpecial = writes.every(([channel]) => channel in WRITES_IDX_MAP);
    const existing = isSpecial ? "replace" : "keep";
    await this.#writer.write({ kind: "writes", runId: this.#writer.runId, key, writes: rows, existing });
  }

  override async deleteThread(threadId: string): Promise<void> {
    await this.#writer.deleteThread(threadId);
  }

  #insert(put: Put): void | Promise<void> {
    const { key, checkpoint, metadata, parentId } = put;
    const parent = parentId === undefined ? undefined : this.#reads.channels({ ...key, checkpointId: parentId });
    const { channels, stored, unversioned } = placeChannels({
      ...put,
      parent,
      dumps: (channel, value) => this.#dumps(channel, value),
      read: (channel, checkpointId) => this.#reads.value({ ...key, checkpointId }, channel),
    });
    const { v, id, ts, channel_versions, versions_seen } = checkpoint;
    const row = {
      ...key,
      parentId: parentId ?? null,
      checkpoint: this.#serde.dumps({ v, id, ts, channel_values: unversioned, channel_versions, versions_seen }),
      metadata: this.#serde.dumps(metadata),
      channels,
    };
    return this.#writer.write({ kind: "checkpoint", runId: this.#writer.runId, row, values: stored });
  }

  #dumps(channel: string, value: unknown): Stored {
    try {
      return this.#serde.dumps(value);
    } catch (error) {
      throw new TypeError(`channel ${JSON.stringify(channel)}: ${(error as Error).message}`, { cause: error });
    }
  }

  #load(row: CheckpointRow): CheckpointTuple {
    const checkpoint = this.#read(row.checkpoint) as Checkpoint; // only `put` writes this column
    const read = (channel: string, checkpointId: string) => this.#reads.value({ ...row, checkpointId }, channel);
    for (const [channel, ref] of Object.entries(row.channels)) {
      const stored = resolve(ref, channel, read);
      if (stored === undefined) throw new Error(`checkpoint ${row.checkpointId}: the value of ${channel} is missing`);
      checkpoint.channel_values[channel] = this.#read(stored);
    }
    const parent = row.parentId === null ? undefined : { ...row, checkpointId: row.parentId };
    if (checkpoint.v < 4 && parent !== undefined) this.#addPendingSends(checkpoint, parent);
    const writes = this.#reads.writes(row);
    return {
      config: toConfig(row),
      checkpoint,
      metadata: this.#read(row.metadata) as CheckpointMetadata, // only `put` writes this column
      ...(parent && { parentConfig: toConfig(parent) }),
      pendingWrites: writes.map(({ taskId, channel, stored }) => [taskId, channel, this.#read(stored)]),
    };
  }

  #read(stored: Stored): unknown {
    return this.#serde.loads(stored.type, stored.data);
  }

  /** Checkpoints of LangGraph before 0.3 keep their sends in the parent's writes. */
  #addPendingSends(checkpoint: Checkpoint, parent: CheckpointKey): void {
    const sends = this.#reads.writes(parent).filter(({ channel }) => channel === TASKS);
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_values[TASKS] = sends.map(({ stored }) => this.#read(stored));
    checkpoint.channel_versions[TASKS] =
      versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined);
  }
}

/** LangGraph keeps of an error what it says of itself, which may be of any size and kind. */
function boundedError(value: unknown): { readonly message: string; readonly name: string } {
  const { error: name, message } = describeError(value);
  return { message, name };
}

function requireThread(config: RunnableConfig): Omit<CheckpointKey, "checkpointId"> {
  const threadId = config.configurable?.thread_id;
  if (typeof threadId !== "string" || threadId === "") {
    throw new Error("config.configurable.thread_id is missing: a checkpoint belongs to a thread");
  }
  return { threadId, checkpointNs: config.configurable?.checkpoint_ns ?? "" };
}

function toConfig({ threadId, checkpointNs, checkpointId }: CheckpointKey): RunnableConfig {
  return { configurable: { thread_id: threadId, checkpoint_ns: checkpointNs, checkpoint_id: checkpointId } };
}
