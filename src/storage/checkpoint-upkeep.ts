/** Deleting, copying and pruning checkpoints; each function is one transaction that leaves no unreachable row behind. */
import type { Channels } from "./checkpoint-channels.js";
import { inTransaction, type SqliteDatabase } from "./sqlite.js";

/** The task to which LangGraph books what no task wrote, such as a resume value for whoever asks first. */
export const NULL_TASK = "00000000-0000-0000-0000-000000000000";

/** Of the thread `@thread`: values that no checkpoint refers to any more. */
export const DELETE_UNREFERENCED_VALUES = `DELETE FROM channel_values
  WHERE thread_id = @thread AND (checkpoint_ns, channel, checkpoint_id) NOT IN
    (SELECT c.checkpoint_ns, ref.key, ref.value ->> 1 FROM checkpoints AS c, json_each(c.channels) AS ref
     WHERE c.thread_id = @thread AND ref.value ->> 1 IS NOT NULL)`;

export interface CheckpointUpkeep {
  has(threadId: string, checkpointNs: string, checkpointId: string): boolean;
  isHeadOutsideRuns(threadId: string): boolean;
  deleteRun(threadId: string, runId: string): void;
  deleteThread(threadId: string): void;
  copyThread(from: string, to: string): void;
  pruneToLatest(threadId: string): void;
}

export function prepareUpkeep(connection: SqliteDatabase): CheckpointUpkeep {
  const has = connection
    .prepare<unknown[], number>(
      "SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?)",
    )
    .pluck();
  const isHeadOutsideRuns = connection
    .prepare<unknown[], number>(
      "SELECT run_id = '' FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' ORDER BY rowid DESC LIMIT 1",
    )
    .pluck();
  const deleteWritesOfRun = connection.prepare(
    `DELETE FROM writes WHERE thread_id = @thread AND ((run_id = @run AND run_id <> '') OR (checkpoint_ns, checkpoint_id) IN
       (SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = @thread AND run_id = @run AND run_id <> ''))`,
  );
  const deleteCheckpointsOfRun = connection.prepare(
    "DELETE FROM checkpoints WHERE thread_id = @thread AND run_id = @run AND run_id <> ''",
  );
  const deleteUnreferencedValues = connection.prepare(DELETE_UNREFERENCED_VALUES);
  const deleteThread = ["checkpoints", "channel_values", "writes"].map((table) =>
    connection.prepare(`DELETE FROM ${table} WHERE thread_id = ?`),
  );
  const copyThread = COPIED_COLUMNS.map(([table, columns]) =>
    connection.prepare(
      `INSERT INTO ${table} (thread_id, ${columns}) SELECT @to, ${columns} FROM ${table} WHERE thread_id = @thread ORDER BY rowid`,
    ),
  );
  const prune = preparePrune(connection);

  return {
    has: (threadId, checkpointNs, checkpointId) => has.get(threadId, checkpointNs, checkpointId) === 1,
    isHeadOutsideRuns: (threadId) => isHeadOutsideRuns.get(threadId) === 1,
    deleteRun: inTransaction(connection, (threadId: string, runId: string) => {
      deleteWritesOfRun.run({ thread: threadId, run: runId });
      const { changes } = deleteCheckpointsOfRun.run({ thread: threadId, run: runId });
      if (changes > 0) deleteUnreferencedValues.run({ thread: threadId });
    }),
    deleteThread: inTransaction(connection, (threadId: string) => {
      for (const statement of deleteThread) statement.run(threadId);
    }),
    copyThread: inTransaction(connection, (from: string, to: string) => {
      for (const statement of copyThread) statement.run({ thread: from, to });
    }),
    pruneToLatest: inTransaction(connection, (threadId: string) => {
      prune(threadId);
      deleteUnreferencedValues.run({ thread: threadId });
    }),
  };
}

/** In insertion order (`rowid`), which is that of checkpoints; among the writes of a task, the later run's decides. */
const COPIED_COLUMNS = [
  [
    "checkpoints",
    "checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, checkpoint, metadata_type, metadata, channels",
  ],
  ["channel_values", "checkpoint_ns, channel, checkpoint_id, type, value"],
  ["writes", "checkpoint_ns, checkpoint_id, task_id, idx, run_id, channel, type, value"],
] as const;

interface Head {
  readonly checkpointNs: string;
  readonly checkpointId: string;
  /** The root checkpoint under which it was written; null in the root itself. */
  readonly rootId: string | null;
}

/** Drops the checkpoints, with their writes, that the newest state of the thread can do without. */
function preparePrune(connection: SqliteDatabase): (threadId: string) => void {
  const selectHeads = connection.prepare<unknown[], Head>(
    `SELECT checkpoint_ns AS checkpointNs, checkpoint_id AS checkpointId, metadata ->> '$.parents.""' AS rootId
     FROM checkpoints WHERE rowid IN (SELECT max(rowid) FROM checkpoints WHERE thread_id = ? GROUP BY checkpoint_ns)`,
  );
  const selectDeltaChannels = connection
    .prepare<unknown[], string>(
      `SELECT DISTINCT counter.key FROM checkpoints AS c, json_each(c.metadata, '$.counters_since_delta_snapshot') AS counter
       WHERE c.thread_id = ? AND c.checkpoint_ns = ?`,
    )
    .pluck();
  const selectLink = connection.prepare<unknown[], { parentId: string | null; channels: string }>(
    `SELECT parent_checkpoint_id AS parentId, channels FROM checkpoints
     WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?`,
  );
  const isDropped = "(checkpoint_ns, checkpoint_id) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(@kept))";
  const deleteWrites = connection.prepare(`DELETE FROM writes WHERE thread_id = @thread AND ${isDropped}`);
  const deleteCheckpoints = connection.prepare(`DELETE FROM checkpoints WHERE thread_id = @thread AND ${isDropped}`);
  const cutParents = connection.prepare(
    `UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = @thread AND parent_checkpoint_id IS NOT NULL
       AND (checkpoint_ns, parent_checkpoint_id) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(@kept))`,
  );

  /** A delta channel's value is made from the writes since its last snapshot: up to there ancestors stay. */
  const keptOf = (threadId: string, { checkpointNs, checkpointId }: Head): string[] => {
    const missing = new Set(selectDeltaChannels.all(threadId, checkpointNs));
    const kept: string[] = [];
    for (let id: string | null = checkpointId; id !== null; ) {
      const link = selectLink.get(threadId, checkpointNs, id);
      if (link === undefined) break;
      kept.push(id);
      for (const channel of Object.keys(JSON.parse(link.channels) as Channels)) missing.delete(channel);
      id = missing.size > 0 ? link.parentId : null;
    }
    return kept;
  };

  return (threadId) => {
    const heads = selectHeads.all(threadId);
    const rootId = heads.find(({ checkpointNs }) => checkpointNs === "")?.checkpointId;
    const kept = heads
      .filter((head) => rootId === undefined || head.rootId === rootId || isLasting(head.checkpointNs))
      .flatMap((head) => keptOf(threadId, head).map((checkpointId) => [head.checkpointNs, checkpointId]));
    for (const statement of [deleteWrites, deleteCheckpoints, cutParents]) {
      statement.run({ thread: threadId, kept: JSON.stringify(kept) });
    }
  };
}

/** The root, and subgraphs with a memory of their own: those of one task carry its id, `node:task`. */
function isLasting(checkpointNs: string): boolean {
  return !checkpointNs.includes(":");
}
