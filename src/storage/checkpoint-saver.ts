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
  getCheckpointId,
  maxChannelVersion,
  type PendingWrite,
  TASKS,
  WRITES_IDX_MAP,
} from "@langchain/langgraph-checkpoint";
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { placeChannels, resolve } from "./checkpoint-channels.js";
import type { CheckpointKey, CheckpointRow, CheckpointTables } from "./checkpoint-tables.js";
import type { Serde, Stored } from "./serde.js";
import type { SqliteDatabase } from "./sqlite.js";

/** On whose behalf a saver writes. */
export interface Writer {
  /** Empty outside of runs. */
  readonly runId: string;
  /** Throws when the writer may not write any more. */
  assertOpen(): void;
}

export interface SaverDeps {
  readonly connection: SqliteDatabase;
  readonly tables: CheckpointTables;
  readonly serde: Serde;
  readonly writer: Writer;
  readonly deleteThread: (threadId: string) => void;
}

interface Put {
  readonly key: CheckpointKey;
  readonly parentId: string | undefined;
  readonly checkpoint: Checkpoint;
  readonly metadata: CheckpointMetadata;
  readonly newVersions: ChannelVersions;
}

export class CheckpointSaver extends SqliteSaver {
  readonly #tables: CheckpointTables;
  readonly #serde: Serde;
  readonly #writer: Writer;
  readonly #deleteThread: (threadId: string) => void;

  constructor({ connection, tables, serde, writer, deleteThread }: SaverDeps) {
    super(connection, serde);
    this.#tables = tables;
    this.#serde = serde;
    this.#writer = writer;
    this.#deleteThread = deleteThread;
  }

  /** The tables exist: the file was migrated when it was opened. */
  protected override setup(): void {}

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const threadId = config.configurable?.thread_id;
    if (threadId === undefined) return undefined;
    const checkpointNs = config.configurable?.checkpoint_ns ?? "";
    const row = this.#tables.find(threadId, checkpointNs, getCheckpointId(config) || undefined);
    return row && this.#load(row);
  }

  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { thread_id: threadId, checkpoint_ns: checkpointNs } = config.configurable ?? {};
    const filter = Object.entries(options.filter ?? {}).filter(([, value]) => value !== undefined);
    const keys = this.#tables.list({
      threadId,
      checkpointNs,
      checkpointId: getCheckpointId(config) || undefined,
      beforeId: options.before && (getCheckpointId(options.before) || undefined),
      metadata: filter.length === 0 ? undefined : String(this.#serde.dumps(Object.fromEntries(filter)).data),
      limit: options.limit === undefined ? undefined : Math.max(0, options.limit),
    });
    for (const key of keys) {
      const row = this.#tables.find(key.threadId, key.checkpointNs, key.checkpointId);
      if (row !== undefined) yield this.#load(row); // it may have been deleted while the caller was busy
    }
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions = checkpoint.channel_versions,
  ): Promise<RunnableConfig> {
    this.#writer.assertOpen();
    const parentId: string | undefined = config.configurable?.checkpoint_id;
    const key = { ...requireThread(config), checkpointId: checkpoint.id };
    const isAgain = parentId === checkpoint.id && this.#tables.channels(key) !== undefined;
    // With durability "exit" LangGraph puts the checkpoint that a run started from once more when no superstep ended.
    // It stays as it was, with its parent and its run: what the run did is in the writes.
    if (!isAgain) this.#insert({ key, parentId, checkpoint, metadata, newVersions });
    return toConfig(key);
  }

  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    this.#writer.assertOpen();
    const checkpointId: string | undefined = config.configurable?.checkpoint_id;
    if (checkpointId === undefined) throw new Error("config.configurable.checkpoint_id is missing");
    const key = { ...requireThread(config), checkpointId };
    const rows = writes.map(([channel, value], index) => {
      const stored = this.#dumps(channel, value);
      return { taskId, idx: WRITES_IDX_MAP[channel] ?? index, channel, stored };
    });
    const isSpecial = writes.every(([channel]) => channel in WRITES_IDX_MAP);
    this.#tables.insertWrites(key, rows, this.#writer.runId, isSpecial ? "replace" : "keep");
  }

  override async deleteThread(threadId: string): Promise<void> {
    this.#writer.assertOpen();
    this.#deleteThread(threadId);
  }

  #insert(put: Put): void {
    const { key, checkpoint, metadata, parentId } = put;
    const parent = parentId === undefined ? undefined : this.#tables.channels({ ...key, checkpointId: parentId });
    const { channels, stored, unversioned } = placeChannels({
      ...put,
      parent,
      dumps: (channel, value) => this.#dumps(channel, value),
      read: (channel, checkpointId) => this.#tables.value({ ...key, checkpointId }, channel),
    });
    const { v, id, ts, channel_versions, versions_seen } = checkpoint;
    const row = {
      ...key,
      parentId: parentId ?? null,
      checkpoint: this.#serde.dumps({ v, id, ts, channel_values: unversioned, channel_versions, versions_seen }),
      metadata: this.#serde.dumps(metadata),
      channels,
    };
    this.#tables.insertCheckpoint(row, stored, this.#writer.runId);
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
    const read = (channel: string, checkpointId: string) => this.#tables.value({ ...row, checkpointId }, channel);
    for (const [channel, ref] of Object.entries(row.channels)) {
      const stored = resolve(ref, channel, read);
      if (stored === undefined) throw new Error(`checkpoint ${row.checkpointId}: the value of ${channel} is missing`);
      checkpoint.channel_values[channel] = this.#read(stored);
    }
    const parent = row.parentId === null ? undefined : { ...row, checkpointId: row.parentId };
    if (checkpoint.v < 4 && parent !== undefined) this.#addPendingSends(checkpoint, parent);
    const writes = this.#tables.writes(row);
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
    const sends = this.#tables.writes(parent).filter(({ channel }) => channel === TASKS);
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_values[TASKS] = sends.map(({ stored }) => this.#read(stored));
    checkpoint.channel_versions[TASKS] =
      versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined);
  }
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
