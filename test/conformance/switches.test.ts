/** Who may come from where (CORS), and route groups that the configuration switches off. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

const ECHO = { graphs: { echo: "./test/support/graphs.ts:echo" } };

/** One gateway for the tests of a group. */
function gatewayWith(server: Record<string, unknown>): { send: Send } {
  let gateway: TestGateway | undefined;
  beforeAll(async () => {
    gateway = await startTestGateway({ config: { ...ECHO, server } });
  });
  afterAll(() => gateway?.stop());
  return { send: (...request) => sender(gateway?.url ?? "")(...request) };
}

const preflight = (origin: string): Readonly<Record<string, string>> => ({
  origin,
  "access-control-request-method": "POST",
  "access-control-request-headers": "content-type,x-api-key,last-event-id",
});

describe("by default", () => {
  const { send } = gatewayWith({});

  it.each(["http://localhost:3000", "http://127.0.0.1", "https://localhost", "http://[::1]:5173"])(
    "a page of %s may use the gateway",
    async (origin) => {
      const asked = await send("OPTIONS", "/threads", undefined, preflight(origin));
      expect(asked.status).toBe(204);
      expect(asked.headers.get("access-control-allow-origin")).toBe(origin);
      expect(asked.headers.get("access-control-allow-methods")).toBe("GET,POST,PUT,PATCH,DELETE,OPTIONS");
      expect(asked.headers.get("access-control-allow-headers")).toBe("content-type,x-api-key,last-event-id");
      expect(asked.headers.get("vary")).toMatch(/origin/i);
      for (const [path, status] of [
        ["/ok", 200],
        ["/threads/missing", 404],
        ["/nope", 404],
        ["/metrics?format=x", 422],
      ] as const) {
        const answer = await send("GET", path, undefined, { origin, "sec-fetch-site": "cross-site" });
        expect(answer.status).toBe(status);
        expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
        const exposed = answer.headers.get("access-control-expose-headers")?.toLowerCase().split(",");
        expect(exposed).toEqual(
          expect.arrayContaining([
            "content-location",
            "location",
            "x-pagination-total",
            "x-pagination-next",
            "x-request-id",
          ]),
        );
      }
    },
  );

  it.each([
    "https://evil.example",
    "http://localhost.evil.example",
    "http://evil.example/http://localhost",
    "http://notlocalhost:80",
    "null",
  ])("a page of %s may not, not even with text that needs no preflight", async (origin) => {
    const asked = await send("OPTIONS", "/threads", undefined, preflight(origin));
    expect(asked.headers.get("access-control-allow-origin")).toBeNull();
    for (const site of ["cross-site", "same-site"]) {
      const headers = { origin, "sec-fetch-site": site, "content-type": "text/plain" };
      const refused = await send("POST", "/threads", '{"thread_id":"forged"}', headers);
      expect(refused).toMatchObject({ status: 403, body: { code: "forbidden" } });
      expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    }
    expect(await send("GET", "/threads/forged")).toMatchObject({ status: 404 });
  });

  it("a page of the gateway's own origin may, behind any proxy, and so may what is no browser", async () => {
    const own = { origin: "https://agents.example", "sec-fetch-site": "same-origin" };
    expect(await send("POST", "/threads", {}, own)).toMatchObject({ status: 200 });
    expect(await send("POST", "/threads", {}, { origin: "https://script.example" })).toMatchObject({ status: 200 });
    expect(await send("GET", "/docs", undefined, { "sec-fetch-site": "cross-site" })).toMatchObject({ status: 200 });
  });
});

describe("with origins, headers and methods of its own", () => {
  const cors = {
    allow_origins: ["https://app.example"],
    allow_origin_regex: "https://[a-z]+\\.preview\\.example",
    allow_credentials: true,
    allow_headers: ["content-type"],
    allow_methods: ["GET", "POST"],
    expose_headers: ["x-extra", "x-request-id"],
    max_age: 7,
  };
  const { send } = gatewayWith({ cors });

  it("allows what the configuration names, with credentials", async () => {
    for (const origin of ["https://app.example", "https://pr.preview.example"]) {
      const { headers } = await send("OPTIONS", "/threads", undefined, preflight(origin));
      expect(headers.get("access-control-allow-origin")).toBe(origin);
      expect(headers.get("access-control-allow-credentials")).toBe("true");
      expect(headers.get("access-control-allow-headers")).toBe("content-type");
      expect(headers.get("access-control-allow-methods")).toBe("GET,POST");
      expect(headers.get("access-control-max-age")).toBe("7");
    }
    const { headers } = await send("GET", "/ok", undefined, { origin: "https://app.example" });
    expect(headers.get("access-control-expose-headers")?.split(",").sort()).toEqual(
      [
        "Content-Location",
        "Location",
        "Retry-After",
        "X-Pagination-Next",
        "X-Pagination-Total",
        "X-Thread-Id",
        "x-extra",
        "x-request-id",
      ].sort(),
    );
  });

  it("refuses others, localhost included", async () => {
    for (const origin of ["http://localhost:3000", "https://a.preview.example.evil.example"]) {
      const { headers } = await send("OPTIONS", "/threads", undefined, preflight(origin));
      expect(headers.get("access-control-allow-origin")).toBeNull();
    }
  });
});

describe("with any origin", () => {
  const { send } = gatewayWith({ cors: { allow_origins: ["*"] } });

  it("answers * and no credentials", async () => {
    const headers = { origin: "https://anything.example", "sec-fetch-site": "cross-site" };
    const answer = await send("POST", "/threads", {}, headers);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
  });
});

describe("a switched-off group has no routes, the others have theirs", () => {
  const probes: Record<string, [method: string, path: string]> = {
    disable_assistants: ["POST", "/assistants/search"],
    disable_threads: ["POST", "/threads/search"],
    disable_runs: ["POST", "/runs/cancel"],
    disable_store: ["POST", "/store/items/search"],
    disable_meta: ["GET", "/info"],
    disable_openai: ["GET", "/v1/models"],
    disable_mcp: ["POST", "/mcp"],
    disable_a2a: ["GET", "/a2a/echo/.well-known/agent-card.json"],
  };
  const noRoute = { status: 404, body: { detail: expect.stringMatching(/^no route/) } };

  describe.each(Object.keys(probes))("%s", (switched) => {
    const { send } = gatewayWith({ [switched]: true });

    it("is off alone", async () => {
      for (const [name, [method, path]] of Object.entries(probes)) {
        const answer = await send(method, path, method === "POST" ? {} : undefined);
        if (name === switched) expect(answer).toMatchObject(noRoute);
        else expect(answer).not.toMatchObject(noRoute);
      }
      expect(await send("GET", "/ok?check_db=1")).toMatchObject({ status: 200, body: { ok: true } });
      if (switched === "disable_meta") {
        for (const path of ["/metrics", "/docs", "/openapi.json"])
          expect(await send("GET", path)).toMatchObject(noRoute);
        return;
      }
      const { body } = await send("GET", "/openapi.json");
      const paths = Object.keys((body as { paths: object }).paths);
      expect(paths).not.toContain(probes[switched]?.[1]);
      const { body: info } = await send("GET", "/info");
      const flags = Object.fromEntries(
        ["assistants", "openai", "mcp", "a2a"].map((name) => [name, switched !== `disable_${name}`]),
      );
      expect(info).toMatchObject({ flags });
    });
  });
});

describe("with one base path", () => {
  const { send } = gatewayWith({ base_paths: ["/agents/v1"] });

  it("serves under it and nowhere else", async () => {
    expect(await send("GET", "/agents/v1/ok")).toMatchObject({ status: 200 });
    expect(await send("GET", "/agents/v1/threads/missing")).toMatchObject({ status: 404, body: { code: "not_found" } });
    for (const path of ["/ok", "/api/ok", "/agents/ok"]) {
      expect(await send("GET", path)).toMatchObject({ status: 404, body: { detail: `no route GET ${path}` } });
    }
  });
});
