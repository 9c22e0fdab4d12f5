/** What the HTTP face does for every route, without a server. */
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "../../src/api/app.js";
import { json, type Route, route } from "../../src/api/route.js";
import { systemRoutes } from "../../src/api/system.js";
import { conflict, threadBusy } from "../../src/core/errors.js";
import { createMetrics } from "../../src/core/metrics.js";

const BUSY = threadBusy("busy", { runId: "r", status: "running", createdAt: 0 });

function appOf(routes: readonly Route[], lines: Record<string, unknown>[] = []) {
  return createApp({
    routes,
    basePaths: ["/"],
    cors: {
      allowOrigins: [],
      allowOriginPattern: null,
      allowMethods: ["GET"],
      allowHeaders: ["*"],
      allowCredentials: false,
      exposeHeaders: [],
      maxAge: 0,
    },
    bodyLimit: 1_000,
    rejectStatus: 422,
    log: pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    metrics: createMetrics(),
    now: () => 0,
  });
}

const throwing = (path: string, tag: string, error: unknown): Route =>
  route({
    method: "get",
    path,
    summary: "s",
    tag,
    responses: { 200: z.object({}) },
    async handle() {
      throw error;
    },
  });

describe("an error", () => {
  it("that nobody expected shows nothing of itself to clients, and all to the log", async () => {
    const lines: Record<string, unknown>[] = [];
    const app = appOf([throwing("/bug", "t", new Error("s3cret"))], lines);
    const answer = await app.request("/bug", { headers: { "x-request-id": "r1" } });
    expect(answer.status).toBe(500);
    expect(await answer.json()).toEqual({ detail: "internal error", code: "internal" });
    expect(answer.headers.get("x-request-id")).toBe("r1");
    expect(lines).toMatchObject([
      { level: 50, msg: "a request failed", requestId: "r1", err: { message: "s3cret" } },
      { msg: "request", status: 500, requestId: "r1" },
    ]);
  });

  it("that was expected carries what a client can act on, and is no error in the log", async () => {
    const lines: Record<string, unknown>[] = [];
    const app = appOf([throwing("/c", "t", conflict("taken", { hint: 1 }))], lines);
    const answer = await app.request("/c");
    expect(answer.status).toBe(409);
    expect(await answer.json()).toEqual({ detail: "taken", code: "conflict", hint: 1 });
    expect(lines).toMatchObject([{ level: 30, msg: "request" }]);
  });

  it("of a busy thread has the compatible status for runs, and 409 for everything else", async () => {
    const app = appOf([
      throwing("/a", "runs", BUSY),
      throwing("/b", "stateless runs", BUSY),
      throwing("/c", "state", BUSY),
      throwing("/d", "threads", BUSY),
    ]);
    const statuses = await Promise.all(["/a", "/b", "/c", "/d"].map(async (path) => (await app.request(path)).status));
    expect(statuses).toEqual([422, 422, 409, 409]);
  });
});

describe("a handler", () => {
  it("gets its parts parsed, whatever the content type says", async () => {
    const app = appOf([
      route({
        method: "post",
        path: "/echo/{name}",
        summary: "s",
        tag: "t",
        params: z.object({ name: z.string() }),
        body: z.object({ n: z.number() }),
        responses: { 200: z.object({}) },
        handle: async ({ params, body }) => json({ ...params, ...body }),
      }),
    ]);
    for (const type of ["application/json", "text/plain", "application/octet-stream", "multipart/form-data"]) {
      const init = { method: "POST", body: '{"n":1,"other":2}', headers: { "content-type": type } };
      expect(await (await app.request("/echo/a%20%C3%A9", init)).json()).toEqual({ name: "a é", n: 1 });
    }
  });

  it("is asked for HEAD, too, and for a path with a slash at its end", async () => {
    const ok = { method: "get", path: "/ok", summary: "s", tag: "t", responses: { 200: z.object({}) } } as const;
    const app = appOf([route({ ...ok, handle: async () => json({ ok: true }) })]);
    const head = await app.request("/ok", { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect((await app.request("/ok/")).status).toBe(200);
  });
});

describe("GET /ok", () => {
  const routes = (countPending: () => Promise<number>, meta: boolean): Route[] =>
    systemRoutes({
      version: "1",
      langgraphVersion: "1",
      runs: { countPending } as never, // the one thing that a health check asks of it
      metrics: createMetrics(),
      routes: [],
      disabled: { assistants: false, meta },
    });
  const broken = async (): Promise<number> => {
    throw new Error("disk I/O error");
  };

  it("fails with check_db when the database does not answer, and only then", async () => {
    const app = appOf(routes(broken, false));
    expect((await app.request("/ok")).status).toBe(200);
    const checked = await app.request("/ok?check_db=1");
    expect(checked.status).toBe(503);
    expect(await checked.json()).toEqual({
      detail: "the database does not answer: disk I/O error",
      code: "unavailable",
    });
    expect((await appOf(routes(async () => 0, false)).request("/ok?check_db=1")).status).toBe(200);
  });

  it("checks nothing when the meta routes are switched off", async () => {
    expect((await appOf(routes(broken, true)).request("/ok?check_db=1")).status).toBe(200);
  });
});
