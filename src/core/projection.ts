import { toJson } from "./json.js";
import type { ThreadProjection, ThreadState } from "./model.js";

/** What a thread shows of a state that no run has just left: every question that its tasks still ask. */
export function projectionOfState({ values, tasks, next }: ThreadState): ThreadProjection {
  const asking = tasks.filter((task) => task.interrupts.length > 0);
  return {
    valuesJson: toJson(values),
    interrupts: Object.fromEntries(asking.map((task) => [task.id, task.interrupts])),
    next,
  };
}
