/**
 * The answer to interrupts, always as a map of interrupt ids.
 *
 * A bare resume value would answer every question that is pending, and once more the next one when the thread is driven
 * again after a crash (clients.md, "Resuming is where answers get lost").
 */
import { invalid } from "../core/errors.js";
import type { InterruptsByTask, Json, JsonObject, RunCommand } from "../core/model.js";

/**
 * Rewrites `command.resume` for the questions that are `pending`; with nothing pending there is nothing to answer and the
 * resume is left out. Throws `validation` naming the pending ids when several wait and the value is no map of them.
 */
export function normaliseResume(command: RunCommand, pending: InterruptsByTask): RunCommand {
  if (command.resume === undefined || command.resume === null) return command;
  const { resume, ...others } = command;
  const ids = [...new Set(Object.values(pending).flatMap((interrupts) => interrupts.map(({ id }) => id)))];
  const [only] = ids;
  if (only === undefined) return others;
  if (isMapOf(resume, ids)) return command;
  if (ids.length === 1) return { ...others, resume: { [only]: resume } };
  throw invalid(
    `the thread waits for ${ids.length} answers: "command.resume" must be an object with one or more of the interrupt ids ${ids.join(", ")} as keys`,
    { interrupt_ids: ids },
  );
}

function isMapOf(value: Json, ids: readonly string[]): value is JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => ids.includes(key));
}
