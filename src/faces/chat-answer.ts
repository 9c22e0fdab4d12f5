/** What a run says, as OpenAI's `chat.completion` and its chunks. Pure. */
import type { JsonObject } from "../core/model.js";
import { questionCall } from "./chat-messages.js";
import type { AnswerPart, RunEnd } from "./run-answer.js";

/** What all chunks of one completion have in common. */
export interface Completion {
  readonly runId: string;
  readonly threadId: string;
  /** Whether the client may come back to the thread by itself. */
  readonly isThreadShown: boolean;
  /** As the client named it. */
  readonly model: string;
  readonly createdAt: number;
  readonly includeUsage: boolean;
}

function completionId(runId: string): string {
  return `chatcmpl-${runId}`;
}

/** The chunks of a stream, each to be sent when it is there; those of a run that failed or was cancelled end with an error. */
export interface ChatChunks {
  open(): JsonObject;
  of(part: AnswerPart): readonly JsonObject[];
}

export function createChatChunks(completion: Completion): ChatChunks {
  const chunk = (delta: JsonObject, finishReason: string | null = null): JsonObject => ({
    ...head(completion, "chat.completion.chunk"),
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    ...(completion.includeUsage ? { usage: null } : {}),
  });

  return {
    open: () => chunk({ role: "assistant", content: "" }),

    of(part) {
      if (part.kind === "begin") return [];
      if (part.kind !== "end") return [chunk({ [MEMBERS[part.kind]]: part.text })];
      const { end } = part;
      const failure = failureOf(end);
      if (failure !== undefined) return [{ error: failure }];
      const calls = questionsAsCalls(completion, end).map((call, index) => ({ index, ...call }));
      return [
        ...(calls.length === 0 ? [] : [chunk({ tool_calls: calls })]),
        chunk({}, finishReason(end)),
        ...(completion.includeUsage
          ? [{ ...head(completion, "chat.completion.chunk"), choices: [], usage: usageOf(end) }]
          : []),
      ];
    },
  };
}

const MEMBERS = { text: "content", reasoning: "reasoning_content" } as const;

/** The whole answer of a run that neither failed nor was cancelled. */
export function chatCompletion(
  completion: Completion,
  { text, reasoning, end }: { readonly text: string; readonly reasoning: string; readonly end: RunEnd },
): JsonObject {
  const calls = questionsAsCalls(completion, end);
  const message = {
    role: "assistant",
    content: text === "" && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
  return {
    ...head(completion, "chat.completion"),
    choices: [{ index: 0, message, logprobs: null, finish_reason: finishReason(end) }],
    usage: usageOf(end),
  };
}

export interface ChatFailure extends JsonObject {
  readonly message: string;
  readonly type: string;
  readonly code: string | null;
  readonly param: string | null;
}

/** Undefined for a run that has an answer. */
export function failureOf({ kind, error }: RunEnd): ChatFailure | undefined {
  if (kind === "cancelled")
    return { message: "the run was cancelled", type: "run_error", code: "cancelled", param: null };
  if (kind !== "failed") return undefined;
  return { message: error?.message ?? "the run failed", type: "run_error", code: error?.error ?? null, param: null };
}

function head({ runId, threadId, isThreadShown, model, createdAt }: Completion, object: string): JsonObject {
  return {
    id: completionId(runId),
    object,
    created: Math.floor(createdAt / 1_000),
    model,
    ...(isThreadShown ? { metadata: { thread_id: threadId } } : {}),
  };
}

function questionsAsCalls({ threadId }: Completion, { questions }: RunEnd) {
  return questions.map((question) => ({ ...questionCall(threadId, question) }));
}

function finishReason({ kind, isCutShort }: RunEnd): string {
  if (kind === "paused") return "tool_calls";
  return isCutShort ? "length" : "stop";
}

function usageOf({ usage: { input, output } }: RunEnd): JsonObject {
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
}
