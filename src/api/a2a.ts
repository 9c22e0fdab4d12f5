/**
 * A2A: every assistant is an agent at `/a2a/{assistant_id}`, for clients of version 0.3 and of version 1.0.
 *
 * The methods of both versions have names of their own, so a request says by its method in whose words it is answered.
 */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import { invalid } from "../core/errors.js";
import type { Assistant, Json, JsonObject } from "../core/model.js";
import { agentCard } from "../faces/a2a-card.js";
import { A2A_ERRORS } from "../faces/a2a-errors.js";
import { type A2aCall, callMethod, type Method, requireMethod, startStream } from "../faces/a2a-methods.js";
import { eventJson } from "../faces/a2a-task.js";
import { type A2aTasks, createA2aTasks, type StartedTask } from "../faces/a2a-tasks.js";
import {
  answerTo,
  failure,
  idOf,
  RPC_ERRORS,
  RpcError,
  type RpcId,
  type RpcRequest,
  readMessage,
  rpcErrorOf,
  success,
} from "../faces/json-rpc.js";
import { createTakesMessages } from "../faces/takes-messages.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { GraphHost } from "../graphs/host.js";
import type { RunManager } from "../runs/manager.js";
import type { ThreadService } from "../threads/threads.js";
import { queryString } from "./query.js";
import { json, noContent, type Route, type RouteRequest, route } from "./route.js";
import { jsonRpcMessage, rpcErrors } from "./rpc-errors.js";
import { type HeaderRules, toRequestHeaders } from "./run-request.js";
import type { RunAnswers } from "./run-stream.js";
import { assistantIdOrGraphId, jsonObject } from "./schemas.js";
import { SSE_HEADERS, SSE_HEARTBEAT } from "./sse.js";

export interface A2aRoutesDeps {
  readonly manager: PerCaller<RunManager>;
  readonly threads: PerCaller<ThreadService>;
  readonly assistants: PerCaller<AssistantService>;
  readonly host: Pick<GraphHost, "schemas">;
  readonly now: () => number;
  readonly answers: RunAnswers;
  readonly headerRules: HeaderRules;
  /** Where clients find this server; null: where the request came. */
  readonly publicUrl: string | null;
}

const agentParams = z.object({ assistant_id: assistantIdOrGraphId });

const CARD = {
  description: "The card, for clients of both versions",
  schema: jsonObject,
};

type A2aRequest = RouteRequest<{ readonly assistant_id: string }, unknown, Json>;

/** What a request asks, understood. */
interface Asked {
  readonly id: RpcId;
  readonly method: Method;
  readonly call: Omit<A2aCall, "client" | "attend">;
  /** As the client. */
  readonly tasks: A2aTasks;
}

export function a2aRoutes({ assistants, answers, headerRules, publicUrl, ...deps }: A2aRoutesDeps): Route[] {
  const takesMessages = createTakesMessages(deps.host);

  function tasksOf(caller: Caller): A2aTasks {
    const { manager, threads, now } = deps;
    return createA2aTasks({ manager: manager.as(caller), threads: threads.as(caller), takesMessages, now });
  }

  function requireAgent({ caller }: Pick<A2aRequest, "caller">, idOrGraphId: string): Promise<Assistant> {
    return assistants.as(caller).requireForRun(idOrGraphId);
  }

  function cardOf(assistant: Assistant, request: Pick<A2aRequest, "url" | "headers">): JsonObject {
    return agentCard(assistant, `${publicUrl ?? baseUrl(request)}/a2a/${encodeURIComponent(assistant.assistantId)}`);
  }

  async function answer(assistant: Assistant, message: RpcRequest, request: A2aRequest): Promise<Response> {
    const { id, params } = message;
    const method = requireMethod(message.method);
    const call = {
      assistant,
      params,
      family: method.family,
      headers: toRequestHeaders(request.headers, headerRules),
      historyScope: request.headers.get("langgraph-a2a-history-scope"),
      card: () => cardOf(assistant, request),
    };
    const { action } = method;
    const tasks = tasksOf(request.caller);
    if (action === "stream" || action === "subscribe") return stream({ id, method, call, tasks }, action, request);
    return answers.whole(request, async (client) => {
      const attend: A2aCall["attend"] = (task, work) => answers.attend(watched(task), client, work);
      const told = await answerTo(request.body, () => callMethod(tasks, action, { ...call, client, attend }));
      return told === undefined ? "" : JSON.stringify(told); // nobody is there to read nothing
    });
  }

  async function stream(
    { id, method, call, tasks }: Asked,
    action: "stream" | "subscribe",
    request: A2aRequest,
  ): Promise<Response> {
    const accepted = request.headers.get("accept") ?? "";
    if (!/text\/(event-stream|\*)|\*\/\*/i.test(accepted)) {
      return json(failure(id, new RpcError(RPC_ERRORS.invalidRequest, "Accept: expected text/event-stream")), {
        status: 400,
      });
    }
    try {
      request.enterStream();
      const task = await startStream(tasks, action, call);
      return answers.say(watched(task), request, {
        headers: SSE_HEADERS,
        heartbeat: SSE_HEARTBEAT,
        chunks: (left) => framesOf(tasks, task, { id, family: method.family }, left),
      });
    } catch (error) {
      const told = rpcErrorOf(error);
      if (told === undefined) throw error;
      return new Response(frame(failure(id, told)), { headers: SSE_HEADERS }); // clients of streams read errors there
    }
  }

  return [
    route({
      method: "post",
      path: "/a2a/{assistant_id}",
      summary: "Speak A2A with an assistant",
      tag: "a2a",
      params: agentParams,
      body: jsonRpcMessage,
      responses: {
        200: {
          description:
            "The answer, errors of the method included; of a method that streams an event stream of answers. Newlines before it keep the connection alive",
          schema: jsonObject,
        },
        202: "It wanted no answer",
      },
      errors: rpcErrors,
      async handle(request) {
        const assistant = await requireAgent(request, request.params.assistant_id);
        const { body } = request;
        try {
          requireVersion(request.headers);
          const message = readMessage(body);
          if (message.kind === "notice") return noContent(202);
          return await answer(assistant, message, request);
        } catch (error) {
          const told = rpcErrorOf(error);
          if (told === undefined) throw error;
          return json(failure(idOf(body), told), { status: NOT_UNDERSTOOD.has(told.code) ? 400 : 200 });
        }
      },
    }),
    route({
      method: "get",
      path: "/a2a/{assistant_id}/.well-known/agent-card.json",
      summary: "Get the agent card of an assistant",
      tag: "a2a",
      params: agentParams,
      responses: { 200: CARD },
      handle: async (request) => json(cardOf(await requireAgent(request, request.params.assistant_id), request)),
    }),
    route({
      method: "get",
      path: "/.well-known/agent-card.json",
      summary: "Get the agent card of an assistant",
      tag: "a2a",
      query: z.object({ assistant_id: queryString() }),
      responses: { 200: CARD },
      async handle(request) {
        const { assistant_id: assistantId } = request.query;
        if (assistantId === undefined) throw invalid("query.assistant_id: name the assistant");
        return json(cardOf(await requireAgent(request, assistantId), request));
      },
    }),
  ];
}

/** A task goes on without its client. */
function watched({ heard }: StartedTask) {
  return { reading: heard.reading, cancelOnDisconnect: false };
}

async function* framesOf(
  tasks: A2aTasks,
  task: StartedTask,
  { id, family }: { readonly id: RpcId; readonly family: Method["family"] },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const events of tasks.follow(task, signal)) {
    const frames = events.map((event) => frame(success(id, eventJson(event, task.ids, family))));
    if (frames.length > 0) yield Buffer.from(frames.join(""));
  }
}

function frame(message: JsonObject): string {
  return `data: ${JSON.stringify(message)}\n\n`;
}

/** Errors of the request itself, rather than of what it asks. */
const NOT_UNDERSTOOD: ReadonlySet<number> = new Set([RPC_ERRORS.parse, RPC_ERRORS.invalidRequest, A2A_ERRORS.version]);

/** 0.3 is what clients mean that say nothing. */
function requireVersion(headers: Headers): void {
  const version = headers.get("a2a-version")?.trim() ?? "";
  if (version === "" || /^(0\.3|1\.0)(\.\d+)?$/.test(version)) return;
  throw new RpcError(
    A2A_ERRORS.version,
    `A2A-Version: expected 0.3 or 1.0, not ${JSON.stringify(version.slice(0, 64))}`,
  );
}

/** The address under which the whole API is, as this request came. A proxy may speak https to clients. */
function baseUrl({ url, headers }: Pick<A2aRequest, "url" | "headers">): string {
  const { origin, pathname } = new URL(url);
  const forwarded = headers.get("x-forwarded-proto");
  const shown = forwarded === "https" ? origin.replace(/^http:/, "https:") : origin;
  return (
    shown + pathname.replace(/\/(a2a\/[^/]+(\/\.well-known\/agent-card\.json)?|\.well-known\/agent-card\.json)\/*$/, "")
  );
}
