/**
 * Checkpoints on SQLite, in a file and on a connection of their own.
 *
 * During a run commits are `synchronous=NORMAL`: they survive the death of the process. `sync()` makes all of them survive
 * a power failure, too, at the price of one flush (docs/decisions/003-checkpoint-durability.md).
 */
import type { MessageKit } from "../core/kit.js";
import { prepareRecovery } from "./checkpoint-recovery.js";
import { CheckpointSaver, type Writer } from "./checkpoint-saver.js";
import { openCheckpointFile } from "./checkpoint-schema.js";
import { prepareSizes } from "./checkpoint-sizes.js";
import { type CheckpointReads, prepareReads, prepareWrites } from "./checkpoint-tables.js";
import { prepareUpkeep } from "./checkpoint-upkeep.js";
import { explaining } from "./failure.js";
import { createSerde, type Serde } from "./serde.js";
import type { SqliteDatabase } from "./sqlite.js";
import type { Checkpoints } from "./storage.js";
import { prepareWriteProbe } from "./write-probe.js";

/** Opens the checkpoints in `file`, or in memory (`:memory:`); throws `DataFolderError` when the file cannot be used. */
export function openCheckpoints(file: string): Checkpoints {
  const connection = openCheckpointFile(file);
  const upkeep = prepareUpkeep(connection);
  const write = explaining(prepareWrites(connection));
  return {
    ...createSavers({ connection, reads: prepareReads(connection), write, deleteThread: upkeep.deleteThread }),
    write,
    ...upkeep,
    ...prepareRecovery(connection),
    sizesOf: prepareSizes(connection),
    sync: prepareSync(connection),
    requireWritable: prepareWriteProbe(connection),
    close: () => void connection.close(),
  };
}

interface SaversDeps extends Pick<Writer, "write" | "deleteThread"> {
  readonly connection: SqliteDatabase;
  readonly reads: CheckpointReads;
}

/** Savers that read with `reads` and write through `write`, wherever that leads. */
export function createSavers({ connection, reads, ...storage }: SaversDeps): Pick<Checkpoints, "forRun" | "saver"> {
  const serdes = new WeakMap<MessageKit, Serde>();

  const createSaver = (kit: MessageKit, writer: Writer): CheckpointSaver => {
    const serde = serdes.get(kit) ?? createSerde(kit);
    serdes.set(kit, serde);
    return new CheckpointSaver({ connection, reads, serde, writer });
  };

  return {
    forRun({ runId, durability }, kit) {
      let isOpen = true;
      const writer = createWriter(storage, {
        runId,
        waits: durability === "sync",
        assertOpen() {
          if (!isOpen) throw new Error(`run ${runId} is over: its checkpoints can no longer be written`);
        },
      });
      return {
        saver: createSaver(kit, writer),
        settled: async () => writer.settled(),
        close() {
          isOpen = false;
        },
      };
    },
    saver(kit, signal) {
      const assertOpen = (): void => signal?.throwIfAborted();
      return createSaver(kit, createWriter(storage, { runId: "", waits: true, assertOpen }));
    },
  };
}

interface WriterOptions {
  readonly runId: string;
  /** Whether a write returns when it is stored, or when it is on its way. */
  readonly waits: boolean;
  readonly assertOpen: () => void;
}

function createWriter(
  storage: Pick<Writer, "write" | "deleteThread">,
  { runId, waits, assertOpen }: WriterOptions,
): Writer {
  let underWay: Promise<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  const requireWritten = (): void => {
    if (failure !== undefined) throw failure.error; // what follows would miss what was before it
  };
  const follow = (done: void | Promise<void>): void | Promise<void> => {
    if (done === undefined) return;
    underWay = done.catch((error: unknown) => {
      failure ??= { error };
    });
    if (waits) return done;
  };
  return {
    runId,
    write(write) {
      assertOpen();
      requireWritten();
      return follow(storage.write(write));
    },
    deleteThread(threadId) {
      assertOpen();
      return follow(storage.deleteThread(threadId));
    },
    settled: () => underWay?.then(requireWritten), // writes happen in order: the last one stands for all
  };
}

/**
 * A commit under `synchronous=FULL` flushes the write-ahead log with everything that earlier commits put into it, so one
 * small one makes all of them durable. What SQLite has moved from the log to the file was flushed before that.
 */
function prepareSync(connection: SqliteDatabase): () => void {
  const countChanges = connection.prepare<unknown[], number>("SELECT total_changes()").pluck();
  const mark = connection.prepare(
    "INSERT INTO sync_marks (id, count) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1",
  );
  let syncedChanges: number | undefined;
  return () => {
    if (countChanges.get() === syncedChanges) return;
    connection.pragma("synchronous = FULL");
    try {
      mark.run();
    } finally {
      connection.pragma("synchronous = NORMAL");
    }
    syncedChanges = countChanges.get();
  };
}
