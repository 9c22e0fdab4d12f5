/**
 * Checkpoints on SQLite, in a file and on a connection of their own.
 *
 * During a run commits are `synchronous=NORMAL`: they survive the death of the process. `sync()` makes all of them survive
 * a power failure, too, at the price of one flush (docs/decisions/003-checkpoint-durability.md).
 */
import type { MessageKit } from "../core/kit.js";
import { CheckpointSaver, type Writer } from "./checkpoint-saver.js";
import { openCheckpointFile } from "./checkpoint-schema.js";
import { prepareTables } from "./checkpoint-tables.js";
import { prepareUpkeep } from "./checkpoint-upkeep.js";
import { createSerde, type Serde } from "./serde.js";
import type { SqliteDatabase } from "./sqlite.js";
import type { Checkpoints } from "./storage.js";

/** Opens the checkpoints in `file`, or in memory (`:memory:`); throws `DataFolderError` when the file cannot be used. */
export function openCheckpoints(file: string): Checkpoints {
  const connection = openCheckpointFile(file);
  const tables = prepareTables(connection);
  const upkeep = prepareUpkeep(connection);
  const serdes = new WeakMap<MessageKit, Serde>();

  const createSaver = (kit: MessageKit, writer: Writer): CheckpointSaver => {
    const serde = serdes.get(kit) ?? createSerde(kit);
    serdes.set(kit, serde);
    return new CheckpointSaver({ connection, tables, serde, writer, deleteThread: upkeep.deleteThread });
  };

  return {
    forRun({ runId }, kit) {
      const run = new RunWriter(runId);
      return { saver: createSaver(kit, run), close: () => run.close() };
    },
    saver: (kit) => createSaver(kit, OUTSIDE_OF_RUNS),
    ...upkeep,
    sync: prepareSync(connection),
    close: () => void connection.close(),
  };
}

const OUTSIDE_OF_RUNS: Writer = { runId: "", assertOpen() {} };

/** One execution of a run: it may write until it is closed. */
class RunWriter implements Writer {
  readonly runId: string;
  #isOpen = true;

  constructor(runId: string) {
    this.runId = runId;
  }

  close(): void {
    this.#isOpen = false;
  }

  assertOpen(): void {
    if (!this.#isOpen) throw new Error(`run ${this.runId} is over: its checkpoints can no longer be written`);
  }
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
