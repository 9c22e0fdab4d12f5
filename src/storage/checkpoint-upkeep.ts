/** Deleting, copying and pruning checkpoints: each leaves no unreachable row behind. */
import { changing, type Dialect, isAny, type Program, rowsOf } from "./checkpoint-program.js";
import type { CheckpointKey } from "./checkpoint-rows.js";
import type { ClaimedRun } from "./ports/checkpoints.js";

const HAS = (d: Dialect): string =>
  `SELECT 1 FROM ${d.checkpoints} WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id`;

export function has({ threadId, checkpointNs, checkpointId }: CheckpointKey): Program<boolean> {
  return isAny(HAS, { thread: threadId, ns: checkpointNs, id: checkpointId });
}

const HEAD_RUN = (d: Dialect): string =>
  `SELECT run_id AS "runId" FROM ${d.checkpoints} WHERE thread_id = @thread AND checkpoint_ns = ''
   ORDER BY ${d.order} DESC LIMIT 1`;

export function* isHeadOutsideRuns(threadId: string): Program<boolean> {
  const [head] = yield* rowsOf<{ readonly runId: string }>(HEAD_RUN, { thread: threadId });
  return head?.runId === "";
}

const DELETE_UNREFERENCED_VALUES = (d: Dialect): string =>
  `DELETE FROM ${d.values} WHERE thread_id = @thread AND (checkpoint_ns, channel, checkpoint_id) NOT IN
     (SELECT c.checkpoint_ns, ref.key, ref.value ->> 1 FROM ${d.checkpoints} AS c, ${d.channelRefs} AS ref
      WHERE c.thread_id = @thread AND ref.value ->> 1 IS NOT NULL)`;

/** Of a thread: values that no checkpoint refers to any more. */
export function deleteUnreferencedValues(threadId: string): Program<number> {
  return changing(DELETE_UNREFERENCED_VALUES, { thread: threadId });
}

const DELETE_WRITES_OF_RUN = (d: Dialect): string =>
  `DELETE FROM ${d.writes} WHERE thread_id = @thread AND ((run_id = @run AND run_id <> '') OR (checkpoint_ns, checkpoint_id) IN
     (SELECT checkpoint_ns, checkpoint_id FROM ${d.checkpoints} WHERE thread_id = @thread AND run_id = @run AND run_id <> ''))`;

const DELETE_CHECKPOINTS_OF_RUN = (d: Dialect): string =>
  `DELETE FROM ${d.checkpoints} WHERE thread_id = @thread AND run_id = @run AND run_id <> ''`;

export function* deleteRun({ threadId, runId }: Pick<ClaimedRun, "threadId" | "runId">): Program<void> {
  yield* changing(DELETE_WRITES_OF_RUN, { thread: threadId, run: runId });
  const deleted = yield* changing(DELETE_CHECKPOINTS_OF_RUN, { thread: threadId, run: runId });
  if (deleted > 0) yield* deleteUnreferencedValues(threadId);
}

const DELETE_OF_THREAD = [
  (d: Dialect): string => `DELETE FROM ${d.checkpoints} WHERE thread_id = @thread`,
  (d: Dialect): string => `DELETE FROM ${d.values} WHERE thread_id = @thread`,
  (d: Dialect): string => `DELETE FROM ${d.writes} WHERE thread_id = @thread`,
];

export function* deleteThread(threadId: string): Program<void> {
  for (const sql of DELETE_OF_THREAD) yield* changing(sql, { thread: threadId });
}

/** In the order in which they were written: it is that of checkpoints, and of a task's writes the later run's decides. */
const COPY = (["checkpoints", "values", "writes"] as const).map(
  (table) =>
    (d: Dialect): string =>
      `INSERT INTO ${d[table]} (thread_id, ${d.columns[table]})
       SELECT @to, ${d.columns[table]} FROM ${d[table]} WHERE thread_id = @thread ORDER BY ${d.order}`,
);

export function* copyThread(from: string, to: string): Program<void> {
  for (const sql of COPY) yield* changing(sql, { thread: from, to });
}

interface Head {
  readonly checkpointNs: string;
  readonly checkpointId: string;
  /** The root checkpoint under which it was written; null in the root itself. */
  readonly rootId: string | null;
}

const HEADS = (d: Dialect): string =>
  `SELECT checkpoint_ns AS "checkpointNs", checkpoint_id AS "checkpointId", ${d.rootId} AS "rootId" FROM ${d.checkpoints}
   WHERE thread_id = @thread AND ${d.order} IN
     (SELECT max(${d.order}) FROM ${d.checkpoints} WHERE thread_id = @thread GROUP BY checkpoint_ns)`;

const DELTA_CHANNELS = (d: Dialect): string =>
  `SELECT DISTINCT counter.key AS channel FROM ${d.checkpoints} AS c, ${d.deltaChannels} AS counter
   WHERE c.thread_id = @thread AND c.checkpoint_ns = @ns`;

const LINK = (d: Dialect): string =>
  `SELECT parent_checkpoint_id AS "parentId", ${d.channelNames} AS channels FROM ${d.checkpoints}
   WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id`;

/** A delta channel's value is made from the writes since its last snapshot: up to there ancestors stay. */
function* keptOf(threadId: string, { checkpointNs: ns, checkpointId }: Head): Program<readonly string[]> {
  const deltas = yield* rowsOf<{ readonly channel: string }>(DELTA_CHANNELS, { thread: threadId, ns });
  const missing = new Set(deltas.map(({ channel }) => channel));
  const kept: string[] = [];
  for (let id: string | null = checkpointId; id !== null; ) {
    const [link]: readonly { readonly parentId: string | null; readonly channels: string }[] = yield* rowsOf(LINK, {
      thread: threadId,
      ns,
      id,
    });
    if (link === undefined) break;
    kept.push(id);
    for (const channel of JSON.parse(link.channels) as readonly string[]) missing.delete(channel); // the saver's names
    id = missing.size > 0 ? link.parentId : null;
  }
  return kept;
}

const isDropped = (d: Dialect, id: string): string =>
  `(checkpoint_ns, ${id}) NOT IN (SELECT kept.value ->> 0, kept.value ->> 1 FROM ${d.kept} AS kept)`;

const DROP = [
  (d: Dialect): string => `DELETE FROM ${d.writes} WHERE thread_id = @thread AND ${isDropped(d, "checkpoint_id")}`,
  (d: Dialect): string => `DELETE FROM ${d.checkpoints} WHERE thread_id = @thread AND ${isDropped(d, "checkpoint_id")}`,
  (d: Dialect): string =>
    `UPDATE ${d.checkpoints} SET parent_checkpoint_id = NULL WHERE thread_id = @thread
       AND parent_checkpoint_id IS NOT NULL AND ${isDropped(d, "parent_checkpoint_id")}`,
];

/** Drops the checkpoints, with their writes, that the newest state of the thread can do without. */
export function* pruneToLatest(threadId: string): Program<void> {
  const heads = yield* rowsOf<Head>(HEADS, { thread: threadId });
  const rootId = heads.find(({ checkpointNs }) => checkpointNs === "")?.checkpointId;
  const kept: [string, string][] = [];
  for (const head of heads) {
    if (rootId !== undefined && head.rootId !== rootId && !isLasting(head.checkpointNs)) continue;
    for (const id of yield* keptOf(threadId, head)) kept.push([head.checkpointNs, id]);
  }
  for (const sql of DROP) yield* changing(sql, { thread: threadId, kept: JSON.stringify(kept) });
  yield* deleteUnreferencedValues(threadId);
}

/** The root, and subgraphs with a memory of their own: those of one task carry its id, `node:task`. */
function isLasting(checkpointNs: string): boolean {
  return !checkpointNs.includes(":");
}
