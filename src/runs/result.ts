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
  const shown = shownValues(valuesJson ?? "null");
  if (asked.length === 0) return shown;
  const separator = shown === "{}" ? "" : ",";
  return `${shown.slice(0, -1)}${separator}"__interrupt__":${toJson(asked)}}`;
}

/** A state that is an object as it is, never copied; one that is none is shown under LangGraph's name for it. */
function shownValues(valuesJson: string): string {
  if (valuesJson === "null") return "{}";
  return valuesJson.startsWith("{") ? valuesJson : `{"__root__":${valuesJson}}`;
}
