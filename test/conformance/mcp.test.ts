/** MCP, spoken to by its official client. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let mcp: Client;
let send: Send;

beforeAll(async () => {
  const chats = ["weather", "described", "greeter", "patient"].map((name) => [
    name,
    `./test/support/chat-graphs.ts:${name}`,
  ]);
  gateway = await startTestGateway({
    config: {
      graphs: {
        ...Object.fromEntries(chats),
        echo: { path: "./test/support/graphs.ts:echo", description: "Says it again" },
        counter: "./test/support/graphs.ts:counter",
      },
      runs: { disconnect_grace_seconds: 0 },
    },
  });
  send = sender(gateway.url);
  mcp = await connect();
});
afterAll(async () => {
  await mcp?.close();
  await gateway?.stop();
});

async function connect(path = "/mcp"): Promise<Client> {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(gateway.url + path)) as never); // its own types differ by `undefined`
  return client;
}

const toolsOf = async () => new Map((await mcp.listTools()).tools.map((tool) => [tool.name, tool]));
const call = (name: string, args: Record<string, unknown>) => mcp.callTool({ name, arguments: args });

const ACCEPT = { accept: "application/json, text/event-stream" };
const request = (method: string, params: object = {}, id: unknown = 1) => ({ jsonrpc: "2.0", id, method, params });
const post = (body: unknown, headers: Record<string, string> = ACCEPT) => send("POST", "/mcp", body, headers);

describe("a client", () => {
  it("connects, under every base path, with a slash or without", async () => {
    expect(mcp.getServerVersion()).toMatchObject({ name: "heddle", version: expect.any(String) });
    expect(mcp.getServerCapabilities()).toEqual({ tools: { listChanged: false } });
    await mcp.ping();
    for (const path of ["/mcp/", "/api/mcp"]) await (await connect(path)).close();
  });

  it("gets its version of the protocol where we speak it, else the newest", async () => {
    const initialize = async (protocolVersion: string) =>
      (
        await post(
          request("initialize", { protocolVersion, capabilities: {}, clientInfo: { name: "t", version: "1" } }),
        )
      ).body;
    expect(await initialize("2025-03-26")).toMatchObject({ result: { protocolVersion: "2025-03-26" } });
    expect(await initialize("1999-01-01")).toMatchObject({ result: { protocolVersion: "2025-11-25" } });
    expect(await post(request("ping"), { ...ACCEPT, "mcp-protocol-version": "1999-01-01" })).toMatchObject({
      status: 400,
      body: { error: { code: -32600, message: expect.stringContaining("MCP-Protocol-Version") } },
    });
  });
});

describe("tools", () => {
  it("are the assistants, with what their graphs take", async () => {
    const tools = await toolsOf();
    expect([...tools.keys()].sort()).toEqual(["counter", "described", "echo", "greeter", "patient", "weather"]);
    expect(tools.get("echo")).toMatchObject({
      name: "echo",
      title: "echo",
      description: "Says it again",
      inputSchema: { type: "object", properties: { messages: { type: "array" } } }, // from the types of its source
    });
    expect(tools.get("weather")?.inputSchema).toMatchObject({
      type: "object",
      properties: { city: { type: "string", description: "Which one" } },
    });
    expect(tools.get("described")?.inputSchema.properties).toMatchObject({
      messages: { type: "array", items: { type: "object", required: ["role", "content"] } },
      context: { type: "object", properties: { tone: { type: "string" } } },
    });
  });

  it("have names of their own, which later assistants do not change", async () => {
    const made = [];
    for (const name of ["echo", "echo", "Wëird name!"]) {
      made.push(await gateway.client.assistants.create({ graphId: "counter", name }));
    }
    const names = [...(await toolsOf()).keys()];
    const suffix = made.map(({ assistant_id: id }) => id.slice(-8));
    expect(names).toEqual(expect.arrayContaining(["echo", `echo_${suffix[0]}`, `echo_${suffix[1]}`, "Weird_name"]));
    expect((await call(`echo_${suffix[1]}`, {})).structuredContent).toMatchObject({ count: 1 });
    for (const { assistant_id: id } of made) await gateway.client.assistants.delete(id);
  });

  it("come in pages, each once", async () => {
    const made = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        gateway.client.assistants.create({ graphId: "echo", name: `page ${index}` }),
      ),
    );
    const first = await mcp.listTools();
    expect(first.tools).toHaveLength(50);
    await gateway.client.assistants.delete(made[0]?.assistant_id ?? ""); // what went before does not matter
    const second = await mcp.listTools({ cursor: first.nextCursor });
    expect(second.nextCursor).toBeUndefined();
    const names = [...first.tools, ...second.tools].map(({ name }) => name);
    expect(names).toHaveLength(66);
    expect(new Set(names).size).toBe(66);
    await expect(mcp.listTools({ cursor: "nonsense" })).rejects.toMatchObject({ code: -32602 });
    for (const { assistant_id: id } of made.slice(1)) await gateway.client.assistants.delete(id);
  });
});

describe("a call", () => {
  it("is a run that leaves nothing behind, and answers with its output", async () => {
    const result = await call("weather", { city: "Paris" });
    const output = { city: "Paris", report: "sunny in Paris" };
    expect(result).toEqual({
      content: [{ type: "text", text: JSON.stringify(output) }],
      structuredContent: output,
      isError: false,
    });
    expect(await gateway.client.threads.search()).toEqual([]);
  });

  it("gives messages and context to the graph", async () => {
    const result = await call("described", { messages: [{ role: "user", content: "hi" }], context: { tone: "warm" } });
    expect(result.structuredContent).toMatchObject({
      messages: [
        { type: "human", content: "hi" },
        { type: "ai", content: "warm: hi" },
      ],
    });
  });

  it("of a graph that fails, or asks something, is an error of the tool", async () => {
    expect(await call("weather", { city: "Atlantis" })).toMatchObject({
      isError: true,
      content: [{ type: "text", text: "RangeError: it is under water" }],
    });
    const asked = await call("greeter", { messages: [{ role: "user", content: "hi" }] });
    expect(asked).toMatchObject({ isError: true, content: [{ text: expect.stringContaining("Your name?") }] });
    expect(await gateway.client.threads.search()).toEqual([]);
  });

  it("whose client goes is cancelled", async () => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "patient",
      name: "left",
      config: { configurable: { gate: "mcp-left" } },
    });
    const client = await connect();
    const asked = client.callTool({ name: "left", arguments: { messages: [] } });
    asked.catch(() => {}); // looked at below
    await arrivedAt("mcp-left");
    await client.close();
    await expect(asked).rejects.toThrow();
    await expect.poll(() => gateway.client.threads.search()).toEqual([]);
    await gateway.client.assistants.delete(id);
  });

  it("that cannot be made is an error of the call", async () => {
    await expect(call("nobody", {})).rejects.toMatchObject({
      code: -32602,
      message: expect.stringContaining("nobody"),
    });
    expect((await post(request("tools/call", { name: "echo", arguments: [1] }))).body).toMatchObject({
      error: { code: -32602, message: expect.stringContaining("arguments") },
    });
    expect((await post(request("tools/call", { name: "echo", arguments: { lg_name: "Command" } }))).body).toMatchObject(
      { error: { code: -32602, message: expect.stringContaining("Command") } },
    );
  });
});

describe("on the wire", () => {
  it("a notification, and an answer that nobody asked for, is accepted", async () => {
    for (const body of [
      { jsonrpc: "2.0", method: "notifications/initialized" },
      { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } },
      { jsonrpc: "2.0", id: 1, result: {} },
      [{ jsonrpc: "2.0", method: "notifications/initialized" }],
    ]) {
      expect(await post(body)).toMatchObject({ status: 202, body: undefined });
    }
  });

  it("a batch is answered by what in it wants an answer", async () => {
    const { status, body } = await post([
      request("ping", {}, "a"),
      { jsonrpc: "2.0", method: "notifications/initialized" },
      request("tools/call", { name: "weather", arguments: { city: "Rome" } }, 2),
      request("nothing", {}, 3),
      { jsonrpc: "1.0", id: 4 },
    ]);
    expect(status).toBe(200);
    expect(body).toMatchObject([
      { jsonrpc: "2.0", id: "a", result: {} },
      { id: 2, result: { structuredContent: { report: "sunny in Rome" } } },
      { id: 3, error: { code: -32601 } },
      { id: 4, error: { code: -32600 } },
    ]);
    expect(body).toHaveLength(4);
    expect(await post([])).toMatchObject({ status: 400, body: { error: { code: -32600 } } });
  });

  it("what is no message is refused", async () => {
    expect(await post("{")).toMatchObject({ status: 400, body: { jsonrpc: "2.0", id: null, error: { code: -32700 } } });
    for (const body of [{}, { jsonrpc: "2.0", id: 7 }, { id: 7, method: "ping" }]) {
      expect(await post(body)).toMatchObject({ status: 400, body: { error: { code: -32600 } } });
    }
    expect(await post('"text"')).toMatchObject({ status: 400, body: { error: { code: -32600 } } });
  });

  it("what no server of tools has is no method", async () => {
    await expect(mcp.listPrompts()).rejects.toThrow(); // the client knows from the capabilities
    expect((await post(request("prompts/list"))).body).toMatchObject({ id: 1, error: { code: -32601 } });
  });

  it.each([
    ["nothing", {}],
    ["JSON alone", { accept: "application/json" }],
    ["events alone", { accept: "text/event-stream" }],
    ["pages", { accept: "text/html" }],
  ])("a client that accepts %s is refused", async (_what, headers) => {
    const accept = { accept: "", ...headers };
    expect(await post(request("ping"), accept)).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining("Accept") } },
    });
  });

  it("there is no stream and no session", async () => {
    const get = await send("GET", "/mcp", undefined, { accept: "text/event-stream" });
    expect(get).toMatchObject({ status: 405, body: { jsonrpc: "2.0", id: null } });
    expect(get.headers.get("allow")).toBe("POST");
    expect(await send("DELETE", "/mcp")).toMatchObject({ status: 404, body: { jsonrpc: "2.0" } });
  });
});

it("a call that takes its time is kept alive, and is JSON all the same", async () => {
  const { assistant_id: id } = await gateway.client.assistants.create({
    graphId: "patient",
    name: "slow",
    config: { configurable: { gate: "mcp-slow" } },
  });
  const response = await fetch(`${gateway.url}/mcp`, {
    method: "POST",
    headers: ACCEPT,
    body: JSON.stringify(request("tools/call", { name: "slow", arguments: { messages: [] } })),
  });
  expect(response.status).toBe(200); // before there is an answer
  expect(response.headers.get("content-type")).toBe("application/json");
  await arrivedAt("mcp-slow");
  openGate("mcp-slow");
  expect(await response.json()).toMatchObject({ result: { isError: false } });
  await gateway.client.assistants.delete(id);
});
