/**
 * An MCP server without sessions: one tool per assistant.
 *
 * 1. Nothing is remembered between requests: what a client negotiated stands in its headers.
 * 2. A call is a run on a thread that goes with it, cancelled when its client leaves.
 * 3. Pages of tools go on after a tool, whatever came or went meanwhile.
 */
import type { Assistant, Json, JsonObject } from "../core/model.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { GraphHost } from "../graphs/host.js";
import { isObject } from "../protocol/json-object.js";
import type { RunManager } from "../runs/manager.js";
import type { RunReading } from "../runs/reading.js";
import { allAssistants } from "./assistant-list.js";
import { invalidParams, methodNotFound } from "./json-rpc.js";
import { inputSchema, takesContext, toolNames, toolResult } from "./mcp-tools.js";
import { viewOfResult } from "./run-answer.js";
import { type RequestHeaders, runRequest } from "./run-request.js";

/** The newest first. */
export const MCP_VERSIONS: readonly string[] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
const [NEWEST = ""] = MCP_VERSIONS;

const TOOLS_PER_PAGE = 50;

export interface McpCall {
  readonly method: string;
  readonly params: JsonObject;
  readonly headers: RequestHeaders;
  /** Reads the run's result while the client is there; undefined when it left. */
  readonly resultOf: (reading: RunReading) => Promise<string | undefined>;
}

/** The services as the client. */
export interface McpServerDeps {
  readonly manager: Pick<RunManager, "create" | "readingOf">;
  readonly assistants: Pick<AssistantService, "search">;
  readonly host: Pick<GraphHost, "schemas">;
  /** heddle's. */
  readonly version: string;
}

export interface McpServer {
  /** Throws what `rpcErrorOf` knows; undefined when the client left. */
  handle(call: McpCall): Promise<JsonObject | undefined>;
}

export function createMcpServer({ manager, assistants, host, version }: McpServerDeps): McpServer {
  async function describe([name, assistant]: readonly [string, Assistant]): Promise<JsonObject> {
    const { graphId, config, description } = assistant;
    return {
      name,
      title: assistant.name,
      ...(description === null || description === "" ? {} : { description }),
      inputSchema: inputSchema(await host.schemas(graphId, config)),
    };
  }

  async function listTools({ cursor }: JsonObject): Promise<JsonObject> {
    const tools = [...toolNames(await allAssistants(assistants))];
    const from = cursor === undefined || cursor === null ? 0 : placeAfter(tools, cursor);
    const page = tools.slice(from, from + TOOLS_PER_PAGE);
    const last = page.at(-1);
    const isMore = from + page.length < tools.length && last !== undefined;
    return {
      tools: await Promise.all(page.map(describe)),
      ...(isMore ? { nextCursor: cursorOf(last[1]) } : {}),
    };
  }

  async function callTool({ params, headers, resultOf }: McpCall): Promise<JsonObject | undefined> {
    const { name, arguments: args = {} } = params;
    const assistant = toolNames(await allAssistants(assistants)).get(String(name));
    if (assistant === undefined) throw invalidParams(`unknown tool: ${JSON.stringify(name ?? null)}`);
    if (!isObject(args)) throw invalidParams("arguments: expected an object");
    const { context, ...input } = args;
    const isContext = context !== undefined && takesContext(await host.schemas(assistant.graphId, assistant.config));
    const run = await manager.create(
      null,
      runRequest(
        {
          assistantId: assistant.assistantId,
          ...(isContext ? { input, context: context ?? null } : { input: args }),
          onDisconnect: "cancel",
        },
        headers,
      ),
    );
    const result = await resultOf(manager.readingOf(run));
    return result === undefined ? undefined : toolResult(viewOfResult(result));
  }

  return {
    async handle(call) {
      switch (call.method) {
        case "initialize":
          return {
            protocolVersion: versionFor(call.params.protocolVersion),
            capabilities: { tools: { listChanged: false } },
            serverInfo: { name: "heddle", version },
          };
        case "ping":
          return {};
        case "tools/list":
          return listTools(call.params);
        case "tools/call":
          return callTool(call);
        default:
          throw methodNotFound(call.method);
      }
    },
  };
}

/** A client that speaks no version of ours is told the newest, and decides. */
function versionFor(asked: Json | undefined): string {
  return typeof asked === "string" && MCP_VERSIONS.includes(asked) ? asked : NEWEST;
}

/** Says which tool was the last, by what does not change about it. */
function cursorOf({ createdAt, assistantId }: Assistant): string {
  return Buffer.from(JSON.stringify([createdAt, assistantId])).toString("base64url");
}

function placeAfter(tools: readonly (readonly [string, Assistant])[], cursor: Json): number {
  const [createdAt, assistantId] = readCursor(cursor);
  const next = tools.findIndex(
    ([, tool]) => tool.createdAt > createdAt || (tool.createdAt === createdAt && tool.assistantId > assistantId),
  );
  return next === -1 ? tools.length : next;
}

function readCursor(cursor: Json): readonly [createdAt: number, assistantId: string] {
  try {
    const [createdAt, assistantId] = JSON.parse(Buffer.from(String(cursor), "base64url").toString()) as unknown[];
    if (typeof createdAt === "number" && typeof assistantId === "string") return [createdAt, assistantId];
  } catch {
    // told below, as for any other text that is no cursor
  }
  throw invalidParams("cursor: not one of this server's");
}
