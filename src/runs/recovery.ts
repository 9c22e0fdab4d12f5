/**
 * What a graph is driven with when its run is claimed (docs/wire.md).
 *
 * 1. Nothing was done yet: the original input or command, from the checkpoint that the run was asked to start from. What
 *    the command itself left goes first: it may be half a command. A run starts over, too, on a thread whose subgraphs
 *    remember from call to call: when LangGraph goes on, it takes what they remember for the call that was interrupted.
 * 2. Still in the superstep in which the run began: the thread's head, with the answers that no task has taken. An answer
 *    that was taken is stored with its task; given again, it would answer that task's next question.
 * 3. Later: the thread's head, which is the run's own.
 *
 * LangGraph lets a graph that goes on pass its breakpoints. So a checkpoint that nothing was built upon is made again: at
 * the breakpoint where the run stopped before its end was written down, it stops again.
 */
import type { InterruptsByTask, Json, JsonObject, Run } from "../core/model.js";
import type { GraphInput } from "../graphs/host.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import { normaliseResume } from "./resume.js";

export interface RecoveryContext {
  /** What the thread waits for, as the end of the run before left it. */
  readonly pending: InterruptsByTask;
  readonly checkpoints: Pick<Checkpoints, "leftBy" | "stepBack" | "deleteRun">;
  /** Whether the graph was compiled to stop before or after nodes. */
  readonly hasBreakpoints: boolean;
}

/** Rejects with `validation` for a command that cannot be matched to what is pending now. */
export async function graphInputOf(
  run: Run,
  { pending, checkpoints, hasBreakpoints }: RecoveryContext,
): Promise<GraphInput> {
  const { threadId, runId, payload } = run;
  const original = originalInput(run, pending);
  if (run.fence <= 1) return original; // the first claim cannot have left anything behind
  const stops = hasBreakpoints || payload.interruptBefore !== null || payload.interruptAfter !== null;
  await checkpoints.stepBack(run, { root: stops });
  const left = await checkpoints.leftBy(threadId, runId);
  const isEarly = !left.checkpoint && (!left.work || payload.durability === "exit");
  if (isEarly || left.memory) {
    await checkpoints.deleteRun(run); // 1
    return original;
  }
  const resume = left.checkpoint || original.kind !== "command" ? {} : untaken(original.command.resume, left.taken);
  return Object.keys(resume).length === 0 ? { kind: "continue" } : { kind: "continue", resume }; // 3, 2
}

function originalInput({ payload }: Run, pending: InterruptsByTask): GraphInput {
  if (payload.command === null) return { kind: "input", value: payload.input };
  const command = normaliseResume(payload.command, pending);
  // A resume that found nothing to answer leaves nothing of the command.
  if (Object.keys(command).length === 0) return { kind: "input", value: payload.input };
  return { kind: "command", command };
}

function untaken(resume: Json | undefined, taken: readonly string[]): JsonObject {
  if (typeof resume !== "object" || resume === null) return {};
  return Object.fromEntries(Object.entries(resume).filter(([id]) => !taken.includes(id)));
}
