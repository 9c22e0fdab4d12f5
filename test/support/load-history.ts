/** What a load of `crash-load.ts` on the graphs of `chaos-graphs.ts` must have left, for `checkHistory`. */
import type { Json } from "../../src/core/model.js";
import { stepsOf } from "./chaos-graphs.js";
import type { LoadLog } from "./crash-load.js";
import type { ExpectedState, History } from "./history-data.js";

/** `left`: what is in the databases, and what was done to the gateways. */
export function historyOfLoad(
  log: LoadLog,
  left: Required<Pick<History, "audit" | "dump" | "faults" | "recoveryMs">>,
): History {
  const { dump } = left;
  const threads = new Map(dump?.threads.map((thread) => [thread.threadId, thread]));
  const expected = [...log.calm].flatMap((threadId): ExpectedState[] => {
    const runs = dump?.runs.filter((run) => run.threadId === threadId) ?? [];
    const marks = runs.map(({ metadata }) => String(metadata.request));
    return marks.length === 0
      ? []
      : [{ threadId, values: { mark: marks.at(-1) ?? "", steps: marks.flatMap(stepsOf) } }];
  });
  const approvals = [...log.questions].flatMap(([threadId, question]) => {
    const { answers = [] } = (threads.get(threadId)?.values ?? {}) as { readonly answers?: readonly Json[] };
    return answers.map((answer) => ({ threadId, question, answer }));
  });
  return { calls: log.calls, readers: log.connections, approvals, expected, clock: "system", ...left };
}

/**
 * Metadata that is older than what was acknowledged, or newer than what anybody asked for. What was never answered may have
 * been done at any time.
 */
export function patchesLost(log: LoadLog, { dump }: History): readonly string[] {
  const found = new Map(dump?.threads.map(({ threadId, metadata }) => [threadId, Number(metadata.n)]));
  return [...log.patched].flatMap(([threadId, { acknowledged, asked, unsure }]) => {
    const n = found.get(threadId) ?? -1;
    return (n >= acknowledged && n <= asked) || unsure.includes(n)
      ? []
      : [`thread ${threadId}: n is ${n}, not in ${acknowledged}..${asked}`];
  });
}
