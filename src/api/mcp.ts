/** MCP over Streamable HTTP, without sessions: every request stands for itself, every answer is one JSON document. */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import { GatewayError } from "../core/errors.js";
import type { Json, JsonObject } from "../core/model.js";
import {
  answerTo,
  failure,
  idOf,
  RPC_ERRORS,
  RpcError,
  type RpcRequest,
  readMessage,
  rpcErrorOf,
} from "../faces/json-rpc.js";
import { createMcpServer, MCP_VERSIONS, type McpServer, type McpServerDeps } from "../faces/mcp.js";
import type { RequestHeaders } from "../faces/run-request.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { RunManager } from "../runs/manager.js";
import { json, noContent, type Route, type RouteRequest, rawJson, route } from "./route.js";
import { jsonRpcMessage, rpcErrors } from "./rpc-errors.js";
import { type HeaderRules, toRequestHeaders } from "./run-request.js";
import type { RunAnswers } from "./run-stream.js";

export interface McpRoutesDeps extends Pick<McpServerDeps, "host" | "version"> {
  readonly manager: PerCaller<RunManager>;
  readonly assistants: PerCaller<AssistantService>;
  readonly answers: RunAnswers;
  readonly headerRules: HeaderRules;
}

const MAX_BATCH = 100;

const body = z.union([jsonRpcMessage, z.array(jsonRpcMessage)]) as z.ZodType<Json>;

type McpRequest = RouteRequest<unknown, unknown, Json>;

export function mcpRoutes({ answers, headerRules, manager, assistants, host, version }: McpRoutesDeps): Route[] {
  const serverFor = (caller: Caller): McpServer =>
    createMcpServer({ manager: manager.as(caller), assistants: assistants.as(caller), host, version });

  /** A key for the whole request becomes one for each call in it. */
  function headersOf({ id }: RpcRequest, headers: Headers): RequestHeaders {
    const taken = toRequestHeaders(headers, headerRules);
    const { idempotencyKey: key } = taken;
    return key === null ? taken : { ...taken, idempotencyKey: `${key}/${String(id)}` };
  }

  function answerOne(
    value: Json,
    { caller, headers }: McpRequest,
    client: AbortSignal,
  ): Promise<JsonObject | undefined> {
    return answerTo(value, (message) =>
      serverFor(caller).handle({
        ...message,
        headers: headersOf(message, headers),
        resultOf: (reading) =>
          answers.attend({ reading, cancelOnDisconnect: true }, client, (signal) => reading.result(signal)),
      }),
    );
  }

  async function answerAll(values: readonly Json[], request: McpRequest, client: AbortSignal): Promise<string> {
    const told = await Promise.all(values.map((value) => answerOne(value, request, client)));
    return JSON.stringify(told.filter((each) => each !== undefined));
  }

  async function answer(request: McpRequest): Promise<Response> {
    const { body } = request;
    const values = Array.isArray(body) ? (body as readonly Json[]) : [body];
    const problem = malformed(body);
    if (problem !== undefined) return json(failure(idOf(body), problem), { status: 400 });
    if (values.every(isNotice)) return noContent(202);
    const text = async (client: AbortSignal): Promise<string> => {
      const all = await answerAll(values, request, client);
      return Array.isArray(body) ? all : all.slice(1, -1); // the one in the list
    };
    return values.some(isCall) ? answers.whole(request, text) : rawJson(await text(request.signal));
  }

  return [
    route({
      method: "post",
      path: "/mcp",
      summary: "Speak MCP: the assistants are tools",
      tag: "mcp",
      body,
      responses: {
        200: {
          description: "The answer, of a batch the answers; newlines before it keep the connection alive",
          schema: body,
        },
        202: "Nothing in it wanted an answer",
      },
      errors: rpcErrors,
      async handle(request) {
        requireAccepted(request.headers);
        requireVersion(request.headers);
        return answer(request);
      },
    }),
    route({
      method: "get",
      path: "/mcp",
      summary: "This server says nothing unasked",
      tag: "mcp",
      responses: { 405: "There is no stream to open" },
      errors: rpcErrors,
      handle: async () => refusal(405, "this server opens no stream: POST to it", { allow: "POST" }),
    }),
    route({
      method: "delete",
      path: "/mcp",
      summary: "This server has no sessions",
      tag: "mcp",
      responses: { 404: "There is no session to end" },
      errors: rpcErrors,
      handle: async () => refusal(404, "session not found: this server has none"),
    }),
  ];
}

/** What makes the whole body no message at all. */
function malformed(body: Json): RpcError | undefined {
  if (Array.isArray(body)) {
    const isFit = body.length > 0 && body.length <= MAX_BATCH;
    return isFit ? undefined : new RpcError(RPC_ERRORS.invalidRequest, `a batch has 1 to ${MAX_BATCH} messages`);
  }
  try {
    readMessage(body);
    return undefined;
  } catch (error) {
    return rpcErrorOf(error);
  }
}

function isNotice(value: Json): boolean {
  try {
    return readMessage(value).kind === "notice";
  } catch {
    return false; // it is told what is wrong with it
  }
}

/** Whether it runs a graph, which takes its time. */
function isCall(value: Json): boolean {
  return typeof value === "object" && value !== null && "method" in value && value.method === "tools/call";
}

/** The protocol demands both of its clients, whichever the server chooses. */
function requireAccepted(headers: Headers): void {
  const accepted = headers.get("accept")?.toLowerCase() ?? "";
  const takes = (type: string, group: string): boolean =>
    [type, group, "*/*"].some((range) => accepted.includes(range));
  if (takes("application/json", "application/*") && takes("text/event-stream", "text/*")) return;
  throw new GatewayError("validation", "Accept: expected application/json and text/event-stream");
}

function requireVersion(headers: Headers): void {
  const version = headers.get("mcp-protocol-version");
  if (version === null || MCP_VERSIONS.includes(version)) return;
  throw new GatewayError("validation", `MCP-Protocol-Version: expected ${MCP_VERSIONS.join(", ")}`);
}

function refusal(status: 404 | 405, text: string, headers: Record<string, string> = {}): Response {
  return json(failure(null, new RpcError(RPC_ERRORS.invalidRequest, text)), { status, headers });
}
