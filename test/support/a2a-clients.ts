/** The official clients of both versions of A2A, behind one face, so that the same promises are held to both. */
import { randomUUID } from "node:crypto";
import { Role, type StreamResponse, type Task, TaskState, type Part as WirePart } from "@a2a-js/sdk";
import { ClientFactory } from "@a2a-js/sdk/client";
import type { Part as OldPart, Task as OldTask, TaskArtifactUpdateEvent, TaskStatusUpdateEvent } from "a2a-js-sdk-v03";
import { ClientFactory as OldClientFactory } from "a2a-js-sdk-v03/client";

export type SentPart =
  | { readonly text: string }
  | { readonly data: Record<string, unknown> }
  | { readonly bytes: string; readonly mimeType: string; readonly name: string };

export interface Sent {
  readonly parts: readonly SentPart[];
  readonly contextId?: string;
  readonly taskId?: string;
  readonly messageId?: string;
  readonly returnsAtOnce?: boolean;
}

/** A task, its state in the words of version 0.3. */
export interface SeenTask {
  readonly id: string;
  readonly contextId: string;
  readonly state: string;
  readonly says: readonly unknown[];
  readonly answer: readonly unknown[];
  readonly history: readonly { readonly role: string; readonly messageId: string; readonly text: string }[];
}

export type SeenEvent =
  | { readonly kind: "task"; readonly task: SeenTask }
  | { readonly kind: "status"; readonly state: string; readonly says: readonly unknown[] }
  | { readonly kind: "answer"; readonly parts: readonly unknown[]; readonly append: boolean };

export interface A2aTestClient {
  send(sent: Sent): Promise<SeenTask>;
  stream(sent: Sent): AsyncGenerator<SeenEvent>;
  get(taskId: string, historyLength?: number): Promise<SeenTask>;
  cancel(taskId: string): Promise<SeenTask>;
  subscribe(taskId: string): AsyncGenerator<SeenEvent>;
}

/** Finds the agent by its card, as clients do: at the usual path from `baseUrl` on, or at another. */
export type Connect = (baseUrl: string, cardPath?: string) => Promise<A2aTestClient>;

export const CLIENTS: readonly (readonly [version: string, connect: Connect])[] = [
  ["1.0", connectNew],
  ["0.3", connectOld],
];

const idsOf = ({ contextId = "", taskId = "", messageId = randomUUID() }: Sent) => ({ contextId, taskId, messageId });

// ---- version 1.0

async function connectNew(baseUrl: string, cardPath?: string): Promise<A2aTestClient> {
  const client = await new ClientFactory().createFromUrl(baseUrl, cardPath);
  const request = (sent: Sent) => ({
    tenant: "",
    message: {
      ...idsOf(sent),
      role: Role.ROLE_USER,
      parts: sent.parts.map(newPart),
      metadata: undefined,
      extensions: [],
      referenceTaskIds: [],
    },
    configuration: {
      acceptedOutputModes: [],
      taskPushNotificationConfig: undefined,
      returnImmediately: sent.returnsAtOnce === true,
    },
    metadata: undefined,
  });
  async function* events(stream: AsyncGenerator<StreamResponse>): AsyncGenerator<SeenEvent> {
    for await (const { payload } of stream) {
      switch (payload?.$case) {
        case "task":
          yield { kind: "task", task: seenNew(payload.value) };
          break;
        case "statusUpdate":
          yield { kind: "status", ...statusOf(payload.value.status) };
          break;
        case "artifactUpdate":
          yield {
            kind: "answer",
            parts: (payload.value.artifact?.parts ?? []).map(shown),
            append: payload.value.append,
          };
      }
    }
  }
  return {
    async send(sent) {
      const answer = await client.sendMessage(request(sent));
      if (!("id" in answer)) throw new Error("a message instead of a task");
      return seenNew(answer);
    },
    stream: (sent) => events(client.sendMessageStream(request(sent))),
    get: async (id, historyLength) => seenNew(await client.getTask({ tenant: "", id, historyLength })),
    cancel: async (id) => seenNew(await client.cancelTask({ tenant: "", id, metadata: undefined })),
    subscribe: (id) => events(client.resubscribeTask({ tenant: "", id })),
  };
}

function newPart(part: SentPart): WirePart {
  const empty = { metadata: undefined, filename: "", mediaType: "" };
  if ("text" in part) return { ...empty, content: { $case: "text", value: part.text } };
  if ("data" in part) return { ...empty, content: { $case: "data", value: part.data } };
  const value = Buffer.from(part.bytes, "base64");
  return { ...empty, content: { $case: "raw", value }, filename: part.name, mediaType: part.mimeType };
}

function shown({ content }: WirePart): unknown {
  return content?.value;
}

function statusOf(status: Task["status"]) {
  const name = TaskState[status?.state ?? TaskState.UNRECOGNIZED] ?? "";
  return {
    state: name.replace("TASK_STATE_", "").toLowerCase().replace("_", "-"),
    says: (status?.message?.parts ?? []).map(shown),
  };
}

function seenNew({ id, contextId, status, artifacts, history }: Task): SeenTask {
  return {
    id,
    contextId,
    ...statusOf(status),
    answer: artifacts.flatMap(({ parts }) => parts.map(shown)),
    history: history.map(({ role, messageId, parts }) => ({
      role: role === Role.ROLE_USER ? "user" : "agent",
      messageId,
      text: parts.map(shown).join(""),
    })),
  };
}

// ---- version 0.3

async function connectOld(baseUrl: string, cardPath?: string): Promise<A2aTestClient> {
  const client = await new OldClientFactory().createFromUrl(baseUrl, cardPath);
  const request = (sent: Sent) => {
    const { contextId, taskId, messageId } = idsOf(sent);
    return {
      message: {
        kind: "message" as const,
        role: "user" as const,
        messageId,
        ...(contextId === "" ? {} : { contextId }),
        ...(taskId === "" ? {} : { taskId }),
        parts: sent.parts.map(oldPart),
      },
      configuration: { blocking: sent.returnsAtOnce !== true },
    };
  };
  async function* events(stream: AsyncGenerator<unknown>): AsyncGenerator<SeenEvent> {
    for await (const event of stream as AsyncGenerator<OldTask | TaskStatusUpdateEvent | TaskArtifactUpdateEvent>) {
      switch (event.kind) {
        case "task":
          yield { kind: "task", task: seenOld(event) };
          break;
        case "status-update": {
          const status = oldStatus(event.status);
          const isSettled = !["submitted", "working"].includes(status.state);
          if (event.final !== isSettled) throw new Error(`final ${event.final} in state ${status.state}`);
          yield { kind: "status", ...status };
          break;
        }
        case "artifact-update":
          yield { kind: "answer", parts: event.artifact.parts.map(shownOld), append: event.append === true };
      }
    }
  }
  return {
    async send(sent) {
      const answer = await client.sendMessage(request(sent));
      if (answer.kind !== "task") throw new Error("a message instead of a task");
      return seenOld(answer);
    },
    stream: (sent) => events(client.sendMessageStream(request(sent))),
    get: async (id, historyLength) =>
      seenOld(await client.getTask({ id, ...(historyLength === undefined ? {} : { historyLength }) })),
    cancel: async (id) => seenOld(await client.cancelTask({ id })),
    subscribe: (id) => events(client.resubscribeTask({ id })),
  };
}

function oldPart(part: SentPart): OldPart {
  if ("text" in part) return { kind: "text", text: part.text };
  if ("data" in part) return { kind: "data", data: part.data };
  return { kind: "file", file: { bytes: part.bytes, mimeType: part.mimeType, name: part.name } };
}

function shownOld(part: OldPart): unknown {
  if (part.kind === "text") return part.text;
  return part.kind === "data" ? part.data : part.file;
}

function oldStatus({ state, message }: OldTask["status"]) {
  return { state, says: (message?.parts ?? []).map(shownOld) };
}

function seenOld({ id, contextId, status, artifacts = [], history = [] }: OldTask): SeenTask {
  return {
    id,
    contextId,
    ...oldStatus(status),
    answer: artifacts.flatMap(({ parts }) => parts.map(shownOld)),
    history: history.map(({ role, messageId, parts }) => ({ role, messageId, text: parts.map(shownOld).join("") })),
  };
}
