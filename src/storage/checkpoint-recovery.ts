/**
 * What a run that died left in the checkpoints, and the step back that makes it stand where it stood: for the recovery rule
 * (`runs/recovery.ts`).
 *
 * LangGraph stores a command under the null task and, for answers, under the id of the interrupt; only real tasks have
 * UUIDs. A task that has taken answers stores all that it has, so its list is longer than what earlier runs gave it.
 */
import { DELETE_UNREFERENCED_VALUES, NULL_TASK } from "./checkpoint-upkeep.js";
import { inTransaction, type SqliteDatabase } from "./sqlite.js";
import type { Leftover } from "./storage.js";

export interface CheckpointRecovery {
  leftBy(threadId: string, runId: string): Leftover;
  stepBack(threadId: string, runId: string, options: { readonly root: boolean }): void;
}

/** `writes` by a task, in contrast to what a command left. */
const BY_TASK = `task_id <> '${NULL_TASK}' AND length(task_id) = 36`;

/** Says something about a task instead of being its result. */
const MARKERS = "'__interrupt__', '__resume__', '__error__', '__scheduled__'";

/**
 * Durability `exit` stores what delta channels were given before the checkpoint that it belongs to, and on a new thread an
 * empty one first, to hang it on: LangGraph numbers that as the step before a graph's input.
 */
const NO_ANCHOR = "metadata ->> '$.step' IS NOT -2";

interface Head {
  readonly ns: string;
  readonly id: string;
  /** LangGraph's: fork, input, loop, update. */
  readonly source: string;
  /** The checkpoints under which it was written, by namespace. */
  readonly parents: string | null;
}

export function prepareRecovery(connection: SqliteDatabase): CheckpointRecovery {
  const has = (sql: string) => connection.prepare<unknown[], number>(`SELECT EXISTS (${sql})`).pluck();
  const ofRun = "thread_id = @thread AND run_id = @run AND run_id <> ''";
  const hasRoot = has(`SELECT 1 FROM checkpoints WHERE ${ofRun} AND checkpoint_ns = '' AND ${NO_ANCHOR}`);
  const hasNested = has(`SELECT 1 FROM checkpoints WHERE ${ofRun} AND checkpoint_ns <> ''`);
  const hasTaskWrites = has(`SELECT 1 FROM writes WHERE ${ofRun} AND ${BY_TASK}`);
  const hasMemory = has(
    "SELECT 1 FROM checkpoints WHERE thread_id = @thread AND checkpoint_ns <> '' AND instr(checkpoint_ns, ':') = 0",
  );
  const sameTask = (table: string) =>
    `${table}.thread_id = answer.thread_id AND ${table}.checkpoint_ns = answer.checkpoint_ns
       AND ${table}.checkpoint_id = answer.checkpoint_id AND ${table}.task_id = answer.task_id`;
  const selectTaken = connection
    .prepare<unknown[], string>(
      `SELECT DISTINCT asked.value ->> '$.id' FROM writes AS answer
       JOIN writes AS asked ON ${sameTask("asked")} AND asked.channel = '__interrupt__'
       WHERE answer.thread_id = @thread AND answer.run_id = @run AND answer.channel = '__resume__'
         AND length(answer.task_id) = 36 AND json_array_length(answer.value) > coalesce(
           (SELECT json_array_length(before.value) FROM writes AS before
            WHERE ${sameTask("before")} AND before.channel = '__resume__' AND before.run_id <> @run
            ORDER BY before.rowid DESC LIMIT 1), 0)`,
    )
    .pluck();

  const selectHeads = connection.prepare<unknown[], Head>(
    `SELECT checkpoint_ns AS ns, checkpoint_id AS id, metadata ->> '$.source' AS source, metadata -> '$.parents' AS parents
     FROM checkpoints AS c WHERE ${ofRun} AND rowid =
       (SELECT max(rowid) FROM checkpoints WHERE thread_id = c.thread_id AND checkpoint_ns = c.checkpoint_ns)`,
  );
  const isBuiltUpon = has(
    `SELECT 1 FROM writes WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id AND ${BY_TASK}
     UNION ALL SELECT 1 FROM checkpoints, json_each(metadata, '$.parents') AS parent
       WHERE thread_id = @thread AND parent.key = @ns AND parent.value = @id`,
  );
  const isNewest = has(
    `SELECT 1 WHERE @id = (SELECT checkpoint_id FROM checkpoints WHERE thread_id = @thread AND checkpoint_ns = @ns
       ORDER BY rowid DESC LIMIT 1)`,
  );
  const hasResult = has(
    `SELECT 1 FROM writes WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id AND task_id = @task
       AND channel NOT IN (${MARKERS})`,
  );
  const deleteCheckpoint = connection.prepare(
    "DELETE FROM checkpoints WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id",
  );
  const deleteUnreferencedValues = connection.prepare(DELETE_UNREFERENCED_VALUES);

  /** Whether the task that the namespace belongs to is still to end, and those that it belongs to in turn. */
  function isUnderWay(thread: string, { ns, parents }: Pick<Head, "ns" | "parents">): boolean {
    const segments = ns.split("|");
    const parentIds = JSON.parse(parents ?? "{}") as Readonly<Record<string, string>>; // as LangGraph writes metadata
    return segments.every((segment, depth) => {
      const [, task] = segment.split(":");
      const parent = segments.slice(0, depth).join("|");
      const id = parentIds[parent];
      if (task === undefined || id === undefined) return false;
      return isNewest.get({ thread, ns: parent, id }) === 1 && hasResult.get({ thread, ns: parent, id, task }) === 0;
    });
  }

  return {
    leftBy(threadId, runId) {
      const key = { thread: threadId, run: runId };
      return {
        checkpoint: hasRoot.get(key) === 1,
        work: hasNested.get(key) === 1 || hasTaskWrites.get(key) === 1,
        taken: selectTaken.all(key),
        memory: hasMemory.get({ thread: threadId }) === 1,
      };
    },

    stepBack: inTransaction(connection, (threadId: string, runId: string, { root }: { readonly root: boolean }) => {
      const bare = selectHeads
        .all({ thread: threadId, run: runId })
        .filter(({ ns, id }) => isBuiltUpon.get({ thread: threadId, ns, id }) === 0);
      const dropped = bare.filter((head) =>
        head.ns === "" ? root || head.source === "fork" : isUnderWay(threadId, head),
      );
      for (const { ns, id } of dropped) deleteCheckpoint.run({ thread: threadId, ns, id });
      if (dropped.length > 0) deleteUnreferencedValues.run({ thread: threadId });
    }),
  };
}
