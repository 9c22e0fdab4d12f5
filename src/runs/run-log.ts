/**
 * What one claim of a run writes to the run's log: `metadata` first, then what the graph says, then the result that
 * waiters get, and `end` or `error` last. The id of an event is its claim's fence and its place in that claim.
 */
import type { StreamBridge, StreamEvent } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { toJson } from "../core/json.js";
import type { Interrupt, JsonObject, Run, RunError, RunStatus } from "../core/model.js";
import { keepsNothing, type LedgerWriter } from "./ledger-writer.js";
import { RESULT_EVENT } from "./result.js";

export interface RunLog {
  /** Waits only for a bridge that sets the pace: the memory bridge takes events at once. */
  publish(event: string, namespace: readonly string[], data: string): void | Promise<void>;
  /** The last words. Nothing may be published afterwards. */
  end(ending: LogEnding): Promise<void>;
}

export interface LogEnding {
  readonly status: Exclude<RunStatus, "pending" | "running"> | "rollback";
  readonly error: RunError | null;
  /** The JSON that waiters get. */
  readonly resultJson: string;
  /** Where the graph paused: the questions that the thread waits with, none of them at a breakpoint. */
  readonly paused: readonly Interrupt[] | null;
}

/** What event streaming is told besides what the graph says; its data are the ids of the questions that were answered. */
export const ANSWERED_EVENT = "#answered";
/** What tells who may read the log when the run's row is gone: the run's metadata. */
export const ACCESS_EVENT = "#access";
/** The graph paused; its data are the questions that the thread waits with. */
const PAUSED_EVENT = "#paused";

export interface RunLogDeps {
  readonly bridge: StreamBridge;
  readonly ledgerWriter: LedgerWriter;
  readonly clock: Clock;
}

type LoggedRun = Pick<Run, "runId" | "attempt" | "threadId"> & {
  readonly payload: Pick<Run["payload"], "temporary" | "user">;
  /** Absent of a run that never ran: when its row is gone, only who sees everything reads its log. */
  readonly metadata?: JsonObject;
};

/** Opens the log for the claim with this `fence`, and says which run it is. */
export async function openRunLog(deps: RunLogDeps, run: LoggedRun, fence: number): Promise<RunLog> {
  const { bridge, clock } = deps;
  const { runId } = run;
  // Nothing stays of a run whose thread was made for it: the memory log is all that its readers need.
  const ledgerWriter = run.payload.temporary ? keepsNothing : deps.ledgerWriter;
  let seq = 0;

  function publish(event: string, namespace: readonly string[], data: string): void | Promise<void> {
    const said = { id: { fence, seq: ++seq }, event, namespace, data, at: clock.now() };
    // What is refused is a zombie's: nobody misses it.
    const note = (accepted: boolean): void => {
      if (accepted) ledgerWriter.append(runId, said);
    };
    const accepted = bridge.publish(runId, said);
    return typeof accepted === "boolean" ? note(accepted) : accepted.then(note);
  }

  await publish("metadata", [], metadataJson(run));
  if (run.payload.user !== undefined) await publish(ACCESS_EVENT, [], toJson(run.metadata ?? {}));
  return {
    publish,
    async end({ status, error, resultJson, paused }) {
      if (paused !== null) await publish(PAUSED_EVENT, [], toJson(paused));
      await publish(RESULT_EVENT, [], resultJson);
      if (error !== null) await publish("error", [], toJson(error));
      else await publish("end", [], endJson(runId, status));
      await bridge.end(runId);
      ledgerWriter.end(runId);
    },
  };
}

/** Whether it is the run's last word. */
export function isLastEvent({ event, namespace }: Pick<StreamEvent, "event" | "namespace">): boolean {
  return (event === "end" || event === "error") && namespace.length === 0;
}

/** The data of the `metadata` event. */
export function metadataJson({ runId, attempt, threadId }: LoggedRun): string {
  return toJson({ run_id: runId, attempt, thread_id: threadId });
}

/** The data of the `end` event. */
export function endJson(runId: string, status: RunStatus | "rollback"): string {
  return toJson({ run_id: runId, status });
}
