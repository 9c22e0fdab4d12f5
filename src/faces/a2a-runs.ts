/** Which runs of a thread make a task. Pure. */
import type { Json } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";

/** In a run's metadata: the task that it went on with; absent where it began one. */
export const TASK = "a2a_task_id";
/** In the metadata of a run that began a task: the graph's message that it began with. */
export const FIRST_MESSAGE = "a2a_message_id";

export type ListedRun = Awaited<ReturnType<RunManager["list"]>>["rows"][number];

/** A task's id is that of its first run, its context's that of the thread. */
export interface TaskIds {
  readonly taskId: string;
  readonly contextId: string;
}

/** A task with the runs that tell about it. */
export interface FoundTask extends TaskIds {
  readonly first: ListedRun;
  readonly newest: ListedRun;
  /** Whether nothing ran on the thread since. */
  readonly isLatest: boolean;
  /** Whether a later task began with this message. */
  isLater(messageId: Json): boolean;
}

/** The newest first, as the runs are. */
export function tasksIn(runs: readonly ListedRun[]): readonly FoundTask[] {
  const latest = runs.find(({ status }) => status !== "pending");
  const newestOf = new Map<string, ListedRun>();
  const placeOf = new Map<Json, number>();
  const tasks: FoundTask[] = [];
  for (const run of runs) {
    const taskId = run.metadata[TASK];
    if (typeof taskId === "string") {
      if (!newestOf.has(taskId)) newestOf.set(taskId, run);
      continue;
    }
    const place = tasks.length;
    const newest = newestOf.get(run.runId) ?? run;
    tasks.push({
      taskId: run.runId,
      contextId: run.threadId,
      first: run,
      newest,
      isLatest: latest === undefined || latest === newest,
      isLater: (messageId) => (placeOf.get(messageId) ?? place) < place,
    });
    const message = run.metadata[FIRST_MESSAGE];
    if (message !== undefined) placeOf.set(message, place);
  }
  return tasks;
}
