/**
 * What LangGraph's savers do, over heddle's tables and serializer: written once, for every database. The saver that a graph
 * sees is a subclass of LangGraph's own for that database (`checkpoints.ts`, `postgres-checkpoints.ts`).
 *
 * Against the stock ones: a channel is stored only by the checkpoints that change it, everything carries the id of its
 * run, writes keep bytes as bytes, metadata filters bind their keys, and nothing is parsed that is not asked for.
 *
 * What is written is what the values were at the call: they are serialized before anything is waited for.
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
import { isPromise, whenKnown } from "../core/async.js";
import { describeError } from "../core/errors.js";
import { type Channels, comparesValues, placeChannels, refsOf, resolve } from "./checkpoint-channels.js";
import type { CheckpointKey, CheckpointReads, CheckpointWrite, LoadedCheckpoint } from "./checkpoint-rows.js";
import type { Awaitable } from "./ports/page.js";
import { type Serde, type Stored, storedText } from "./serde.js";

/** On whose behalf a saver writes, and how. Every method throws or rejects when it may not write any more. */
export interface Writer {
  /** Empty outside of runs. */
  readonly runId: string;
  /** In the order of the calls; undefined: nothing, after all. */
  write(write: Awaitable<CheckpointWrite | undefined>): Awaitable<void>;
  deleteThread(threadId: string): Awaitable<void>;
  /** Resolves when what was written so far can be read; rejects with what could not be written. */
  settled(): Awaitable<void>;
}

export interface SaverDeps {
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

/** The methods in which heddle's savers differ from LangGraph's. */
export class SaverBody {
  readonly #reads: CheckpointReads;
  readonly #serde: Serde;
  readonly #writer: Writer;

  constructor({ reads, serde, writer }: SaverDeps) {
    this.#reads = reads;
    this.#serde = serde;
    this.#writer = writer;
  }

  async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const threadId = config.configurable?.thread_id;
    if (threadId === undefined) return undefined;
    await this.#writer.settled();
    const checkpointNs = config.configurable?.checkpoint_ns ?? "";
    const loaded = await this.#reads.load(threadId, checkpointNs, getCheckpointId(config) || undefined);
    return loaded && this.#toTuple(loaded);
  }

  async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    await this.#writer.settled();
    const { thread_id: threadId, checkpoint_ns: checkpointNs } = config.configurable ?? {};
    const filter = Object.entries(options.filter ?? {}).filter(([, value]) => value !== undefined);
    const keys = await this.#reads.list({
      threadId,
      checkpointNs,
      checkpointId: getCheckpointId(config) || undefined,
      beforeId: options.before && (getCheckpointId(options.before) || undefined),
      metadata: filter.length === 0 ? undefined : storedText(this.#serde.dumps(Object.fromEntries(filter))),
      limit: options.limit === undefined ? undefined : Math.max(0, options.limit),
    });
    for (const key of keys) {
      const loaded = await this.#reads.load(key.threadId, key.checkpointNs, key.checkpointId);
      if (loaded !== undefined) yield await this.#toTuple(loaded); // it may have been deleted while the caller was busy
    }
  }

  async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions = checkpoint.channel_versions,
  ): Promise<RunnableConfig> {
    const parentId: string | undefined = config.configurable?.checkpoint_id;
    const key = { ...requireThread(config), checkpointId: checkpoint.id };
    const write = this.#prepare({ key, parentId, checkpoint, metadata, newVersions });
    if (write !== undefined) await this.#writer.write(write);
    return toConfig(key);
  }

  async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
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

  async deleteThread(threadId: string): Promise<void> {
    await this.#writer.deleteThread(threadId);
  }

  /**
   * The write of a checkpoint. undefined: with durability "exit" LangGraph puts the checkpoint that a run started from once
   * more when no superstep ended. It stays as it was, with its parent and its run: what the run did is in the writes.
   */
  #prepare(put: Put): Awaitable<CheckpointWrite | undefined> {
    const { key, parentId, checkpoint, metadata } = put;
    const { v, id, ts, channel_versions, versions_seen } = checkpoint;
    let kept: Map<string, Stored> | undefined;
    const dumps = (channel: string, value: unknown): Stored => kept?.get(channel) ?? this.#dumps(channel, value);
    /** What has to be waited for finds the values as they are now. */
    const keep = <T>(answer: Awaitable<T>): Awaitable<T> => {
      if (isPromise(answer)) kept ??= this.#dumpAll(checkpoint);
      return answer;
    };
    const unversioned: Record<string, unknown> = {};
    for (const [channel, value] of Object.entries(checkpoint.channel_values)) {
      if (channel_versions[channel] === undefined) unversioned[channel] = value;
    }
    const texts = {
      checkpoint: this.#serde.dumps({ v, id, ts, channel_values: unversioned, channel_versions, versions_seen }),
      metadata: this.#serde.dumps(metadata),
    };
    const build = (parent: Channels | undefined, before: ReadonlyMap<string, Stored>): CheckpointWrite => {
      const { channels, stored } = placeChannels({ ...put, parent, dumps, before });
      const row = { ...key, parentId: parentId ?? null, ...texts, channels };
      return { kind: "checkpoint", runId: this.#writer.runId, row, values: stored };
    };
    if (parentId === undefined) return build(undefined, NOTHING);
    return whenKnown(keep(this.#reads.channels({ ...key, checkpointId: parentId })), (parent) => {
      if (parentId === checkpoint.id && parent !== undefined) return undefined;
      if (parent === undefined || !comparesValues(metadata)) return build(parent, NOTHING);
      const known = refsOf(parent).filter(({ channel }) => parent[channel]?.[0] === channel_versions[channel]);
      return whenKnown(keep(this.#reads.values(key, known)), (before) => build(parent, before));
    });
  }

  #dumpAll({ channel_values, channel_versions }: Checkpoint): Map<string, Stored> {
    const dumped = new Map<string, Stored>();
    for (const [channel, value] of Object.entries(channel_values)) {
      if (channel_versions[channel] !== undefined) dumped.set(channel, ownedCopy(this.#dumps(channel, value)));
    }
    return dumped;
  }

  #dumps(channel: string, value: unknown): Stored {
    try {
      return this.#serde.dumps(value);
    } catch (error) {
      throw new TypeError(`channel ${JSON.stringify(channel)}: ${(error as Error).message}`, { cause: error });
    }
  }

  async #toTuple({ row, values, writes }: LoadedCheckpoint): Promise<CheckpointTuple> {
    const checkpoint = this.#read(row.checkpoint) as Checkpoint; // only `put` writes this column
    for (const [channel, ref] of Object.entries(row.channels)) {
      const stored = resolve(ref, channel, values);
      if (stored === undefined) throw new Error(`checkpoint ${row.checkpointId}: the value of ${channel} is missing`);
      checkpoint.channel_values[channel] = this.#read(stored);
    }
    const parent = row.parentId === null ? undefined : { ...row, checkpointId: row.parentId };
    if (checkpoint.v < 4 && parent !== undefined) await this.#addPendingSends(checkpoint, parent);
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
  async #addPendingSends(checkpoint: Checkpoint, parent: CheckpointKey): Promise<void> {
    const sends = (await this.#reads.writes(parent)).filter(({ channel }) => channel === TASKS);
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_values[TASKS] = sends.map(({ stored }) => this.#read(stored));
    checkpoint.channel_versions[TASKS] = versions.length > 0 ? maxChannelVersion(...versions) : FIRST_VERSION;
  }
}

/** Bytes are stored as they are: until they have been written, whoever made them may change them. */
export function ownedCopy(stored: Stored): Stored {
  return typeof stored.data === "string" ? stored : { ...stored, data: Uint8Array.from(stored.data) };
}

const NOTHING: ReadonlyMap<string, Stored> = new Map();

/** As LangGraph counts. */
const FIRST_VERSION = 1;

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
