/** What runs may ask of LangSmith: to be traced in a project of their own, and addresses that take feedback on them. */
import { LangChainTracer } from "@langchain/core/tracers/tracer_langchain";
import { Client } from "langsmith";
import { withLimit } from "../core/async.js";
import type { Clock } from "../core/clock.js";
import { toJson } from "../core/json.js";
import type { Log } from "../core/log.js";
import type { LangsmithTracer, RunPayload } from "../core/model.js";

export interface LangsmithAccess {
  readonly apiKey: string;
  /** null: LangSmith's own. */
  readonly endpoint: string | null;
}

export interface Langsmith {
  /** To be asked when the run begins; undefined for a run that wants nothing of it. */
  ask(run: { readonly runId: string; readonly payload: RunPayload }): LangsmithRun | undefined;
}

export interface LangsmithRun {
  /** What LangChain is to call back; empty unless the run asks to be traced. */
  readonly callbacks: readonly LangChainTracer[];
  /** The data of the `feedback` event; undefined where none was asked for, or LangSmith does not answer. */
  readonly feedback: Promise<string | undefined>;
}

/** How long LangSmith may take. It is asked when a run begins, so that the run's end rarely waits. */
const ANSWER_MS = 5_000;

export function openLangsmith(
  { apiKey, endpoint }: LangsmithAccess,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Langsmith {
  const client = new Client({ apiKey, ...(endpoint === null ? {} : { apiUrl: endpoint }) });
  const error = new Error(`LangSmith did not answer within ${ANSWER_MS / 1_000} s`);

  async function feedbackFor(runId: string, keys: readonly string[]): Promise<string | undefined> {
    const urlOf = async (key: string) => [key, (await client.createPresignedFeedbackToken(runId, key)).url] as const;
    try {
      const urls = await withLimit(Promise.all(keys.map(urlOf)), { limitMs: ANSWER_MS, error, clock });
      return toJson(Object.fromEntries(urls));
    } catch (thrown) {
      log.warn({ err: thrown, runId }, "LangSmith gave no addresses for feedback");
      return undefined;
    }
  }

  function tracerFor({ projectName, exampleId }: LangsmithTracer): LangChainTracer {
    return new LangChainTracer({
      client,
      ...(projectName === null ? {} : { projectName }),
      ...(exampleId === null ? {} : { exampleId }),
    });
  }

  return {
    ask({ runId, payload: { langsmithTracer: tracer, feedbackKeys: keys } }) {
      if (tracer === undefined && keys === undefined) return undefined;
      return {
        callbacks: tracer === undefined ? [] : [tracerFor(tracer)],
        feedback: keys === undefined ? Promise.resolve(undefined) : feedbackFor(runId, keys),
      };
    },
  };
}
