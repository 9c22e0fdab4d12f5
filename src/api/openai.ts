/**
 * The OpenAI face (`/v1`): assistants as models, runs as chat completions.
 *
 * A run that fails before anything is sent is answered with 422, which clients do not repeat; in a stream it is one frame
 * with `error`. What streams ends with `data: [DONE]`, unless the gateway stops first: then the connection is cut.
 */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import { invalid } from "../core/errors.js";
import type { Assistant, JsonObject } from "../core/model.js";
import { allAssistants, modelNames, requireModel } from "../faces/assistant-list.js";
import { type Completion, chatCompletion, createChatChunks, failureOf } from "../faces/chat-answer.js";
import { answersIn } from "../faces/chat-messages.js";
import { type ChatRequest, createChatRuns } from "../faces/chat-runs.js";
import { followAnswer, type Heard, readAnswer } from "../faces/run-answer.js";
import { createTakesMessages } from "../faces/takes-messages.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { GraphHost } from "../graphs/host.js";
import type { RunManager } from "../runs/manager.js";
import type { ThreadService } from "../threads/threads.js";
import { NO_RETRY, openAiErrors } from "./openai-errors.js";
import {
  answerIn,
  type ChatBody,
  chatCompletionAnswer,
  chatRequest,
  modelAnswer,
  modelParamsOf,
  openAiError,
} from "./openai-schemas.js";
import { json, noContent, type Route, route } from "./route.js";
import { type HeaderRules, toRequestHeaders } from "./run-request.js";
import type { RunAnswers } from "./run-stream.js";
import { id } from "./schemas.js";
import { SSE_HEADERS, SSE_HEARTBEAT } from "./sse.js";

export interface OpenAiRoutesDeps {
  readonly manager: PerCaller<RunManager>;
  readonly threads: PerCaller<ThreadService>;
  readonly assistants: PerCaller<AssistantService>;
  readonly host: Pick<GraphHost, "schemas">;
  readonly answers: RunAnswers;
  readonly headerRules: HeaderRules;
}

export function openAiRoutes({ manager, threads, assistants, host, answers, headerRules }: OpenAiRoutesDeps): Route[] {
  const takesMessages = createTakesMessages(host);
  const chatsAs = (caller: Caller) =>
    createChatRuns({
      manager: manager.as(caller),
      threads: threads.as(caller),
      assistants: assistants.as(caller),
      takesMessages,
    });

  return [
    route({
      method: "get",
      path: "/v1/models",
      summary: "List the assistants as models",
      tag: "openai",
      responses: { 200: z.object({ object: z.literal("list"), data: z.array(modelAnswer) }) },
      errors: openAiErrors,
      async handle({ caller }) {
        const named = modelNames(await allAssistants(assistants.as(caller)));
        const data = [...named].map(([name, assistant]) => toModel(name, assistant));
        return json({ object: "list", data });
      },
    }),
    route({
      method: "get",
      path: "/v1/models/{model}",
      summary: "Get an assistant as a model",
      tag: "openai",
      params: z.object({ model: z.string() }),
      responses: { 200: modelAnswer },
      errors: openAiErrors,
      async handle({ params: { model }, caller }) {
        const { assistant, version } = await requireModel(assistants.as(caller), model);
        if (version !== undefined) await assistants.as(caller).requireForRun(assistant.assistantId, version);
        return json(toModel(model, assistant));
      },
    }),
    route({
      method: "post",
      path: "/v1/chat/completions",
      summary: "Chat with an assistant",
      tag: "openai",
      body: chatRequest,
      responses: {
        200: {
          description: "The completion; with `stream` its chunks as an event stream that ends with `data: [DONE]`",
          schema: chatCompletionAnswer,
          headers: {
            "x-thread-id": "The thread that the request named",
            "content-location": "The path of the run",
          },
        },
        422: { description: "The run failed, or was cancelled", schema: openAiError },
      },
      errors: openAiErrors,
      async handle({ body, headers, caller, signal, breakConnection, enterStream }) {
        const request = toChatRequest(body, headers, headerRules);
        if (body.stream) enterStream();
        const { threadId } = request;
        const { run, known, cancelOnDisconnect } = await chatsAs(caller).start(request);
        const completion: Completion = {
          runId: run.runId,
          threadId: run.threadId,
          isThreadShown: threadId !== null,
          model: body.model,
          createdAt: run.createdAt,
          includeUsage: body.stream_options?.include_usage === true,
        };
        const heard = { reading: manager.as(caller).readingOf(run), known };
        const watched = { reading: heard.reading, cancelOnDisconnect };
        const shown = {
          "content-location": threadId === null ? `/runs/${run.runId}` : `/threads/${threadId}/runs/${run.runId}`,
          ...(threadId === null ? {} : { "x-thread-id": threadId }),
        };
        if (body.stream) {
          return answers.say(
            watched,
            { breakConnection },
            {
              headers: { ...SSE_HEADERS, ...shown },
              heartbeat: SSE_HEARTBEAT,
              chunks: (left) => framesOf(heard, completion, left),
            },
          );
        }
        const answer = await answers.attend(watched, signal, (left) => readAnswer(heard, left));
        if (answer === undefined) return noContent(); // nobody is there to read it
        const failure = failureOf(answer.end);
        return failure === undefined
          ? json(chatCompletion(completion, answer), { headers: shown })
          : json({ error: failure }, { status: 422, headers: { ...shown, ...NO_RETRY } });
      },
    }),
  ];
}

function toModel(name: string, { createdAt }: Assistant) {
  return { id: name, object: "model", created: Math.floor(createdAt / 1_000), owned_by: "heddle" };
}

function toChatRequest(body: ChatBody, headers: Headers, headerRules: HeaderRules): ChatRequest {
  const answered = answersIn(body.messages);
  const values = [...(answered?.texts ?? [])].map(([questionId, text]) => [questionId, answerIn(text)] as const);
  const { thread_id: _threadId, ...metadata } = body.metadata;
  return {
    model: body.model,
    messages: body.messages,
    answers: answered === undefined ? null : { threadId: answered.threadId, values: Object.fromEntries(values) },
    threadId: threadIdOf(body, headers),
    multitaskStrategy: body.multitask_strategy ?? undefined,
    metadata: { ...metadata, ...(body.user ? { user: body.user } : {}) },
    modelParams: modelParamsOf(body),
    headers: toRequestHeaders(headers, headerRules),
  };
}

/** Clients name it where they can: in a header, as a member, in the metadata. */
function threadIdOf(body: ChatBody, headers: Headers): string | null {
  const given = [headers.get("x-thread-id"), body.thread_id, body.metadata.thread_id].filter(
    (value) => value !== null && value !== undefined && value !== "",
  );
  const [first, ...others] = new Set(given);
  if (first === undefined) return null;
  if (others.length > 0) throw invalid("body.thread_id: the request names different threads");
  const threadId = id.safeParse(first);
  if (!threadId.success) throw invalid("body.thread_id: expected the id of a thread");
  return threadId.data;
}

async function* framesOf(heard: Heard, completion: Completion, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const chunks = createChatChunks(completion);
  yield frames([chunks.open()]);
  let hasEnded = false;
  for await (const parts of followAnswer(heard, signal)) {
    const said = parts.flatMap((part) => chunks.of(part));
    if (said.length > 0) yield frames(said);
    hasEnded ||= parts.some(({ kind }) => kind === "end");
  }
  if (hasEnded) yield Buffer.from("data: [DONE]\n\n");
}

function frames(chunks: readonly JsonObject[]): Uint8Array {
  return Buffer.from(chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join(""));
}
