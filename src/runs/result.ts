/**
 * What `wait` and `join` answer with: the last root state, with `__interrupt__` when the graph paused and `__error__`
 * when it failed. It travels as the last entry but one of the run's log, so that it survives a temporary
 * thread.
 */
import { toJson } from "../core/json.js";
import type { InterruptsByTask, RunError } from "../core/model.js";

/** The name of the log entry; never shown to stream readers. */
export const RESULT_EVENT = "__result__";

export interface RunResult {
  readonly valuesJson: string | null;
  readonly interrupts: InterruptsByTask;
  readonly error: RunError | null;
}

/** Always a JSON object: clients look for `__error__` with `in`. */
export function resultJson({ valuesJson, interrupts, error }: RunResult): string {
  if (error !== null) return toJson({ __error__: error });
  const asked = Object.values(interrupts).flat();
  const members = objectMembers(valuesJson ?? "null");
  if (asked.length > 0) members.push(`"__interrupt__":${toJson(asked)}`);
  return `{${members.join(",")}}`;
}

/** The inside of an object's JSON; a graph whose state is no object is shown under LangGraph's name for it. */
function objectMembers(valuesJson: string): string[] {
  if (valuesJson === "null" || valuesJson === "{}") return [];
  return [valuesJson.startsWith("{") ? valuesJson.slice(1, -1) : `"__root__":${valuesJson}`];
}
