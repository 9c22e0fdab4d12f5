/**
 * What runs of toy graphs say to their logs: LangGraph's own chunks through the converter, framed as attempts frame them,
 * without a gateway around.
 */
import { MemorySaver } from "@langchain/langgraph";
import { InMemoryStore } from "@langchain/langgraph-checkpoint";
import type { StreamEvent } from "../../src/bridge/bridge.js";
import { describeError } from "../../src/core/errors.js";
import { toJson } from "../../src/core/json.js";
import type { Interrupt, RunPayload, StreamMode } from "../../src/core/model.js";
import { createChunkConverter } from "../../src/graphs/chunks.js";
import { bindGraph, type CompiledGraph, toCompiledGraph } from "../../src/graphs/compiled-graph.js";
import type { GraphEvent } from "../../src/graphs/host.js";
import { streamGraph } from "../../src/graphs/inline-stream.js";
import { createMessageEnds } from "../../src/graphs/message-ends.js";
import type { ProjectedRun } from "../../src/protocol/projection.js";

export interface RecordedRun extends ProjectedRun {
  readonly log: readonly StreamEvent[];
  /** The questions that it ended with. */
  readonly questions: readonly Interrupt[];
}

/** One execution of a run. */
export interface RecordedClaim {
  readonly input: unknown;
  /** The ids of the questions that it answers. */
  readonly answers?: readonly string[];
  /** It dies, or is cancelled, behind the first event that matches. */
  readonly diesAt?: (event: GraphEvent) => boolean;
  readonly cancelledAt?: (event: GraphEvent) => boolean;
}

export interface RecorderOptions {
  readonly streamModes?: readonly StreamMode[];
  readonly subgraphs?: boolean;
  /** As for runs that the protocol starts unless told otherwise. */
  readonly eventStreaming?: boolean;
  readonly configurable?: object;
}

export interface ThreadRecorder {
  /** One more run of the thread, claim by claim. */
  run(...claims: readonly RecordedClaim[]): Promise<RecordedRun>;
}

const PROTOCOL_MODES: readonly StreamMode[] = ["values", "updates", "messages-tuple", "tools", "custom", "tasks"];

export function recordThread(
  value: unknown,
  { streamModes = PROTOCOL_MODES, subgraphs = true, eventStreaming = true, configurable }: RecorderOptions = {},
): ThreadRecorder {
  const compiled = toCompiledGraph(value);
  if (compiled === undefined) throw new Error("no graph");
  const graph = bindGraph(compiled, { checkpointer: new MemorySaver(), store: new InMemoryStore() });
  const config = { configurable: { ...configurable, thread_id: "t" } };
  // What of a payload is read when a graph streams.
  const payload = { streamModes, subgraphs, eventStreaming } as RunPayload;
  let [claimCount, runCount, clock] = [0, 0, 0];

  return {
    async run(...claims) {
      const runId = `run-${++runCount}`;
      const log: StreamEvent[] = [];
      let questions: readonly Interrupt[] = [];
      for (const [index, claim] of claims.entries()) {
        let seq = 0;
        const say = ({ event, namespace, data }: GraphEvent): void => {
          log.push({ id: { fence: index + 1, seq: ++seq }, event, namespace, data, at: ++clock });
        };
        const sayOf = (event: string, data: unknown): void => say({ event, namespace: [], data: toJson(data) });
        sayOf("metadata", { run_id: runId, attempt: index + 1, thread_id: "t" });
        if (claim.answers !== undefined) sayOf("#answered", claim.answers);
        const end = await drive({ graph, claim, payload, runId, config, say });
        if (end.kind === "dead") continue;
        questions = end.kind === "finished" ? await questionsOf(graph, config, claim.answers) : [];
        if (questions.length > 0) sayOf("#paused", questions);
        sayOf("__result__", {});
        if (end.kind === "failed") sayOf("error", describeError(end.error));
        else sayOf("end", { run_id: runId, status: end.kind === "finished" ? "success" : "interrupted" });
      }
      const firstClaim = claimCount + 1;
      claimCount += claims.length;
      return { runId, graphId: "graph", payload, firstClaim, log, questions };
    },
  };
}

type End = { readonly kind: "finished" | "dead" | "cancelled" } | { readonly kind: "failed"; readonly error: unknown };

async function drive({
  graph,
  claim,
  payload,
  runId,
  config,
  say,
}: {
  readonly graph: CompiledGraph;
  readonly claim: RecordedClaim;
  readonly payload: RunPayload;
  readonly runId: string;
  readonly config: { readonly configurable: object };
  readonly say: (event: GraphEvent) => void;
}): Promise<End> {
  const stop = new AbortController();
  const ends = createMessageEnds();
  const converter = createChunkConverter(payload, ends);
  const options = { ...config, signal: stop.signal, callbacks: [ends.handler], runId } as Parameters<
    typeof streamGraph
  >[2]; // `callbacks` as an execution gives them
  try {
    for await (const chunk of streamGraph(graph, claim.input, options, { runId, payload })) {
      for (const event of "event" in chunk ? [chunk] : converter.convert(chunk)) {
        say(event);
        const isDead = claim.diesAt?.(event) === true;
        if (!isDead && claim.cancelledAt?.(event) !== true) continue;
        stop.abort();
        return { kind: isDead ? "dead" : "cancelled" };
      }
    }
    return { kind: "finished" };
  } catch (error) {
    return { kind: "failed", error };
  }
}

/** LangGraph's state goes on to name questions that are answered. */
async function questionsOf(
  graph: CompiledGraph,
  config: object,
  answered: readonly string[] = [],
): Promise<readonly Interrupt[]> {
  const { tasks } = await graph.getState(config);
  const asked = tasks.flatMap((task) => task.interrupts) as readonly Interrupt[]; // as LangGraph writes them
  return asked.filter(({ id }) => !answered.includes(id));
}
