/**
 * Checkpoints on SQLite, in a file and on a connection of their own.
 *
 * During a run commits are `synchronous=NORMAL`: they survive the death of the process. `sync()` makes all of them survive
 * a power failure, too, at the price of one flush (docs/decisions/003-checkpoint-durability.md).
 */
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { whenKnown } from "../core/async.js";
import { prepareOnSqlite } from "./checkpoint-program.js";
import { leftBy, stepBack } from "./checkpoint-recovery.js";
import type { CheckpointWrite } from "./checkpoint-rows.js";
import { createSavers, type SaverRows, savingWith } from "./checkpoint-savers.js";
import { openCheckpointFile } from "./checkpoint-schema.js";
import { sizesOf } from "./checkpoint-sizes.js";
import { prepareReads, prepareWrites, type SqliteReads } from "./checkpoint-tables.js";
import { copyThread, deleteRun, deleteThread, has, isHeadOutsideRuns, pruneToLatest } from "./checkpoint-upkeep.js";
import { explaining } from "./failure.js";
import type { CheckpointSizes, Checkpoints, ClaimedRun, Leftover } from "./ports/checkpoints.js";
import type { Awaitable } from "./ports/page.js";
import type { SqliteDatabase } from "./sqlite.js";
import { prepareWriteProbe } from "./write-probe.js";

/** All but counting is done when a call returns, with no other code in between. */
export type SqliteCheckpoints = ReturnType<typeof openCheckpoints>;

/** Opens the checkpoints in `file`, or in memory (`:memory:`); throws `DataFolderError` when the file cannot be used. */
export function openCheckpoints(file: string) {
  const connection = openCheckpointFile(file);
  const { read, change } = prepareOnSqlite(connection);
  const write = explaining(prepareWrites(connection));
  const removeThread = (threadId: string): void => change(deleteThread(threadId));
  return {
    ...createSqliteSavers({ connection, reads: prepareReads(connection), write, deleteThread: removeThread }),
    /** Does what a saver on another thread asks for. */
    write,
    has: (threadId: string, checkpointNs: string, checkpointId: string): boolean =>
      read(has({ threadId, checkpointNs, checkpointId })),
    isHeadOutsideRuns: (threadId: string): boolean => read(isHeadOutsideRuns(threadId)),
    leftBy: (threadId: string, runId: string): Leftover => read(leftBy(threadId, runId)),
    stepBack: (run: ClaimedRun, options: { readonly root: boolean }): void => change(stepBack(run, options)),
    deleteRun: (run: ClaimedRun): void => change(deleteRun(run)),
    deleteThread: removeThread,
    copyThread: ({ from, to }: { readonly from: string; readonly to: string }): void => change(copyThread(from, to)),
    pruneToLatest: (threadId: string): void => change(pruneToLatest(threadId)),
    sizesOf: (threadId: string): Promise<CheckpointSizes> => sizesOf(threadId, async (program) => read(program)),
    sync: prepareSync(connection),
    requireWritable: prepareWriteProbe(connection),
    close: () => void connection.close(),
  } satisfies Checkpoints & { readonly write: (write: CheckpointWrite) => void };
}

interface SqliteRows {
  readonly connection: SqliteDatabase;
  readonly reads: SqliteReads;
  readonly write: (write: CheckpointWrite) => Awaitable<void>;
  readonly deleteThread: (threadId: string) => Awaitable<void>;
}

/** Savers that read with `reads` and write through `write`, wherever that leads. */
export function createSqliteSavers({ connection, reads, write, deleteThread }: SqliteRows) {
  const rows: SaverRows = {
    reads,
    write: (asked) => whenKnown(asked, (known) => known && write(known)),
    deleteThread,
  };
  return createSavers({
    open: () => rows, // one process writes, and it closes a saver before its run is another's
    wrap: (body, serde) => savingWith(body, new PreparedSaver(connection, serde)),
  });
}

/** The tables exist: the file was migrated when it was opened. */
class PreparedSaver extends SqliteSaver {
  protected override setup(): void {}
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
