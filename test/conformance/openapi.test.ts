/** `/openapi.json` and `/docs`: whole, true, and served beside each other under every base path. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OpenApiDocument } from "../../src/api/openapi.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let send: Send;
let document: OpenApiDocument;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { graphs: { echo: "./test/support/graphs.ts:echo" } } });
  send = sender(gateway.url);
  document = (await send("GET", "/openapi.json")).body as OpenApiDocument;
});
afterAll(() => gateway?.stop());

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );

/** Every row of the API that this version serves. */
const ROWS = `
  POST /assistants · POST /assistants/search · POST /assistants/count · GET /assistants/{assistant_id}
  PATCH /assistants/{assistant_id} · DELETE /assistants/{assistant_id} · GET /assistants/{assistant_id}/graph
  GET /assistants/{assistant_id}/schemas · GET /assistants/{assistant_id}/subgraphs
  GET /assistants/{assistant_id}/subgraphs/{namespace} · POST /assistants/{assistant_id}/versions
  POST /assistants/{assistant_id}/latest
  POST /threads · POST /threads/search · POST /threads/count · POST /threads/prune · GET /threads/{thread_id}
  GET /threads/search/stream · PATCH /threads/{thread_id} · DELETE /threads/{thread_id} · POST /threads/{thread_id}/copy
  GET /threads/{thread_id}/storage
  GET /threads/{thread_id}/state · POST /threads/{thread_id}/state · PATCH /threads/{thread_id}/state
  GET /threads/{thread_id}/state/{checkpoint_id} · POST /threads/{thread_id}/state/checkpoint
  GET /threads/{thread_id}/history · POST /threads/{thread_id}/history
  POST /threads/{thread_id}/runs · GET /threads/{thread_id}/runs · POST /threads/{thread_id}/runs/stream
  POST /threads/{thread_id}/runs/wait · GET /threads/{thread_id}/runs/{run_id} · DELETE /threads/{thread_id}/runs/{run_id}
  GET /threads/{thread_id}/runs/{run_id}/join · GET /threads/{thread_id}/runs/{run_id}/stream
  POST /threads/{thread_id}/runs/{run_id}/stream · POST /threads/{thread_id}/runs/{run_id}/cancel
  GET /threads/{thread_id}/stream · POST /threads/{thread_id}/commands · POST /threads/{thread_id}/stream/events
  GET /threads/{thread_id}/stream/events
  POST /runs · POST /runs/stream · POST /runs/wait · POST /runs/batch · POST /runs/cancel · GET /runs/{run_id}/stream
  GET /runs/{run_id}/join
  PUT /store/items · GET /store/items · DELETE /store/items · POST /store/items/search · POST /store/namespaces
  GET /v1/models · GET /v1/models/{model} · POST /v1/chat/completions · POST /mcp · GET /mcp · DELETE /mcp
  POST /a2a/{assistant_id} · GET /a2a/{assistant_id}/.well-known/agent-card.json · GET /.well-known/agent-card.json
  GET /ok · GET /info · GET /metrics · GET /openapi.json · GET /docs
`
  .split(/·|\n/)
  .map((row) => row.trim())
  .filter((row) => row !== "");

describe("GET /openapi.json", () => {
  it("is an OpenAPI 3.1 document", () => {
    expect(document).toMatchObject({ openapi: "3.1.0", info: { title: "heddle", version: expect.any(String) } });
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations()) {
      expect(operation.operationId).toMatch(/^[a-z][a-zA-Z0-9_]*$/);
      expect(operation.summary).not.toBe("");
      expect(document.tags).toContainEqual({ name: operation.tags[0] });
      const inPath = operation.parameters.filter((parameter) => parameter.in === "path");
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
      // What says on purpose that there is nothing counts, too.
      const meant = Object.keys(operation.responses).filter((status) => /^(2\d\d|101|404|405)$/.test(status));
      expect(meant.length).toBeGreaterThan(0);
      for (const status of Object.keys(operation.responses)) expect(status).toMatch(/^[1-5](\d\d|XX)$/);
      if (operation.requestBody !== undefined) {
        expect(Object.keys(operation.requestBody.content)).toEqual(["application/json"]);
      }
    }
  });

  it("has no reference to what it does not hold, and no component that nobody refers to", () => {
    const references = new Set(JSON.stringify(document).match(/(?<="\$ref":")[^"]+/g));
    for (const reference of references) {
      expect(reference).toMatch(/^#\/components\//);
      const found = reference
        .slice(2)
        .split("/")
        .reduce((part: unknown, key) => Reflect.get(part as object, key), document);
      expect([reference, typeof found]).toEqual([reference, "object"]);
    }
    for (const name of Object.keys(document.components.schemas)) {
      expect(references).toContain(`#/components/schemas/${name}`);
    }
  });

  it("describes every route that is served", () => {
    const described = operations().map(({ method, path }) => `${method} ${path}`);
    expect(described).toEqual(expect.arrayContaining(ROWS));
  });

  it("describes no route that is not", async () => {
    for (const { method, path } of operations()) {
      const probe = path.replaceAll(/\{\w+\}/g, "none");
      for (const base of ["", "/api"]) {
        const init = method === "GET" ? {} : { body: "{}", headers: { "content-type": "application/json" } };
        const response = await fetch(gateway.url + base + probe, { method, ...init });
        expect(response.status).toBeLessThan(500);
        if (response.status !== 404)
          await response.body?.cancel(); // some go on for ever
        else expect(await response.text()).not.toContain('"detail":"no route');
      }
    }
  });

  it("describes what is answered", async () => {
    const { client } = gateway;
    const thread = await client.threads.create();
    await client.runs.wait(thread.thread_id, "echo", { input: { messages: [] } });
    const [run] = await client.runs.list(thread.thread_id);
    const answers: Record<string, object> = {
      Thread: await client.threads.get(thread.thread_id),
      ThreadState: await client.threads.getState(thread.thread_id),
      Run: run ?? {},
      Assistant: await client.assistants.get("echo"),
      AssistantVersion: (await client.assistants.getVersions("echo"))[0] ?? {},
      Error: (await send("GET", "/threads/none")).body as object,
      ServerInfo: (await send("GET", "/info")).body as object,
    };
    for (const [name, answer] of Object.entries(answers)) {
      const { properties, required } = document.components.schemas[name] as { properties: object; required: string[] };
      expect([name, Object.keys(answer).sort()]).toEqual([name, Object.keys(properties).sort()]);
      expect(Object.keys(answer)).toEqual(expect.arrayContaining(required));
    }
  });

  it("is the same under every base path, relative to where it is", async () => {
    expect((await send("GET", "/api/openapi.json")).body).toEqual(document);
    expect(document.servers).toEqual([{ url: "./" }]);
    for (const at of [`${gateway.url}/openapi.json`, `${gateway.url}/api/openapi.json`]) {
      const server = new URL(document.servers[0]?.url ?? "", at);
      expect((await fetch(new URL("ok", server))).status).toBe(200);
    }
  });
});

describe("GET /docs", () => {
  it.each(["/docs", "/api/docs"])("at %s shows every operation and links to the document beside it", async (path) => {
    const { status, headers, body } = await send("GET", path);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    const page = String(body);
    for (const { operation, path: shown } of operations()) {
      expect(page).toContain(`id="${operation.operationId}"`);
      expect(page).toContain(`<code class="path">${shown}</code>`);
    }
    const link = /href="([^"#]*openapi\.json)"/.exec(page)?.[1] ?? "";
    const linked = await fetch(new URL(link, `${gateway.url}${path}`));
    expect(await linked.json()).toEqual(document);
  });

  it("needs nothing from elsewhere, and every link in it leads somewhere", async () => {
    const page = String((await send("GET", "/docs")).body);
    expect(page).not.toMatch(/<script|src=|@import|https?:\/\//);
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    const targets = [...page.matchAll(/href="#([^"]+)"/g)].map(([, target]) => target);
    expect(targets.length).toBeGreaterThan(10);
    for (const target of targets) expect(ids).toContain(target);
  });
});
