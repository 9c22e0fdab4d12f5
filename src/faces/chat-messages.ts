/**
 * OpenAI's chat messages ↔ LangGraph's. Pure.
 *
 * A question of the graph (`interrupt`) travels as a call of a tool that the client has, and its answer as that tool's
 * result: the graph does not know such messages, so they are no part of what it gets.
 */
import { badRequest } from "../core/errors.js";
import { toJson } from "../core/json.js";
import type { Interrupt, JsonObject } from "../core/model.js";

/** A message of a request, after validation. */
export interface ChatMessage {
  readonly role: "system" | "developer" | "user" | "assistant" | "tool";
  readonly content: string | readonly JsonObject[] | null;
  readonly name?: string | undefined;
  readonly tool_calls?: readonly ChatToolCall[] | undefined;
  readonly tool_call_id?: string | undefined;
}

export interface ChatToolCall {
  readonly id: string;
  readonly function: { readonly name: string; readonly arguments: JsonObject };
}

/** A call that stands for a question, as OpenAI's answers have it. */
export interface QuestionCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

const QUESTION = /^intr_([0-9A-Za-z-]{1,64})\.([A-Za-z0-9_.:-]{1,128})$/;
/** What clients see a question as a call of. */
const QUESTION_TOOL = "human_input";

/** Whether a call of this id stands for a question. */
export function isQuestion(callId: string): boolean {
  return QUESTION.test(callId);
}

/** The id says where the answer belongs, so that a client needs to remember nothing else. */
export function questionCall(threadId: string, { id, value }: Interrupt): QuestionCall {
  return {
    id: `intr_${id}.${threadId}`,
    type: "function",
    function: { name: QUESTION_TOOL, arguments: toJson(value) },
  };
}

export interface Answers {
  readonly threadId: string;
  /** By the id of the question: what the client says, not read yet. */
  readonly texts: ReadonlyMap<string, string>;
}

/** The answers that the newest messages give; undefined when they give none. Throws when they say anything else too. */
export function answersIn(messages: readonly ChatMessage[]): Answers | undefined {
  const newest = newestOf(messages);
  const texts = new Map<string, string>();
  const threads = new Set<string>();
  for (const message of newest.filter(isAnswer)) {
    const [, questionId = "", threadId = ""] = QUESTION.exec(message.tool_call_id ?? "") ?? [];
    texts.set(questionId, plainText(message.content));
    threads.add(threadId);
  }
  const [threadId, ...others] = threads;
  if (threadId === undefined) return undefined;
  if (others.length > 0) throw refused("the answers belong to different threads");
  if (newest.some((message) => !isAnswer(message))) {
    throw refused("what follows a question of the graph is answers to it and nothing else");
  }
  return { threadId, texts };
}

/** Everything after the last word of the assistant. */
export function newestOf(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  return messages.slice(messages.map(({ role }) => role).lastIndexOf("assistant") + 1);
}

/** What people say in these messages, when it is nothing but words of theirs. */
export function userText(messages: readonly ChatMessage[]): string | undefined {
  const [only, ...others] = messages;
  if (only?.role !== "user" || others.length > 0) return undefined;
  const isText = typeof only.content === "string" || only.content?.every(({ type }) => type === "text") === true;
  return isText ? plainText(only.content) : undefined;
}

/** As a graph's `messages` gets them. */
export function toGraphMessages(messages: readonly ChatMessage[]): readonly JsonObject[] {
  return messages.filter((message) => !isAnswer(message)).flatMap(toGraphMessage);
}

function toGraphMessage({
  role,
  content,
  name,
  tool_calls: calls = [],
  tool_call_id: callId,
}: ChatMessage): JsonObject[] {
  const named: JsonObject = name === undefined ? {} : { name };
  const own = calls.filter(({ id }) => !isQuestion(id));
  switch (role) {
    case "system":
    case "developer":
      return [{ type: "system", content: content ?? "", ...named }];
    case "user":
      return [{ type: "human", content: content ?? "", ...named }];
    case "tool":
      return [{ type: "tool", content: content ?? "", tool_call_id: callId ?? "" }];
    case "assistant": {
      if (own.length === 0 && calls.length > 0 && plainText(content) === "") return []; // only a question
      const toolCalls: JsonObject = own.length === 0 ? {} : { tool_calls: own.map(toGraphCall) };
      return [{ type: "ai", content: content ?? "", ...named, ...toolCalls }];
    }
  }
}

function toGraphCall({ id, function: { name, arguments: args } }: ChatToolCall): JsonObject {
  return { id, name, args, type: "tool_call" };
}

function isAnswer({ role, tool_call_id: callId }: ChatMessage): boolean {
  return role === "tool" && callId !== undefined && isQuestion(callId);
}

function plainText(content: ChatMessage["content"]): string {
  if (content === null || typeof content === "string") return content ?? "";
  return content.map(({ text }) => (typeof text === "string" ? text : "")).join("");
}

function refused(message: string): Error {
  return badRequest(`body.messages: ${message}`);
}
