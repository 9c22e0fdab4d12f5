/**
 * What one claim of a run writes to the run's log: `metadata` first, then what the graph says, then the result that
 * waiters get, and `end` or `error` last. The id of an event is its claim's fence and its place in that claim.
 */
import type { StreamBridge } from "../bridge/bridge.js";
import { toJson } from "../core/json.js";
import type { Run, RunError, RunStatus } from "../core/model.js";
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
}

/** Opens the log for the claim with this `fence`, and says which run it is. */
export async function openRunLog(bridge: StreamBridge, run: Run, fence: number): Promise<RunLog> {
  const { runId } = run;
  let seq = 0;

  function publish(event: string, namespace: readonly string[], data: string): void | Promise<void> {
    const accepted = bridge.publish(runId, { id: { fence, seq: ++seq }, event, namespace, data });
    if (typeof accepted !== "boolean") return accepted.then(() => {}); // a refused event is a zombie's: nobody misses it
  }

  await publish("metadata", [], metadataJson(run));
  return {
    publish,
    async end({ status, error, resultJson }) {
      await publish(RESULT_EVENT, [], resultJson);
      if (error !== null) await publish("error", [], toJson(error));
      else await publish("end", [], endJson(runId, status));
      await bridge.end(runId);
    },
  };
}

/** The data of the `metadata` event. */
export function metadataJson({ runId, attempt, threadId }: Run): string {
  return toJson({ run_id: runId, attempt, thread_id: threadId });
}

/** The data of the `end` event. */
export function endJson(runId: string, status: RunStatus | "rollback"): string {
  return toJson({ run_id: runId, status });
}
