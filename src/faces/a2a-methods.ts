/** A2A's methods in both families: their names, what they are asked, what they answer. Only the wire is missing. */
import type { Assistant, Json, JsonObject } from "../core/model.js";
import { isObject, textIn } from "../protocol/json-object.js";
import { A2A_ERRORS } from "./a2a-errors.js";
import { type Family, readId, readSentMessage, type SentMessage } from "./a2a-message.js";
import { readState, type TaskStatus, taskJson } from "./a2a-task.js";
import { type A2aTasks, type History, type ListedTask, NO_HISTORY, type StartedTask } from "./a2a-tasks.js";
import { invalidParams, methodNotFound, RpcError } from "./json-rpc.js";
import type { RequestHeaders } from "./run-request.js";

export type Action = "send" | "stream" | "get" | "cancel" | "list" | "subscribe" | "card";

export interface Method {
  readonly action: Action;
  readonly family: Family;
}

const METHODS: ReadonlyMap<string, Method | "push notifications"> = new Map<string, Method | "push notifications">([
  ["message/send", { action: "send", family: "0.3" }],
  ["message/stream", { action: "stream", family: "0.3" }],
  ["tasks/get", { action: "get", family: "0.3" }],
  ["tasks/cancel", { action: "cancel", family: "0.3" }],
  ["tasks/resubscribe", { action: "subscribe", family: "0.3" }],
  ["agent/getAuthenticatedExtendedCard", { action: "card", family: "0.3" }],
  ["SendMessage", { action: "send", family: "1.0" }],
  ["SendStreamingMessage", { action: "stream", family: "1.0" }],
  ["GetTask", { action: "get", family: "1.0" }],
  ["CancelTask", { action: "cancel", family: "1.0" }],
  ["ListTasks", { action: "list", family: "1.0" }],
  ["SubscribeToTask", { action: "subscribe", family: "1.0" }],
  ["GetExtendedAgentCard", { action: "card", family: "1.0" }],
  ...["set", "get", "list", "delete"].map(
    (verb) => [`tasks/pushNotificationConfig/${verb}`, "push notifications"] as const,
  ),
  ...["Create", "Get", "Delete"].map((verb) => [`${verb}TaskPushNotificationConfig`, "push notifications"] as const),
  ["ListTaskPushNotificationConfigs", "push notifications"],
]);

/** Throws an `RpcError` for what is no method, or none of ours. */
export function requireMethod(name: string): Method {
  const method = METHODS.get(name);
  if (method === undefined) throw methodNotFound(name);
  if (method === "push notifications") throw noPushNotifications();
  return method;
}

function noPushNotifications(): RpcError {
  return new RpcError(A2A_ERRORS.pushNotifications, "push notifications are not supported: subscribe to the task");
}

export interface A2aCall {
  readonly assistant: Assistant;
  readonly params: JsonObject;
  readonly family: Family;
  readonly headers: RequestHeaders;
  /** Of `LangGraph-A2A-History-Scope`. */
  readonly historyScope: string | null;
  /** Aborts when the client leaves. */
  readonly client: AbortSignal;
  /** Does `work` while the client is there, which counts as a reader of the task's run. */
  readonly attend: <T>(task: StartedTask, work: (signal: AbortSignal) => Promise<T>) => Promise<T | undefined>;
  readonly card: () => JsonObject;
}

type StreamCall = Omit<A2aCall, "client" | "attend">;

/** Begins what a stream will tell. */
export async function startStream(
  tasks: A2aTasks,
  action: "stream" | "subscribe",
  call: StreamCall,
): Promise<StartedTask> {
  const { assistant, params, headers } = call;
  return action === "stream"
    ? tasks.start(assistant, sentMessage(call), headers)
    : tasks.subscribe(assistant, requireTaskId(params));
}

/** The result of any other method; undefined when the client left. */
export async function callMethod(
  tasks: A2aTasks,
  action: Exclude<Action, "stream" | "subscribe">,
  call: A2aCall,
): Promise<JsonObject | undefined> {
  const { assistant, params, family } = call;
  switch (action) {
    case "send":
      return send(tasks, call);
    case "get": {
      const ids = { taskId: requireTaskId(params), contextId: readId("contextId", params.contextId) };
      return taskJson(await tasks.get(assistant, ids, historyOf(call, params.historyLength)), family);
    }
    case "cancel":
      return taskJson(await tasks.cancel(assistant, requireTaskId(params), call.client), family);
    case "list":
      return list(tasks, call);
    case "card":
      return call.card();
  }
}

async function send(tasks: A2aTasks, call: A2aCall): Promise<JsonObject | undefined> {
  const { assistant, headers, family } = call;
  const { historyLength, isAwaited } = sendOptions(call);
  const started = await tasks.start(assistant, sentMessage(call), headers);
  const { taskId, contextId } = started.ids;
  const settled = isAwaited
    ? await call.attend(started, (signal) => tasks.settled(started, signal))
    : await tasks.get(assistant, started.ids, historyOf(call, 0));
  if (settled === undefined) return undefined;
  const history = historyOf(call, historyLength);
  const told = history.length === 0 ? [] : (await tasks.get(assistant, { taskId, contextId }, history)).history;
  const task = taskJson({ ...settled, history: told }, family);
  return family === "1.0" ? { task } : task;
}

function sentMessage(call: StreamCall): SentMessage {
  sendOptions(call); // refused before anything begins
  return readSentMessage(call.params.message);
}

interface SendOptions {
  readonly isAwaited: boolean;
  readonly historyLength: Json | undefined;
}

function sendOptions({ params: { configuration = {} } }: StreamCall): SendOptions {
  if (!isObject(configuration)) throw invalidParams("configuration: expected an object");
  const { pushNotificationConfig, taskPushNotificationConfig, blocking, returnImmediately } = configuration;
  requireAnswerable(configuration.acceptedOutputModes);
  if ((pushNotificationConfig ?? taskPushNotificationConfig ?? null) !== null) throw noPushNotifications();
  return { isAwaited: blocking !== false && returnImmediately !== true, historyLength: configuration.historyLength };
}

/** Answers are text or data. */
function requireAnswerable(modes: Json | undefined): void {
  if (!Array.isArray(modes) || modes.length === 0) return;
  if (
    modes.some((mode) => typeof mode === "string" && /^(text\/(plain|\*)|application\/(json|\*)|\*\/\*)$/i.test(mode))
  )
    return;
  throw new RpcError(A2A_ERRORS.contentType, "acceptedOutputModes: the agent answers text/plain or application/json");
}

const MAX_HISTORY = 10;

function historyOf({ params, historyScope }: A2aCall, length: Json | undefined): History {
  const scope = params.historyScope ?? historyScope ?? "context";
  if (scope !== "context" && scope !== "task") throw invalidParams('historyScope: expected "context" or "task"');
  if (length === undefined || length === null) return { length: MAX_HISTORY, scope };
  if (typeof length !== "number" || !Number.isInteger(length) || length < 0) {
    throw invalidParams("historyLength: expected a number of messages");
  }
  return { length: Math.min(length, MAX_HISTORY), scope };
}

function requireTaskId(params: JsonObject): string {
  const taskId = readId("id", params.id);
  if (taskId === undefined) throw invalidParams("id: expected the id of a task");
  return taskId;
}

const DEFAULT_PAGE = 50;
const MAX_PAGE = 100;

async function list(tasks: A2aTasks, call: A2aCall): Promise<JsonObject> {
  const { params, assistant, family } = call;
  const contextId = readId("contextId", params.contextId);
  if (contextId === undefined) {
    throw new RpcError(A2A_ERRORS.unsupported, "contextId: tasks are listed for one context");
  }
  const { pageSize = DEFAULT_PAGE } = params;
  if (typeof pageSize !== "number" || !Number.isInteger(pageSize) || pageSize < 1 || pageSize > MAX_PAGE) {
    throw invalidParams(`pageSize: expected 1 to ${MAX_PAGE}`);
  }
  const history = historyOf(call, params.historyLength ?? 0);
  const wanted = filterOf(params);
  const all = await tasks.list(assistant, contextId);
  const matching = wanted === undefined ? all : await matchingTasks(all, wanted);
  const after = textIn(params.pageToken);
  const from = after === undefined ? 0 : matching.findIndex(({ taskId }) => taskId === after) + 1;
  if (after !== undefined && from === 0) throw invalidParams("pageToken: not one of this context's");
  const page = matching.slice(from, from + pageSize);
  const shown = await Promise.all(page.map((task) => task.show(history)));
  const withArtifacts = params.includeArtifacts === true;
  return {
    tasks: shown.map((task) => taskJson(task, family, { withArtifacts })),
    nextPageToken: from + page.length < matching.length ? (page.at(-1)?.taskId ?? "") : "",
    pageSize: page.length,
    totalSize: matching.length,
  };
}

type StatusFilter = (status: TaskStatus) => boolean;

async function matchingTasks(all: readonly ListedTask[], wanted: StatusFilter): Promise<readonly ListedTask[]> {
  const shown = await Promise.all(all.map((task) => task.show(NO_HISTORY)));
  return all.filter((_task, index) => shown[index] !== undefined && wanted(shown[index].status));
}

/** undefined where all tasks are wanted. */
function filterOf({ status, statusTimestampAfter: after }: JsonObject): StatusFilter | undefined {
  const isAny = status === undefined || status === null || status === "" || status === "TASK_STATE_UNSPECIFIED";
  const state = isAny ? undefined : readState(String(status));
  if (!isAny && state === undefined) throw invalidParams("status: not a state of tasks");
  const since = after === undefined || after === null ? undefined : Date.parse(String(after));
  if (Number.isNaN(since)) throw invalidParams("statusTimestampAfter: expected a date");
  if (state === undefined && since === undefined) return undefined;
  return (each) => (state === undefined || each.state === state) && (since === undefined || each.at >= since);
}
