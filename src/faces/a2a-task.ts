/** Runs as A2A's tasks, and what happens to them as its events, in the words of both families. Pure. */
import { toJson } from "../core/json.js";
import type { Interrupt, JsonObject, RunStatus } from "../core/model.js";
import { type Family, messageJson, type Part, partJson, type ShownMessage } from "./a2a-message.js";
import { closingWords } from "./message-text.js";
import type { RunResultView } from "./run-answer.js";

export type TaskState = "submitted" | "working" | "input-required" | "completed" | "canceled" | "failed";

export interface TaskStatus {
  readonly state: TaskState;
  readonly at: number;
  /** What the agent asks, or what went wrong. */
  readonly says: readonly Part[];
}

export interface Task {
  readonly taskId: string;
  readonly contextId: string;
  readonly status: TaskStatus;
  /** The answer; empty while there is none. */
  readonly answer: readonly Part[];
  readonly history: readonly ShownMessage[];
}

type TaskIds = Pick<Task, "taskId" | "contextId">;

/** What the stream of a task tells. */
export type TaskEvent =
  | { readonly kind: "task"; readonly task: Task }
  | { readonly kind: "status"; readonly status: TaskStatus }
  | { readonly kind: "answer"; readonly parts: readonly Part[]; readonly isFirst: boolean };

/** The state of a run that has not ended, or whose end says everything. */
export function stateOfRun(status: RunStatus): TaskState {
  switch (status) {
    case "pending":
      return "submitted";
    case "running":
      return "working";
    case "success":
      return "completed";
    case "interrupted":
      return "canceled";
    case "error":
    case "timeout":
      return "failed";
  }
}

/** How a task stands after a run that ended so. */
export function statusAfter({ kind, questions, error }: RunResultView, at: number): TaskStatus {
  switch (kind) {
    case "finished":
      return { state: "completed", at, says: [] };
    case "paused":
      return { state: "input-required", at, says: questionParts(questions) };
    case "cancelled":
      return { state: "canceled", at, says: [] };
    case "failed":
      return {
        state: "failed",
        at,
        says: [{ kind: "text", text: `${error?.error ?? "Error"}: ${error?.message ?? "failed"}` }],
      };
  }
}

/** A task's answer, as the state tells it: in words, or the output of a graph that has no messages. */
export function answerParts(view: RunResultView): readonly Part[] {
  const text = closingWords(view.values, new Set()).join("\n\n");
  return text === "" ? dataOf(view) : [{ kind: "text", text }];
}

export function dataOf({ kind, values }: RunResultView): readonly Part[] {
  return kind === "finished" && !("messages" in values) ? [{ kind: "data", data: values }] : [];
}

/** In words for people, and as data with the ids that answers need. */
export function questionParts(questions: readonly Interrupt[]): readonly Part[] {
  const texts = questions.map(
    ({ value }): Part => ({ kind: "text", text: typeof value === "string" ? value : toJson(value) }),
  );
  return [...texts, { kind: "data", data: { interrupts: questions.map(({ id, value }) => ({ id, value })) } }];
}

/** Whether nothing happens to the task any more unless somebody says something. */
function isSettled(state: TaskState): boolean {
  return state !== "submitted" && state !== "working";
}

const ANSWER = "answer";

export function taskJson(task: Task, family: Family, { withArtifacts = true } = {}): JsonObject {
  const { taskId, contextId, status, answer, history } = task;
  return {
    ...(family === "1.0" ? {} : { kind: "task" }),
    id: taskId,
    contextId,
    status: statusJson(status, task, family),
    ...(withArtifacts && answer.length > 0 ? { artifacts: [artifactJson(answer, family)] } : {}),
    ...(history.length > 0
      ? { history: history.map((message) => messageJson(message, { family, taskId, contextId })) }
      : {}),
  };
}

/** The result of one frame of a stream. */
export function eventJson(event: TaskEvent, ids: TaskIds, family: Family): JsonObject {
  const { taskId, contextId } = ids;
  switch (event.kind) {
    case "task": {
      const task = taskJson(event.task, family);
      return family === "1.0" ? { task } : task;
    }
    case "status": {
      const update = { taskId, contextId, status: statusJson(event.status, ids, family) };
      return family === "1.0"
        ? { statusUpdate: update }
        : { kind: "status-update", ...update, final: isSettled(event.status.state) };
    }
    case "answer": {
      const update = { taskId, contextId, artifact: artifactJson(event.parts, family), append: !event.isFirst };
      return family === "1.0" ? { artifactUpdate: update } : { kind: "artifact-update", ...update };
    }
  }
}

function artifactJson(parts: readonly Part[], family: Family): JsonObject {
  return { artifactId: ANSWER, name: ANSWER, parts: parts.map((part) => partJson(part, family)) };
}

function statusJson({ state, at, says }: TaskStatus, { taskId, contextId }: TaskIds, family: Family): JsonObject {
  const message: ShownMessage = { messageId: `${taskId}-${state}`, role: "agent", parts: says };
  return {
    state: family === "1.0" ? `TASK_STATE_${state.replace("-", "_").toUpperCase()}` : state,
    timestamp: new Date(at).toISOString(),
    ...(says.length === 0 ? {} : { message: messageJson(message, { family, taskId, contextId }) }),
  };
}

/** In the words of either family; undefined for what is no state. */
export function readState(text: string): TaskState | undefined {
  const name = text
    .replace(/^TASK_STATE_/, "")
    .toLowerCase()
    .replace("_", "-");
  return STATES.find((state) => state === name);
}

const STATES: readonly TaskState[] = ["submitted", "working", "input-required", "completed", "canceled", "failed"];
