/**
 * Storage as graph threads reach it: they read checkpoints themselves and ask the main thread for everything that writes.
 *
 * SQLite allows one writer, and two connections that write one file keep each other waiting inside the event loop. So the
 * main thread's connection is the only one that writes; what crosses is plain data, in the order in which it was asked.
 *
 * On PostgreSQL a thread asks only for items (`thread-storage-postgres.ts`).
 */
import { BaseStore, type Operation, type OperationResults } from "@langchain/langgraph-checkpoint";
import type { CheckpointKey, CheckpointWrite } from "./checkpoint-rows.js";
import { prepareReads } from "./checkpoint-tables.js";
import { createSqliteSavers, type SqliteCheckpoints } from "./checkpoints.js";
import { type IndexFields, type ItemOperation, parseItemOperation } from "./item-operation.js";
import type { SqlStore } from "./items.js";
import type { Checkpoints } from "./ports/checkpoints.js";
import { openSqliteReader } from "./sqlite.js";

/** Plain data. */
type StorageAsk =
  | CheckpointWrite
  | { readonly kind: "delete thread"; readonly threadId: string }
  | { readonly kind: "items"; readonly operations: readonly ItemOperation[] };

/** `given`: memory of the ask that goes to whoever answers, instead of a copy. */
export type AskStorage = (ask: StorageAsk, given?: readonly ArrayBuffer[]) => Promise<unknown>;

export interface ThreadStorage {
  readonly checkpoints: Pick<Checkpoints, "forRun" | "saver">;
  readonly store: BaseStore;
}

/** The graph thread's side. `file`: the checkpoints, which the main thread has opened before; `fields`: its store's. */
export function openThreadStorage(file: string, ask: AskStorage, fields: IndexFields): ThreadStorage {
  return { checkpoints: openFile(file, ask), store: new ThreadStore(ask, fields) };
}

function openFile(file: string, ask: AskStorage): ThreadStorage["checkpoints"] {
  const connection = openSqliteReader(file);
  const reads = prepareReads(connection);
  /** Channels of checkpoints that are on their way: their children are made before they arrive. */
  const underWay = new Map<string, Extract<CheckpointWrite, { kind: "checkpoint" }>["row"]["channels"]>();

  async function write(write: CheckpointWrite): Promise<void> {
    const given = memoryOf(write);
    if (write.kind === "writes") return void (await ask(write, given));
    const key = keyOf(write.row);
    underWay.set(key, write.row.channels);
    try {
      await ask(write, given);
    } finally {
      if (underWay.get(key) === write.row.channels) underWay.delete(key);
    }
  }

  return createSqliteSavers({
    connection,
    reads: { ...reads, channels: (key) => underWay.get(keyOf(key)) ?? reads.channels(key) },
    write,
    deleteThread: async (threadId) => void (await ask({ kind: "delete thread", threadId })),
  });
}

/** Of its long values: their bytes are nobody else's. */
function memoryOf(write: CheckpointWrite): readonly ArrayBuffer[] {
  const stored =
    write.kind === "writes"
      ? write.writes.map((row) => row.stored)
      : [write.row.checkpoint, write.row.metadata, ...write.values.map((value) => value.stored)];
  return stored.flatMap(({ type, data }) =>
    typeof data !== "string" && type !== "bytes" && data.buffer instanceof ArrayBuffer ? [data.buffer] : [],
  );
}

function keyOf({ threadId, checkpointNs, checkpointId }: CheckpointKey): string {
  return JSON.stringify([threadId, checkpointNs, checkpointId]);
}

/** The long-term memory, reached from a graph thread. Operations are checked where their values still are what they are. */
export class ThreadStore extends BaseStore {
  private readonly ask: AskStorage;
  private readonly fields: IndexFields;

  constructor(ask: AskStorage, fields: IndexFields) {
    super();
    this.ask = ask;
    this.fields = fields;
  }

  /** No async function: what one keeps while it waits is more than what it waits for, which a burst of puts multiplies. */
  override batch<Operations extends Operation[]>(operations: Operations): Promise<OperationResults<Operations>> {
    try {
      const parsed = operations.map((operation) => parseItemOperation(operation, this.fields));
      // `SqlStore.apply`: one result per operation, of its operation's kind
      return this.ask({ kind: "items", operations: parsed }) as Promise<OperationResults<Operations>>;
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

/** The main thread's side: does what a graph thread asks for. null: threads write their checkpoints themselves. */
export function createStorageService(storage: {
  readonly checkpoints: Pick<SqliteCheckpoints, "write" | "deleteThread"> | null;
  readonly store: Pick<SqlStore, "apply">;
}): (ask: unknown) => unknown {
  return (asked) => {
    const ask = asked as StorageAsk; // made by `openThreadStorage`
    if (ask.kind === "items") return storage.store.apply(ask.operations);
    if (storage.checkpoints === null) throw new Error("a graph thread writes its checkpoints itself");
    return ask.kind === "delete thread"
      ? storage.checkpoints.deleteThread(ask.threadId)
      : storage.checkpoints.write(ask);
  };
}
