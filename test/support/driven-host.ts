/**
 * A graph host without graphs: every execution does one superstep whenever its test says so, on real checkpoints.
 *
 * The state of a thread is a log of texts, a question that waits, and whether there is more to do. A run adds its input to
 * the log, or the answer that it brings; then it waits for instructions. It goes on from the head when it is to continue.
 */
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { hostKit } from "../../src/core/kit.js";
import type { Interrupt, Json, JsonObject, StateTask, ThreadProjection } from "../../src/core/model.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent, GraphHost, StateRef } from "../../src/graphs/host.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import type { Approval, Execution } from "./history-data.js";

export type Instruction =
  /** An event, nothing more. */
  | { readonly kind: "say"; readonly text: string }
  | { readonly kind: "step"; readonly text: string }
  /** Adds the text, ends. */
  | { readonly kind: "end"; readonly text: string }
  /** Asks, which pauses the graph. */
  | { readonly kind: "ask"; readonly text: string }
  | { readonly kind: "fail"; readonly text: string };

/** What a process leaves behind when it dies. */
export interface DrivenRecords {
  readonly executions: Execution[];
  readonly approvals: Approval[];
}

export interface DrivenHost extends GraphHost {
  /** The runs that wait for an instruction. */
  waiting(): readonly string[];
  instruct(runId: string, instruction: Instruction): void;
}

interface State {
  readonly log: readonly string[];
  readonly asked: { readonly id: string; readonly question: string } | null;
  readonly open: boolean;
}

interface Head {
  readonly state: State;
  readonly checkpointId: string;
  readonly version: number;
}

const GRAPH_ID = "g1";

export function createDrivenHost(checkpoints: Checkpoints, records: DrivenRecords): DrivenHost {
  const inboxes = new Map<string, (instruction: Instruction | "aborted") => void>();

  async function headOf(threadId: string): Promise<Head | undefined> {
    const tuple = await checkpoints.saver(hostKit).getTuple({ configurable: { thread_id: threadId } });
    if (tuple === undefined) return undefined;
    return {
      state: tuple.checkpoint.channel_values.state as State, // `put` wrote it
      checkpointId: tuple.checkpoint.id,
      version: Number(tuple.checkpoint.channel_versions.state),
    };
  }

  async function put(saver: ReturnType<Checkpoints["saver"]>, threadId: string, state: State): Promise<State> {
    const head = await headOf(threadId);
    const version = (head?.version ?? 0) + 1;
    await saver.put(
      { configurable: { thread_id: threadId, checkpoint_ns: "", ...(head && { checkpoint_id: head.checkpointId }) } },
      {
        ...emptyCheckpoint(),
        id: uuid6(version),
        channel_values: { state },
        channel_versions: { state: version },
      },
      { source: "loop", step: version, parents: {} },
      { state: version },
    );
    return state;
  }

  async function* drive(
    request: ExecuteRequest,
    signal: AbortSignal,
    save: (state: State) => Promise<State>,
  ): AsyncGenerator<GraphEvent, ExecuteResult> {
    const { runId, threadId } = request;
    const next = openInbox(runId, signal);
    let state = await begin(request, (await headOf(threadId))?.state, save);
    if (state === undefined) return failed("EmptyInput", null);
    if (signal.aborted) return { kind: "aborted", projection: projectionOf(state) };
    records.executions.push({ runId });
    yield valuesOf(state);
    while (state.open && state.asked === null) {
      const instruction = await next();
      if (instruction === "aborted") return { kind: "aborted", projection: projectionOf(state) };
      const { kind, text } = instruction;
      if (kind === "fail") return failed(text, projectionOf(state));
      if (kind === "say") {
        yield { event: "custom", namespace: [], data: JSON.stringify(text) };
        continue;
      }
      const asked = kind === "ask" ? { id: interruptId(text), question: text } : null;
      state = await save({ log: [...state.log, text], asked, open: kind !== "end" });
      yield valuesOf(state);
    }
    return { kind: "finished", projection: projectionOf(state) };
  }

  /** The state that the run begins with; undefined when there is neither a state nor an input. */
  async function begin(
    { threadId, input }: ExecuteRequest,
    head: State | undefined,
    save: (state: State) => Promise<State>,
  ): Promise<State | undefined> {
    const log = head?.log ?? [];
    if (input.kind === "input" && input.value !== null) {
      return save({ log: [...log, String(input.value)], asked: null, open: true });
    }
    if (input.kind !== "command" || head?.asked == null) return head;
    const answer = (input.command.resume as JsonObject)[head.asked.id]; // always a map when it comes here
    if (answer === undefined) return head;
    records.approvals.push({ threadId, question: head.asked.question, answer });
    return save({ log: [...log, String(answer)], asked: null, open: true });
  }

  function openInbox(runId: string, signal: AbortSignal): () => Promise<Instruction | "aborted"> {
    const items: (Instruction | "aborted")[] = [];
    let wake = (): void => {};
    const push = (item: Instruction | "aborted"): void => {
      items.push(item);
      wake();
    };
    inboxes.set(runId, push);
    signal.addEventListener("abort", () => push("aborted"));
    return async () => {
      for (;;) {
        const item = items.shift();
        if (item !== undefined) return item;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
  }

  const unused = (): never => {
    throw new Error("not part of this test");
  };

  return {
    waiting: () => [...inboxes.keys()],
    instruct(runId, instruction) {
      const push = inboxes.get(runId);
      if (push === undefined) throw new Error(`run ${runId} is not executing`);
      push(instruction);
    },

    async *execute(request, signal) {
      const { saver, close } = checkpoints.forRun(request, hostKit);
      try {
        if (signal.aborted) {
          const head = await headOf(request.threadId);
          return { kind: "aborted", projection: head === undefined ? null : projectionOf(head.state) };
        }
        return yield* drive(request, signal, (state) => put(saver, request.threadId, state));
      } finally {
        inboxes.delete(request.runId);
        close();
      }
    },

    async getState({ threadId }: StateRef) {
      const head = await headOf(threadId);
      const asked = head === undefined ? [] : interruptsOf(head.state);
      return {
        values: { log: head?.state.log ?? [] },
        next: nextOf(head?.state),
        tasks: asked.length === 0 ? [] : [taskOf(asked)],
        checkpoint: head === undefined ? null : { checkpoint_id: head.checkpointId },
        metadata: {},
        createdAt: null,
        parentCheckpoint: null,
        interrupts: asked,
      };
    },

    async updateState({ threadId }, supersteps) {
      const texts = supersteps.flat().map(({ values }) => String((values as { readonly log: Json }).log));
      const log = (await headOf(threadId))?.state.log ?? [];
      const state = await put(checkpoints.saver(hostKit), threadId, {
        log: [...log, ...texts],
        asked: null,
        open: false,
      });
      return { checkpoint: {}, projection: projectionOf(state) };
    },

    graphs: () => [
      {
        graphId: GRAPH_ID,
        description: null,
        config: {},
        context: null,
        checkpointer: "injected",
        store: "injected",
        hasBreakpoints: false,
      },
    ],
    isAnswering: () => true,
    getHistory: unused,
    schemas: unused,
    drawing: unused,
    subgraphs: unused,
    embed: unused,
    async close() {},
  };
}

function projectionOf(state: State): ThreadProjection {
  const interrupts = interruptsOf(state);
  return {
    valuesJson: JSON.stringify({ log: state.log }),
    interrupts: interrupts.length === 0 ? {} : { [TASK_ID]: interrupts },
    next: nextOf(state),
  };
}

const TASK_ID = "task";

function interruptsOf({ asked }: State): readonly Interrupt[] {
  return asked === null ? [] : [{ id: asked.id, value: asked.question }];
}

function taskOf(interrupts: readonly Interrupt[]): StateTask {
  return { id: TASK_ID, name: "ask", path: [], error: null, interrupts, checkpoint: null, state: null, result: null };
}

function nextOf(state: State | undefined): string[] {
  if (state?.open !== true) return [];
  return [state.asked === null ? "work" : "ask"];
}

function valuesOf({ log }: State): GraphEvent {
  return { event: "values", namespace: [], data: JSON.stringify({ log }) };
}

function failed(message: string, projection: ThreadProjection | null): ExecuteResult {
  return { kind: "failed", error: { error: "Error", message }, projection };
}

/** As LangGraph's: 128 bits in hexadecimal. */
function interruptId(question: string): string {
  return Buffer.from(question).toString("hex").padEnd(32, "0").slice(0, 32);
}
