/** The project's own Hono app: it comes before the built-in routes, and whatever it does is its own request's matter. */
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

const ECHO = "./test/support/graphs.ts:echo";
const HELLO = { messages: [{ type: "human", content: "hello" }] };

/** One gateway with the app for the tests of a group. */
function gatewayWith(config: Record<string, unknown>): { readonly send: Send; readonly gateway: () => TestGateway } {
  let started: TestGateway | undefined;
  const gateway = (): TestGateway => {
    if (started === undefined) throw new Error("it has not started");
    return started;
  };
  beforeAll(async () => {
    const graphs = { echo: ECHO, loopback: "./test/support/loopback-graph.ts:graph" };
    started = await startTestGateway({ config: { graphs, ...config } });
  });
  afterAll(() => started?.stop());
  return { send: (...request) => sender(gateway().url)(...request), gateway };
}

const app = "./test/support/custom-app.ts:app";

describe("an app in front of the gateway", () => {
  const { send, gateway } = gatewayWith({ server: { app, body_limit: 2_000 } });

  it("answers its own routes, with what every answer has, under every base path", async () => {
    for (const path of ["/hello", "/api/hello", "/hello/", "/%68ello"]) {
      const answer = await send("GET", path);
      expect(answer).toMatchObject({ status: 200, body: { hello: "nobody" } });
      expect(answer.headers.get("x-request-id")).toMatch(/./);
      expect(answer.headers.get("x-custom")).toBe("/hello");
    }
  });

  it("leaves the built-in routes to the SDK as they are", async () => {
    const { client } = gateway();
    const thread = await client.threads.create();
    const events: string[] = [];
    for await (const { event } of client.runs.stream(thread.thread_id, "echo", { input: HELLO })) events.push(event);
    expect(events).toContain("values");
    expect(await client.threads.getState(thread.thread_id)).toMatchObject({ next: [] });
    expect(await send("GET", "/nope")).toMatchObject({ status: 404, body: { detail: "no route GET /nope" } });
  });

  it("changes requests and answers", async () => {
    const thread = await send("POST", "/threads", { metadata: { a: 1 } }, { "x-tenant": "loom" });
    expect(thread).toMatchObject({ status: 200, body: { metadata: { a: 1, tenant: "loom" } } });
    expect(await send("GET", "/info")).toMatchObject({ body: { context: "js", mine: true } });
  });

  it("may read a body that a built-in route reads again", async () => {
    const { thread_id } = await gateway().client.threads.create();
    const run = await send("POST", `/threads/${thread_id}/runs/wait`, { assistant_id: "echo", input: HELLO });
    expect(run.status).toBe(200);
    expect(run.headers.get("x-members")).toBe("assistant_id,input");
  });

  it("shadows a built-in route, and only that method of it", async () => {
    const namespaces = await gateway().client.store.listNamespaces();
    expect(namespaces).toEqual({ namespaces: ["shadowed"] });
    expect(await send("GET", "/ok")).toMatchObject({ body: { ok: true } });
    expect(await send("POST", "/ok")).toMatchObject({ body: { mine: true } });
  });

  it.each([
    "/threads/count",
    "/api/threads/count",
    "/%74hreads/count",
    "/api/%74hreads/count",
    "/threads/count/",
    "/api/../threads/count",
  ])("cannot be passed by as %s", async (path) => {
    expect(await send("POST", path, {}, { "x-guard": "closed" })).toMatchObject({ status: 418 });
    expect(await send("POST", path, {})).toMatchObject({ status: 200 });
  });

  it("cannot be passed by over a WebSocket", async () => {
    const { thread_id } = await gateway().client.threads.create();
    for (const base of ["", "/api"]) {
      const url = `${gateway().url}${base}/threads/${thread_id}/stream/events`.replace("http", "ws");
      const open = (headers: Record<string, string>): Promise<number> =>
        new Promise((resolve, reject) => {
          const socket = new WebSocket(url, { headers });
          socket.on("open", () => {
            socket.close();
            resolve(101);
          });
          socket.on("unexpected-response", (_request, response) => {
            resolve(response.statusCode ?? 0);
            response.destroy();
          });
          socket.on("error", reject);
        });
      expect(await open({ "x-guard": "closed" })).toBe(418);
      expect(await open({})).toBe(101);
    }
  });

  it.each([
    ["error", 500, "internal error"],
    ["text", 500, "internal error"],
    ["number", 500, "internal error"],
    ["nothing", 500, "internal error"],
    ["refusal", 403, "not you"],
  ])("that fails by %s answers %i with a detail, and the next request is answered", async (how, status, detail) => {
    expect(await send("GET", `/fails/${how}`)).toMatchObject({ status, body: { detail } });
    expect(await send("GET", "/hello")).toMatchObject({ status: 200 });
  });

  it("may throw the answer that it wants to give", async () => {
    const answer = await fetch(`${gateway().url}/fails/response`);
    expect([answer.status, await answer.text()]).toEqual([402, "pay"]);
  });

  it("reads no body beyond the limit, however it is sent", async () => {
    expect(await send("POST", "/upload", "x".repeat(1_990))).toMatchObject({ body: { size: 1_990 } });
    expect(await send("POST", "/upload", "x".repeat(2_100))).toMatchObject({ status: 413 });
    const chunked = (size: number) =>
      fetch(`${gateway().url}/upload`, {
        method: "POST",
        body: new Blob(["x".repeat(size)]).stream(),
        duplex: "half",
      } as RequestInit);
    expect(await (await chunked(1_990)).json()).toEqual({ size: 1_990 });
    expect((await chunked(2_100)).status).toBe(413);
  });

  it("reaches the gateway by a client without a URL", async () => {
    expect(await send("POST", "/ask", HELLO)).toMatchObject({
      status: 200,
      body: { messages: [{ content: "hello" }, {}] },
    });
    expect(await send("POST", "/ask-stream", HELLO)).toMatchObject({
      body: expect.arrayContaining(["metadata", "values"]),
    });
  });

  it("is not needed for a graph to reach the gateway in the same way", async () => {
    const state = await gateway().client.runs.wait(null, "loopback", { input: {} });
    expect(state).toMatchObject({ status: "idle", said: { messages: [{ content: "from inside" }, {}] } });
  });
});

const auth = { path: "./test/support/auth.ts:auth" };
const ada = { authorization: "Bearer ada" };

describe("where callers are known", () => {
  describe("by default", () => {
    const { send, gateway } = gatewayWith({ server: { app }, auth });

    it("its own routes are for everybody, the built-in ones are not, and its middleware comes first", async () => {
      expect(await send("GET", "/hello")).toMatchObject({ status: 200, body: { hello: "nobody" } });
      expect(await send("POST", "/threads/count", {})).toMatchObject({ status: 401 });
      expect(await send("POST", "/threads/count", {}, { "x-guard": "closed" })).toMatchObject({ status: 418 });
      expect(await send("POST", "/threads/count", {}, ada)).toMatchObject({ status: 200, body: 0 });
    });

    it("a loopback request is who its headers say", async () => {
      const client = new Client({ apiUrl: gateway().url, defaultHeaders: ada });
      await client.threads.create();
      expect(await send("GET", "/count", undefined, ada)).toMatchObject({ body: { threads: 1 } });
      expect(await send("GET", "/count", undefined, { authorization: "Bearer grace" })).toMatchObject({
        body: { threads: 0 },
      });
      expect(await send("GET", "/count")).toMatchObject({ body: { status: 401 } });
    });
  });

  describe("with auth_first", () => {
    const { send } = gatewayWith({ server: { app, middleware_order: "auth_first" }, auth });

    it("nobody unknown reaches its middleware on a built-in path", async () => {
      for (const path of ["/threads/count", "/api/threads/count", "/api/%74hreads/count"]) {
        expect(await send("POST", path, {}, { "x-guard": "closed" })).toMatchObject({ status: 401 });
        expect(await send("POST", path, {}, { "x-guard": "closed", ...ada })).toMatchObject({ status: 418 });
      }
      expect(await send("GET", "/hello")).toMatchObject({ status: 200 });
      expect(await send("GET", "/ok")).toMatchObject({ status: 200 });
    });
  });

  describe("with enable_custom_route_auth", () => {
    const { send } = gatewayWith({ server: { app, enable_custom_route_auth: true }, auth });

    it("its routes are for callers who are known, and told who that is", async () => {
      expect(await send("GET", "/hello")).toMatchObject({ status: 401 });
      expect(await send("GET", "/hello", undefined, ada)).toMatchObject({ body: { hello: "ada" } });
    });

    it("what is for everybody is exactly that, and the app sees nothing of it", async () => {
      expect((await send("GET", "/info")).body).not.toHaveProperty("mine");
      expect((await send("GET", "/ok")).headers.has("x-custom")).toBe(false);
      for (const path of ["/ok", "/info", "/api/ok", "/ok/"]) {
        expect(await send("GET", path)).toMatchObject({ status: 200 });
      }
      for (const path of ["/okay", "/ok/x", "/info.json", "/ok%2fx", "//ok"]) {
        expect(await send("GET", path)).toMatchObject({ status: 401 });
      }
      expect(await send("POST", "/ok")).toMatchObject({ status: 401 });
    });
  });
});

describe("an app with paths under a base path", () => {
  const { send } = gatewayWith({ server: { app: "./test/support/own-api-app.ts:app" } });

  it("keeps them, beside the built-in routes there", async () => {
    expect(await send("GET", "/api/hello")).toMatchObject({ status: 200, body: "hello" });
    expect(await send("GET", "/hello")).toMatchObject({ status: 404 });
    expect(await send("GET", "/api/ok")).toMatchObject({ body: { ok: true } });
  });
});

describe("an app with an error handler of its own", () => {
  const { send } = gatewayWith({ server: { app: "./test/support/own-api-app.ts:careful" } });

  it("answers by it for its own errors, and not for others", async () => {
    expect(await send("GET", "/fails")).toMatchObject({ status: 409, body: { detail: "mine", code: "caught" } });
    expect(await send("GET", "/threads/missing")).toMatchObject({ status: 404, body: { code: "not_found" } });
  });
});

describe("a gateway does not start", () => {
  it.each([
    ["./test/support/nowhere.ts:app", /^server\.app: .*nowhere\.ts does not exist$/],
    ["./test/support/custom-app.ts:missing", /^server\.app: .* is no Hono app$/],
    ["./test/support/graphs.ts:echo", /^server\.app: .* is no Hono app$/],
  ])("with %s for an app", async (path, message) => {
    await expect(startTestGateway({ config: { graphs: { echo: ECHO }, server: { app: path } } })).rejects.toThrow(
      message,
    );
  });
});

it("a stopped gateway leaves nothing that clients without a URL would use", async () => {
  const gateway = await startTestGateway({ config: { graphs: { echo: ECHO } } });
  expect(Symbol.for("langgraph_api:fetch") in globalThis).toBe(true);
  await gateway.stop();
  expect(Symbol.for("langgraph_api:fetch") in globalThis).toBe(false);
});
