/**
 * The answer to interrupts, always as a map of interrupt ids.
 *
 * A bare resume value would answer every question that is pending, and once more the next one when the thread is driven
 * again after a crash (docs/wire.md). And an answer by id answers that question only:
 * one that waits no more must not become the answer to the next.
 */
import { invalid } from "../core/errors.js";
import type { InterruptsByTask, Json, JsonObject, RunCommand } from "../core/model.js";

/**
 * Rewrites `command.resume` for the questions that are `pending`; with nothing pending there is nothing to answer and the
 * resume is left out. Throws `validation` naming the pending ids when several wait and the value is no map of them, or
 * when it answers a question by an id that does not wait.
 */
export function normaliseResume(command: RunCommand, pending: InterruptsByTask): RunCommand {
  if (command.resume === undefined || command.resume === null) return command;
  const { resume, ...others } = command;
  const ids = [...new Set(Object.values(pending).flatMap((interrupts) => interrupts.map(({ id }) => id)))];
  const [only] = ids;
  if (only === undefined) return others;
  if (answersById(resume, ids)) {
    const unknown = Object.keys(resume).filter((id) => !ids.includes(id));
    if (unknown.length === 0) return command;
    throw refusal(`"command.resume" answers ${unknown.join(", ")}, which the thread does not wait for`, ids);
  }
  if (ids.length === 1) return { ...others, resume: { [only]: resume } };
  throw refusal(`the thread waits for ${ids.length} answers`, ids);
}

function refusal(problem: string, ids: readonly string[]): Error {
  const howTo = `"command.resume" must be an object with one or more of the interrupt ids ${ids.join(", ")} as keys`;
  return invalid(`${problem}: ${howTo}`, { interrupt_ids: ids });
}

/** LangGraph's interrupt ids: 128 bits in hexadecimal. */
const INTERRUPT_ID = /^[0-9a-f]{32}$/;

/** An object that names a question that waits, or has nothing but interrupt ids for keys; else it is itself the answer. */
function answersById(value: Json, ids: readonly string[]): value is JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const keys = Object.keys(value);
  return keys.some((key) => ids.includes(key)) || (keys.length > 0 && keys.every((key) => INTERRUPT_ID.test(key)));
}
