/**
 * What a graph is driven with when its run is claimed (docs/wire.md).
 *
 * Nothing of this run was persisted: the original input or command. Otherwise: nothing at all, so that it goes on from the
 * thread's head, after dropping the thread-wide answer of a command whose answer a task has taken already.
 */
import type { InterruptsByTask, Run } from "../core/model.js";
import type { GraphInput } from "../graphs/host.js";
import type { Checkpoints } from "../storage/storage.js";
import { normaliseResume } from "./resume.js";

/** Throws `validation` for a command that cannot be matched to what is pending now. */
export function graphInputOf(run: Run, pending: InterruptsByTask, checkpoints: Checkpoints): GraphInput {
  const claimedBefore = run.fence > 1; // the first claim cannot have left anything behind
  if (claimedBefore && checkpoints.hasRun(run.threadId, run.runId)) {
    checkpoints.dropTakenResume(run.threadId);
    return { kind: "continue" };
  }
  if (run.payload.command === null) return { kind: "input", value: run.payload.input };
  const command = normaliseResume(run.payload.command, pending);
  // A resume that found nothing to answer leaves nothing of the command.
  if (Object.keys(command).length === 0) return { kind: "input", value: run.payload.input };
  return { kind: "command", command };
}
