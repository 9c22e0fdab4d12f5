/**
 * What a run that died left in the checkpoints, and the step back that makes it stand where it stood: for the recovery rule
 * (`runs/recovery.ts`).
 *
 * LangGraph stores a command under the null task and, for answers, under the id of the interrupt; only real tasks have
 * UUIDs. A task that has taken answers stores all that it has, so its list is longer than what earlier runs gave it.
 */
import { changing, type Dialect, isAny, type Program, rowsOf } from "./checkpoint-program.js";
import { NULL_TASK } from "./checkpoint-rows.js";
import { deleteUnreferencedValues } from "./checkpoint-upkeep.js";
import type { ClaimedRun, Leftover } from "./ports/checkpoints.js";

/** Writes by a task, in contrast to what a command left. */
const BY_TASK = `task_id <> '${NULL_TASK}' AND length(task_id) = 36`;

/** Says something about a task instead of being its result. */
const MARKERS = "'__interrupt__', '__resume__', '__error__', '__scheduled__'";

const OF_RUN = "thread_id = @thread AND run_id = @run AND run_id <> ''";

/**
 * Durability `exit` stores what delta channels were given before the checkpoint that it belongs to, and on a new thread an
 * empty one first, to hang it on: LangGraph numbers that as the step before a graph's input.
 */
const HAS_ROOT = (d: Dialect): string =>
  `SELECT 1 FROM ${d.checkpoints} WHERE ${OF_RUN} AND checkpoint_ns = '' AND ${d.step} IS DISTINCT FROM -2 LIMIT 1`;

const HAS_NESTED = (d: Dialect): string =>
  `SELECT 1 FROM ${d.checkpoints} WHERE ${OF_RUN} AND checkpoint_ns <> '' LIMIT 1`;

const HAS_TASK_WRITES = (d: Dialect): string => `SELECT 1 FROM ${d.writes} WHERE ${OF_RUN} AND ${BY_TASK} LIMIT 1`;

const HAS_MEMORY = (d: Dialect): string =>
  `SELECT 1 FROM ${d.checkpoints} WHERE thread_id = @thread AND checkpoint_ns <> '' AND checkpoint_ns NOT LIKE '%:%' LIMIT 1`;

const sameTask = (table: string): string =>
  `${table}.thread_id = answer.thread_id AND ${table}.checkpoint_ns = answer.checkpoint_ns
     AND ${table}.checkpoint_id = answer.checkpoint_id AND ${table}.task_id = answer.task_id`;

const ANSWERED = (d: Dialect): string =>
  `SELECT answer.value AS given, asked.value AS asked, (SELECT before.value FROM ${d.writes} AS before
       WHERE ${sameTask("before")} AND before.channel = '__resume__' AND before.run_id <> @run
       ORDER BY before.${d.order} DESC LIMIT 1) AS before
   FROM ${d.writes} AS answer JOIN ${d.writes} AS asked ON ${sameTask("asked")} AND asked.channel = '__interrupt__'
   WHERE answer.thread_id = @thread AND answer.run_id = @run AND answer.channel = '__resume__'
     AND length(answer.task_id) = 36`;

/** What was persisted of the run. */
export function* leftBy(threadId: string, runId: string): Program<Leftover> {
  const key = { thread: threadId, run: runId };
  const checkpoint = yield* isAny(HAS_ROOT, key);
  const work = (yield* isAny(HAS_NESTED, key)) || (yield* isAny(HAS_TASK_WRITES, key));
  const taken = new Set<string>();
  for (const { given, before, asked } of yield* rowsOf<Record<"given" | "before" | "asked", string | null>>(
    ANSWERED,
    key,
  )) {
    const id = (parse(asked) as { readonly id?: unknown } | null)?.id;
    if (lengthOf(given) > lengthOf(before) && typeof id === "string") taken.add(id);
  }
  return { checkpoint, work, taken: [...taken], memory: yield* isAny(HAS_MEMORY, { thread: threadId }) };
}

/** As the serializer wrote it; null where there is no JSON. */
function parse(text: string | null): unknown {
  return typeof text === "string" ? JSON.parse(text) : null;
}

function lengthOf(list: string | null): number {
  const parsed = parse(list);
  return Array.isArray(parsed) ? parsed.length : 0;
}

interface Head {
  readonly ns: string;
  readonly id: string;
  /** LangGraph's: fork, input, loop, update. */
  readonly source: string;
  /** JSON: the checkpoints under which it was written, by namespace. */
  readonly parents: string | null;
}

const HEADS = (d: Dialect): string =>
  `SELECT checkpoint_ns AS ns, checkpoint_id AS id, ${d.source} AS source, ${d.parents} AS parents
   FROM ${d.checkpoints} AS c WHERE ${OF_RUN} AND ${d.order} =
     (SELECT max(${d.order}) FROM ${d.checkpoints} WHERE thread_id = c.thread_id AND checkpoint_ns = c.checkpoint_ns)`;

const IS_BUILT_UPON = (d: Dialect): string =>
  `SELECT 1 FROM ${d.writes} WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id AND ${BY_TASK}
   UNION ALL SELECT 1 FROM ${d.checkpoints} WHERE thread_id = @thread AND ${d.isUnderParent} LIMIT 1`;

const NEWEST = (d: Dialect): string =>
  `SELECT checkpoint_id AS id FROM ${d.checkpoints} WHERE thread_id = @thread AND checkpoint_ns = @ns
   ORDER BY ${d.order} DESC LIMIT 1`;

const HAS_RESULT = (d: Dialect): string =>
  `SELECT 1 FROM ${d.writes} WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id
     AND task_id = @task AND channel NOT IN (${MARKERS}) LIMIT 1`;

const DELETE_CHECKPOINT = (d: Dialect): string =>
  `DELETE FROM ${d.checkpoints} WHERE thread_id = @thread AND checkpoint_ns = @ns AND checkpoint_id = @id`;

export function* stepBack(
  { threadId: thread, runId: run }: Pick<ClaimedRun, "threadId" | "runId">,
  { root }: { readonly root: boolean },
): Program<void> {
  const bare: Head[] = [];
  for (const head of yield* rowsOf<Head>(HEADS, { thread, run })) {
    if (!(yield* isAny(IS_BUILT_UPON, { thread, ns: head.ns, id: head.id }))) bare.push(head);
  }
  const dropped: Head[] = [];
  for (const head of bare) {
    const isDropped = head.ns === "" ? root || head.source === "fork" : yield* isUnderWay(thread, head);
    if (isDropped) dropped.push(head);
  }
  for (const { ns, id } of dropped) yield* changing(DELETE_CHECKPOINT, { thread, ns, id });
  if (dropped.length > 0) yield* deleteUnreferencedValues(thread);
}

/** Whether the task that the namespace belongs to is still to end, and those that it belongs to in turn. */
function* isUnderWay(thread: string, { ns, parents }: Pick<Head, "ns" | "parents">): Program<boolean> {
  const segments = ns.split("|");
  const parentIds = JSON.parse(parents ?? "{}") as Readonly<Record<string, string>>; // as LangGraph writes metadata
  for (const [depth, segment] of segments.entries()) {
    const [, task] = segment.split(":");
    const parent = segments.slice(0, depth).join("|");
    const id = parentIds[parent];
    if (task === undefined || id === undefined) return false;
    const [newest] = yield* rowsOf<{ readonly id: string }>(NEWEST, { thread, ns: parent });
    if (newest?.id !== id || (yield* isAny(HAS_RESULT, { thread, ns: parent, id, task }))) return false;
  }
  return true;
}
