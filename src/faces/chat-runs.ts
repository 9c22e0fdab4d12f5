/**
 * From a chat request to the run that answers it.
 *
 * 1. Without a thread all messages are the input, on a thread that goes with the run. If the graph asks something, the
 *    thread stays for an hour, and the answer finds it by the id of the call.
 * 2. With a thread only what came after the assistant's last word is the input: the thread holds the rest. One that
 *    has no state yet gets everything.
 * 3. Answers resume the thread that they name. An answer to what is not asked any more changes nothing.
 * 4. On a thread that waits, words of the user are the answer where one simple question waits, and refused otherwise.
 */
import { conflict, GatewayError, invalid } from "../core/errors.js";
import type { Interrupt, Json, JsonObject, MultitaskStrategy, Run } from "../core/model.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { RunRequest } from "../runs/draft.js";
import type { RunManager } from "../runs/manager.js";
import type { ThreadService } from "../threads/threads.js";
import { type ModelRef, requireModel } from "./assistant-list.js";
import { type ChatMessage, newestOf, toGraphMessages, userText } from "./chat-messages.js";
import { messageIds } from "./message-text.js";
import { HEARD_MODES } from "./run-answer.js";
import { type RequestHeaders, runRequest } from "./run-request.js";
import type { TakesMessages } from "./takes-messages.js";

export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  /** The answers that the newest messages give, by question, and the thread that waits for them. */
  readonly answers: { readonly threadId: string; readonly values: JsonObject } | null;
  /** The thread that the client named. */
  readonly threadId: string | null;
  readonly multitaskStrategy: MultitaskStrategy | undefined;
  readonly metadata: JsonObject;
  /** What the client asks of the model; null where it asks nothing. */
  readonly modelParams: JsonObject | null;
  readonly headers: RequestHeaders;
}

export interface ChatRun {
  readonly run: Run;
  /** The ids of messages that its thread had before. */
  readonly known: ReadonlySet<Json>;
  /** A client that keeps no thread has nobody to leave the run to. */
  readonly cancelOnDisconnect: boolean;
}

/** The services as the caller who chats. */
export interface ChatRunsDeps {
  readonly manager: Pick<RunManager, "create">;
  readonly threads: Pick<ThreadService, "require">;
  readonly assistants: Pick<AssistantService, "requireForRun" | "search">;
  readonly takesMessages: TakesMessages;
}

export function createChatRuns({ manager, threads, assistants, takesMessages }: ChatRunsDeps) {
  async function requireChat({ assistant }: ModelRef): Promise<void> {
    if (await takesMessages(assistant)) return;
    throw new GatewayError("bad_request", `${assistant.name} takes no messages: it is not for chatting`, {
      option: "model",
      reason: "assistant_not_chat",
    });
  }

  /** What the run is driven with, on a thread of the client's. */
  function onThread(thread: KnownThread, { messages, answers }: ChatRequest): Drive {
    const questions = Object.values(thread.interrupts).flat();
    if (answers !== null) return { command: { resume: requireAsked(answers.values, questions) } }; // 3
    if (questions.length > 0) return { command: { resume: answerOf(messages, questions) } }; // 4
    const input = toGraphMessages(thread.valuesJson === null ? messages : newestOf(messages)); // 2
    if (input.length === 0) throw invalid("body.messages: nothing follows the last message of the assistant");
    return { input: { messages: input } };
  }

  return {
    async start(request: ChatRequest): Promise<ChatRun> {
      const model = await requireModel(assistants, request.model);
      await requireChat(model);
      const { answers, modelParams } = request;
      if (answers !== null && request.threadId !== null && request.threadId !== answers.threadId) {
        throw invalid(`body.messages: the answers belong to thread ${answers.threadId}`);
      }
      const threadId = request.threadId ?? answers?.threadId ?? null;
      const thread = threadId === null ? null : await threads.require(threadId);
      const drive =
        thread === null
          ? { input: { messages: toGraphMessages(request.messages) } } // 1
          : onThread(thread, request);
      const cancelOnDisconnect = request.threadId === null;
      const run = await manager.create(
        threadId,
        runRequest(
          {
            ...drive,
            assistantId: model.assistant.assistantId,
            assistantVersion: model.version,
            metadata: request.metadata,
            config: modelParams === null ? {} : { configurable: { model_params: modelParams } },
            streamModes: HEARD_MODES,
            multitaskStrategy: request.multitaskStrategy ?? "reject",
            onDisconnect: cancelOnDisconnect ? "cancel" : "continue",
            onCompletion: "delete_unless_paused",
          },
          request.headers,
        ),
      );
      const known = messageIds(thread?.valuesJson ? (JSON.parse(thread.valuesJson) as Json) : null);
      return { run, known, cancelOnDisconnect };
    },
  };
}

type KnownThread = Awaited<ReturnType<ThreadService["require"]>>;
type Drive = Partial<Pick<RunRequest, "input" | "command">>;

function requireAsked(answers: JsonObject, questions: readonly Interrupt[]): JsonObject {
  const stale = Object.keys(answers).filter((id) => questions.every((question) => question.id !== id));
  if (stale.length === 0) return answers;
  throw conflict(`body.messages: the thread does not wait for ${stale.join(", ")}`, { reason: "not_waiting" });
}

function answerOf(messages: readonly ChatMessage[], questions: readonly Interrupt[]): JsonObject {
  const text = userText(newestOf(messages));
  const [only, ...others] = questions;
  if (text !== undefined && only !== undefined && others.length === 0 && isSimple(only.value)) {
    return { [only.id]: text };
  }
  throw conflict("the thread waits for answers: send them as results of the tools that were called", {
    reason: "waiting_for_input",
  });
}

/** A question in words, or a form with one field: a text answers it. */
function isSimple(question: Json): boolean {
  if (typeof question !== "object" || question === null) return true;
  return !Array.isArray(question) && Object.keys(question).length <= 1;
}
