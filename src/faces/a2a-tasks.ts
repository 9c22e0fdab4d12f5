/**
 * A2A's tasks on heddle's runs.
 *
 * 1. A context is a thread. A task is the run that began it, and every run that went on with it: those say so in their
 *    metadata. So a task has one id for ever, and what a restart finds is all there is to know.
 * 2. A question of the graph makes the task `input-required`; its answer is a message to the same task.
 * 3. Tasks are never tied to a connection: who leaves asks again, or subscribes.
 */
import { createHash } from "node:crypto";
import { GatewayError } from "../core/errors.js";
import { newId } from "../core/ids.js";
import { type Assistant, isInFlight, type Json, type Run } from "../core/model.js";
import { parseObject } from "../protocol/json-object.js";
import type { RunManager } from "../runs/manager.js";
import type { ThreadService } from "../threads/threads.js";
import { A2A_ERRORS } from "./a2a-errors.js";
import { inputOf } from "./a2a-input.js";
import { answersOf, type Part, type SentMessage, shownMessages, wordsOf } from "./a2a-message.js";
import { FIRST_MESSAGE, type FoundTask, type ListedRun, TASK, type TaskIds, tasksIn } from "./a2a-runs.js";
import { answerParts, dataOf, stateOfRun, statusAfter, type Task, type TaskEvent } from "./a2a-task.js";
import { invalidParams, RpcError } from "./json-rpc.js";
import { messageIds, messagesIn } from "./message-text.js";
import { followAnswer, HEARD_MODES, type Heard, type RunResultView, readAnswer, viewOfResult } from "./run-answer.js";
import { type RequestHeaders, runRequest } from "./run-request.js";
import type { TakesMessages } from "./takes-messages.js";

export interface History {
  /** How many messages, the newest. */
  readonly length: number;
  /** Those of the whole context, or of the task alone. */
  readonly scope: "context" | "task";
}

/** A task that a message began or went on with. */
export interface StartedTask {
  readonly ids: TaskIds;
  readonly run: Run;
  readonly heard: Heard;
}

export interface ListedTask {
  readonly taskId: string;
  show(history: History): Promise<Task>;
}

/** The services as the client. */
export interface A2aTasksDeps {
  readonly manager: Pick<RunManager, "create" | "get" | "list" | "read" | "readingOf" | "cancel" | "ended">;
  readonly threads: Pick<ThreadService, "require">;
  readonly takesMessages: TakesMessages;
  readonly now: () => number;
}

export type A2aTasks = ReturnType<typeof createA2aTasks>;

const NEVER = new AbortController().signal;

export function createA2aTasks({ manager, threads, takesMessages, now }: A2aTasksDeps) {
  async function find(assistant: Assistant, taskId: string, contextId: string | undefined): Promise<FoundTask> {
    const first = await manager.get(contextId ?? null, taskId).catch((error: unknown) => {
      if (error instanceof GatewayError && error.code === "not_found") throw taskNotFound(taskId);
      throw error;
    });
    const isTask = first.assistantId === assistant.assistantId && first.metadata[TASK] === undefined;
    const found = isTask ? tasksIn(await runsOf(first.threadId)).find((task) => task.taskId === taskId) : undefined;
    if (found === undefined) throw taskNotFound(taskId);
    return found;
  }

  /** All runs of a thread, the newest first. */
  async function runsOf(threadId: string): Promise<readonly ListedRun[]> {
    const runs: ListedRun[] = [];
    for (;;) {
      const page = { limit: 100, offset: runs.length, maxBytes: Number.POSITIVE_INFINITY, withPayload: false };
      const { rows, total } = await manager.list(threadId, page);
      runs.push(...rows);
      if (rows.length === 0 || runs.length >= total) return runs;
    }
  }

  async function show(task: FoundTask, history: History): Promise<Task> {
    const { taskId, contextId, newest } = task;
    const shown = { taskId, contextId, history: await historyOf(task, history) };
    if (isInFlight(newest.status)) {
      return { ...shown, answer: [], status: { state: stateOfRun(newest.status), at: newest.updatedAt, says: [] } };
    }
    const view = await resultOf(task);
    return { ...shown, answer: answerParts(view), status: statusAfter(view, newest.updatedAt) };
  }

  async function resultOf({ contextId, newest, isLatest }: FoundTask): Promise<RunResultView> {
    const reading = await manager.read(contextId, newest.runId);
    const view = viewOfResult((await reading.result(NEVER)) ?? "{}", newest.status);
    return view.kind === "paused" && !isLatest ? { ...view, kind: "finished" } : view; // nobody waits any more
  }

  /** What the thread shows: while a run is in flight, what was there before it. */
  async function valuesOf(contextId: string): Promise<Json> {
    const { valuesJson } = await threads.require(contextId);
    return valuesJson === null ? null : (parseObject(valuesJson) ?? null);
  }

  async function historyOf({ contextId, first, isLater }: FoundTask, { length, scope }: History) {
    if (length === 0) return [];
    const all = shownMessages(messagesIn(await valuesOf(contextId)));
    if (scope === "context") return all.slice(-length);
    const from = all.findIndex(({ id }) => id === first.metadata[FIRST_MESSAGE]);
    const own = from === -1 ? [] : all.slice(from);
    const to = own.findIndex(({ id }) => isLater(id));
    return (to === -1 ? own : own.slice(0, to)).slice(-length);
  }

  async function begin(assistant: Assistant, message: SentMessage, headers: RequestHeaders): Promise<StartedTask> {
    if (answersOf(message.parts) !== undefined)
      throw invalidParams("resume: name the task that asks, as message.taskId");
    const { idempotencyKey: key } = headers;
    const contextId = message.contextId ?? newIdFor(key, "context");
    const messageId = newIdFor(key, "message");
    const takes = await takesMessages(assistant);
    const input = inputOf(message, { assistant, takesMessages: takes, messageId });
    const asked = { assistantId: assistant.assistantId, input, metadata: { [FIRST_MESSAGE]: messageId } };
    const run = await manager.create(contextId, runRequest({ ...asked, ...KEPT, ifNotExists: "create" }, headers));
    return { ids: { taskId: run.runId, contextId }, run, heard: { reading: manager.readingOf(run), known: new Set() } };
  }

  async function goOn(assistant: Assistant, message: SentMessage, headers: RequestHeaders): Promise<StartedTask> {
    const task = await find(assistant, message.taskId ?? "", message.contextId);
    const { taskId, contextId } = task;
    const { state } = (await show(task, NO_HISTORY)).status;
    if (state !== "input-required") throw unsupportedOperation(`task ${taskId} is ${state}: it takes no more messages`);
    const resume = answersOf(message.parts) ?? wordsOf(message.parts);
    if (resume === undefined)
      throw invalidParams("message.parts: answer with text, or with data {resume: [{id, value}]}");
    const known = messageIds(await valuesOf(contextId));
    const asked = { assistantId: assistant.assistantId, command: { resume }, metadata: { [TASK]: taskId } };
    const run = await manager.create(
      contextId,
      runRequest({ ...asked, ...KEPT, multitaskStrategy: "reject" }, headers),
    );
    return { ids: { taskId, contextId }, run, heard: { reading: manager.readingOf(run), known } };
  }

  return {
    /** A message to a task goes on with it, any other begins one. */
    start(assistant: Assistant, message: SentMessage, headers: RequestHeaders): Promise<StartedTask> {
      return message.taskId === undefined ? begin(assistant, message, headers) : goOn(assistant, message, headers);
    },

    /** What happens to the task until it is settled. */
    async *follow({ ids, run, heard }: StartedTask, signal: AbortSignal): AsyncGenerator<readonly TaskEvent[]> {
      const submitted = { state: "submitted", at: run.createdAt, says: [] } as const;
      yield [{ kind: "task", task: { ...ids, status: submitted, answer: [], history: [] } }];
      let isFirst = true;
      for await (const parts of followAnswer(heard, signal)) {
        const events: TaskEvent[] = [];
        const say = (said: readonly Part[]): void => {
          if (said.length > 0) events.push({ kind: "answer", parts: said, isFirst });
          isFirst &&= said.length === 0;
        };
        for (const part of parts) {
          if (part.kind === "begin") events.push({ kind: "status", status: { state: "working", at: now(), says: [] } });
          if (part.kind === "text") say([{ kind: "text", text: part.text }]);
          if (part.kind !== "end") continue;
          if (isFirst) say(dataOf(part.end));
          events.push({ kind: "status", status: statusAfter(part.end, now()) });
        }
        yield events;
      }
    },

    /** The task when it is settled; undefined when `signal` aborts first. */
    async settled({ ids, heard }: StartedTask, signal: AbortSignal): Promise<Task | undefined> {
      const said = await readAnswer(heard, signal);
      if (said === undefined) return undefined;
      const { text, end } = said;
      const answer: readonly Part[] = text === "" ? dataOf(end) : [{ kind: "text", text }];
      return { ...ids, status: statusAfter(end, now()), answer, history: [] };
    },

    async get(
      assistant: Assistant,
      ids: { taskId: string; contextId: string | undefined },
      history: History,
    ): Promise<Task> {
      return show(await find(assistant, ids.taskId, ids.contextId), history);
    },

    /** Resolves when the run has stopped, or the client has left. */
    async cancel(assistant: Assistant, taskId: string, client: AbortSignal): Promise<Task> {
      const { contextId, newest } = await find(assistant, taskId, undefined);
      const isCancelled =
        isInFlight(newest.status) &&
        (await manager.cancel(contextId, newest.runId, "interrupt").then(() => true, whenEnded));
      if (!isCancelled)
        throw new RpcError(A2A_ERRORS.notCancelable, `task ${taskId} cannot be canceled: nothing of it runs`);
      await manager.ended(newest.runId, client);
      return show(await find(assistant, taskId, undefined), NO_HISTORY);
    },

    /** To follow a task that somebody began before. */
    async subscribe(assistant: Assistant, taskId: string): Promise<StartedTask> {
      const { contextId, newest } = await find(assistant, taskId, undefined);
      if (!isInFlight(newest.status))
        throw unsupportedOperation(`task ${taskId} is settled: there is nothing to follow`);
      const run = await manager.get(contextId, newest.runId);
      const known = messageIds(await valuesOf(contextId));
      return { ids: { taskId, contextId }, run, heard: { reading: manager.readingOf(run), known } };
    },

    /** The tasks of a context, the newest first; each is looked at when it is shown. */
    async list(assistant: Assistant, contextId: string): Promise<readonly ListedTask[]> {
      const own = tasksIn(await runsOf(contextId)).filter(({ first }) => first.assistantId === assistant.assistantId);
      return own.map((task) => ({ taskId: task.taskId, show: (history) => show(task, history) }));
    },
  };
}

export const NO_HISTORY: History = { length: 0, scope: "context" };

const KEPT = { streamModes: HEARD_MODES, onCompletion: "keep" } as const;

/** The same for a request that is repeated with its idempotency key. */
function newIdFor(key: string | null, what: string): string {
  return key === null ? newId() : createHash("sha256").update(`${what} ${key}`).digest("hex").slice(0, 32);
}

function whenEnded(error: unknown): false {
  if (error instanceof GatewayError && error.code === "conflict") return false;
  throw error;
}

function taskNotFound(taskId: string): RpcError {
  return new RpcError(A2A_ERRORS.taskNotFound, `task ${taskId} not found`);
}

function unsupportedOperation(message: string): RpcError {
  return new RpcError(A2A_ERRORS.unsupported, message);
}
