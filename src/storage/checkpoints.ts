/**
 * Checkpoints on SQLite, in a file and on a connection of their own.
 *
 * During a run commits are `synchronous=NORMAL`: they survive the death of the process. `sync()` makes all of them survive
 * a power failure, too, at the price of one flush (docs/decisions/003-checkpoint-durability.md).
 */
import { INTERRUPT, type PendingWrite, RESUME } from "@langchain/langgraph-checkpoint";
import { toPlain } from "../core/json.js";
import type { MessageKit } from "../core/kit.js";
import type { Interrupt } from "../core/model.js";
import { CheckpointSaver, type Writer } from "./checkpoint-saver.js";
import { openCheckpointFile } from "./checkpoint-schema.js";
import { type CheckpointKey, prepareTables } from "./checkpoint-tables.js";
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
    forRun(lease, kit) {
      const run = new RunWriter(lease);
      return {
        saver: createSaver(kit, run),
        interrupts: () => Object.fromEntries(run.interrupts),
        close: () => run.close(),
      };
    },
    saver: (kit) => createSaver(kit, OUTSIDE_OF_RUNS),
    ...upkeep,
    sync: prepareSync(connection),
    close: () => void connection.close(),
  };
}

const OUTSIDE_OF_RUNS: Writer = { runId: "", assertOpen() {}, onWrites() {} };

/** One execution of a run: until it is closed it may write, and it remembers which root tasks wait for an answer. */
class RunWriter implements Writer {
  readonly runId: string;
  readonly interrupts = new Map<string, readonly Interrupt[]>();
  readonly #threadId: string;
  #isOpen = true;

  constructor(lease: { readonly threadId: string; readonly runId: string }) {
    this.runId = lease.runId;
    this.#threadId = lease.threadId;
  }

  close(): void {
    this.#isOpen = false;
  }

  assertOpen(): void {
    if (!this.#isOpen) throw new Error(`run ${this.runId} is over: its checkpoints can no longer be written`);
  }

  onWrites({ threadId, checkpointNs }: CheckpointKey, taskId: string, writes: readonly PendingWrite[]): void {
    if (threadId !== this.#threadId || checkpointNs !== "") return;
    const asked = writes.filter(([channel]) => channel === INTERRUPT).flatMap(([, value]) => value);
    if (asked.length > 0) {
      this.interrupts.set(taskId, asked.map(toInterrupt));
    } else if (writes.some(([channel]) => channel !== RESUME)) {
      this.interrupts.delete(taskId); // it went on and ended
    }
  }
}

function toInterrupt(raw: unknown): Interrupt {
  const { id, value } = raw as { id?: unknown; value?: unknown }; // an entry of LangGraph's `__interrupt__` channel
  return { id: String(id ?? ""), value: toPlain(value) };
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
