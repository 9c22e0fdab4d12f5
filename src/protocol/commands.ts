/**
 * The commands of the event-streaming protocol, carried out through the services that REST uses.
 *
 * 1. Input for a thread that waits for exactly one answer is that answer, unless it starts from another checkpoint. A thread
 *    that was stopped waits for none: its input begins a run.
 * 2. An answer may come before the run that asked has ended: the end is waited for.
 * 3. The barrier that comes with an answer is what had been said before the command took effect.
 */
import type { Caller, PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError, notFound } from "../core/errors.js";
import { type InterruptsByTask, isInFlight, type Json, type JsonObject, type Run, type Thread } from "../core/model.js";
import type { RunRequest } from "../runs/draft.js";
import type { RunManagers } from "../runs/manager.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import type { ThreadStateServices } from "../threads/state.js";
import { CommandError, isMissingThread } from "./command-error.js";
import type { GraphLife } from "./lifecycle.js";
import type { ThreadLog } from "./thread-log.js";

/** What a run is asked for beyond what it is to do. */
export type RunOptions = Omit<RunRequest, "assistantId" | "input" | "command">;

export interface InterruptAnswer {
  readonly interruptId: string;
  readonly response: Json;
}

export type Command =
  | { readonly method: "run.start"; readonly assistantId: string; readonly input: Json; readonly options: RunOptions }
  | {
      readonly method: "input.respond";
      readonly answers: readonly InterruptAnswer[];
      readonly update: Json | undefined;
      readonly goto: Json | undefined;
      readonly options: RunOptions;
    }
  | {
      readonly method: "state.get";
      readonly namespace: readonly string[];
      readonly keys: readonly string[] | undefined;
    }
  | {
      readonly method: "state.listCheckpoints";
      readonly namespace: readonly string[];
      readonly limit: number;
      readonly before: string | null;
    }
  | { readonly method: "state.fork"; readonly checkpointId: string; readonly input: Json; readonly options: RunOptions }
  | { readonly method: "agent.getTree"; readonly runId: string | undefined };

export interface CommandResult {
  readonly result: JsonObject;
  /** Everything with a `seq` up to this was said before the command took effect. */
  readonly appliedThroughSeq: number;
}

export interface ProtocolCommands {
  /** Throws `CommandError` for what clients are told in an error envelope, `GatewayError` for what HTTP tells. */
  execute(threadId: string, command: Command, signal: AbortSignal): Promise<CommandResult>;
}

export interface ProtocolCommandsDeps {
  readonly manager: RunManagers;
  readonly threads: Pick<ThreadStore, "within">;
  readonly state: ThreadStateServices;
  readonly threadLog: ThreadLog;
  readonly clock: Clock;
}

/** What states a list of checkpoints is made from, which tells nothing of their values; a longer list is cut short. */
const MAX_LISTED_BYTES = 64 * 1_024 * 1_024;

/** The newest run of a thread, without what it was asked to do. */
const NEWEST = { limit: 1, offset: 0, maxBytes: 0, withPayload: false } as const;

/** How long an answer waits for the run that asked to end (2). */
const ASKING_MS = 10_000;

export function createProtocolCommands(deps: ProtocolCommandsDeps): PerCaller<ProtocolCommands> {
  return { as: (caller) => commandsOf(deps, caller) };
}

function commandsOf(deps: ProtocolCommandsDeps, caller: Caller): ProtocolCommands {
  const { threadLog, clock } = deps;
  const manager = deps.manager.as(caller);
  const state = deps.state.as(caller);

  async function findThread(threadId: string): Promise<Thread | undefined> {
    const { scope } = await caller.authorize("threads:read", { thread_id: threadId });
    return deps.threads.within(scope).get(threadId);
  }

  async function start(threadId: string, request: RunRequest): Promise<CommandResult> {
    const appliedThroughSeq = await threadLog.end(threadId); // 3
    const { runId } = await manager.create(threadId, request);
    return { result: { run_id: runId }, appliedThroughSeq };
  }

  async function startRun(
    threadId: string,
    { assistantId, input, options }: Extract<Command, { method: "run.start" }>,
  ): Promise<CommandResult> {
    const request = { ...options, assistantId, input, command: null };
    const isNew = options.checkpoint !== null || input === null;
    const pending = isNew ? [] : await waitingFor(threadId);
    if (pending.length === 0) return start(threadId, request);
    const [only] = pending;
    if (only === undefined || pending.length > 1) {
      throw new CommandError("invalid_argument", `the thread waits for ${pending.length} answers: use input.respond`);
    }
    return start(threadId, { ...request, input: null, command: { resume: { [only]: input } } }); // 1
  }

  /** The ids of the questions that input may answer. */
  async function waitingFor(threadId: string): Promise<readonly string[]> {
    const thread = await findThread(threadId);
    if (thread === undefined || (await manager.active(threadId)) !== undefined) return [];
    const [newest] = (await manager.list(threadId, NEWEST)).rows;
    return newest?.status === "interrupted" ? [] : idsOf(thread.interrupts); // 1
  }

  async function requireThread(threadId: string): Promise<Thread> {
    const thread = await findThread(threadId);
    if (thread === undefined) throw notFound("thread", threadId);
    return thread;
  }

  async function respond(
    threadId: string,
    command: Extract<Command, { method: "input.respond" }>,
    signal: AbortSignal,
  ): Promise<CommandResult> {
    await untilFree(threadId, signal);
    const thread = await requireThread(threadId);
    const pending = idsOf(thread.interrupts);
    if (pending.length === 0) throw new CommandError("no_such_run", "no run of this thread waits for an answer");
    const unknown = command.answers.filter(({ interruptId }) => !pending.includes(interruptId));
    if (unknown.length > 0) {
      const ids = unknown.map(({ interruptId }) => interruptId).join(", ");
      throw new CommandError("no_such_interrupt", `the thread does not wait for ${ids}, but for ${pending.join(", ")}`);
    }
    const { assistant_id: assistantId } = thread.metadata;
    if (typeof assistantId !== "string") {
      throw new CommandError("no_such_run", "the thread does not say whose questions it waits with");
    }
    const resume = Object.fromEntries(command.answers.map(({ interruptId, response }) => [interruptId, response]));
    return start(threadId, {
      ...command.options,
      assistantId,
      input: null,
      command: {
        resume,
        ...(command.update === undefined ? {} : { update: command.update }),
        ...(command.goto === undefined ? {} : { goto: command.goto }),
      },
    });
  }

  /** 2 */
  async function untilFree(threadId: string, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const passOn = (): void => stop.abort();
    signal.addEventListener("abort", passOn);
    const forget = clock.after(ASKING_MS, passOn);
    try {
      for (let run = await manager.active(threadId); run !== undefined; run = await manager.active(threadId)) {
        await manager.ended(run.runId, stop.signal);
        if (stop.signal.aborted)
          throw new CommandError("invalid_argument", "a run is in flight: the thread waits for no answer");
      }
    } finally {
      forget();
      signal.removeEventListener("abort", passOn);
    }
  }

  async function fork(
    threadId: string,
    { checkpointId, input, options }: Extract<Command, { method: "state.fork" }>,
  ): Promise<CommandResult> {
    const { metadata } = await requireThread(threadId);
    const { assistant_id: assistantId } = metadata;
    if (typeof assistantId !== "string")
      throw new CommandError("no_such_checkpoint", "no graph has run on this thread");
    const checkpoint = { checkpointNs: "", checkpointId };
    const request = { ...options, assistantId, input, command: null, checkpoint };
    const { result, appliedThroughSeq } = await start(threadId, request).catch(toldAs("no_such_checkpoint"));
    return { result: { ...result, thread_id: threadId }, appliedThroughSeq };
  }

  async function getState(
    threadId: string,
    { namespace, keys }: Extract<Command, { method: "state.get" }>,
  ): Promise<JsonObject> {
    const checkpointNs = namespace.join("|");
    const { values, checkpoint } = await state
      .get(threadId, namespace.length === 0 ? null : { checkpointNs }, { subgraphs: false })
      .catch(toldAs("no_such_namespace"));
    const isThere = typeof checkpoint === "object" && checkpoint !== null && "checkpoint_id" in checkpoint;
    if (!isThere && namespace.length > 0)
      throw new CommandError("no_such_namespace", `nothing is stored of ${checkpointNs}`);
    const shown = { values: chosen(values, keys) };
    return isThere ? { ...shown, checkpoint: { id: checkpoint.checkpoint_id ?? null, ns: checkpointNs } } : shown;
  }

  async function listCheckpoints(
    threadId: string,
    { namespace, limit, before }: Extract<Command, { method: "state.listCheckpoints" }>,
  ): Promise<JsonObject> {
    const place = namespace.length === 0 ? null : { checkpointNs: namespace.join("|") };
    const { states } = await state.history(threadId, place, {
      limit,
      before,
      metadata: {},
      maxBytes: MAX_LISTED_BYTES,
    });
    const checkpoints = states.map(({ checkpoint, createdAt, metadata, tasks }) => ({
      id: (checkpoint as { readonly checkpoint_id: string }).checkpoint_id, // states of a history are persisted
      timestamp: createdAt,
      step: metadata.step ?? -1,
      ...(tasks[0] === undefined ? {} : { node_name: tasks[0].name }),
      metadata,
    }));
    return { checkpoints };
  }

  async function getTree(threadId: string, runId: string | undefined): Promise<JsonObject> {
    await requireThread(threadId);
    const run =
      runId === undefined ? await newestRun(threadId) : await manager.get(threadId, runId).catch(toldAs("no_such_run"));
    const [root, ...others] = await threadLog.tree(run);
    const status = isInFlight(run.status) ? "started" : "completed"; // of a run that nothing is kept of
    return { tree: treeOf(root ?? { namespace: [], graphName: run.graphId, status }, others) };
  }

  async function newestRun(threadId: string): Promise<Run> {
    const [run] = (await manager.list(threadId, NEWEST)).rows;
    if (run === undefined) throw new CommandError("no_such_run", "nothing has run on this thread");
    return manager.get(threadId, run.runId);
  }

  return {
    async execute(threadId, command, signal) {
      const read = async (result: Promise<JsonObject>): Promise<CommandResult> => {
        return { result: await result, appliedThroughSeq: await threadLog.end(threadId) };
      };
      switch (command.method) {
        case "run.start":
          return startRun(threadId, command);
        case "input.respond":
          return respond(threadId, command, signal);
        case "state.fork":
          return fork(threadId, command);
        case "state.get":
          return read(getState(threadId, command));
        case "state.listCheckpoints":
          return read(listCheckpoints(threadId, command));
        case "agent.getTree":
          return read(getTree(threadId, command.runId));
      }
    },
  };
}

function idsOf(interrupts: InterruptsByTask): readonly string[] {
  return [...new Set(Object.values(interrupts).flatMap((asked) => asked.map(({ id }) => id)))];
}

/** What is missing is told in the protocol's words; anything else stays what it is. */
function toldAs(code: CommandError["code"]): (error: unknown) => never {
  return (error) => {
    if (error instanceof GatewayError && error.code === "not_found" && !isMissingThread(error)) {
      throw new CommandError(code, error.message);
    }
    throw error;
  };
}

function chosen(values: Json, keys: readonly string[] | undefined): Json {
  if (keys === undefined || typeof values !== "object" || values === null || Array.isArray(values)) return values;
  return Object.fromEntries(Object.entries(values).filter(([key]) => keys.includes(key)));
}

function treeOf(life: GraphLife, others: readonly GraphLife[]): JsonObject {
  const { namespace, graphName, status } = life;
  const children = others.filter(
    (other) =>
      other.namespace.length === namespace.length + 1 &&
      namespace.every((part, index) => other.namespace[index] === part),
  );
  const node = { namespace, graph_name: graphName, status };
  return children.length === 0 ? node : { ...node, children: children.map((child) => treeOf(child, others)) };
}
