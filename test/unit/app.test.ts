/** What the HTTP face does for every route, without a server. */
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "../../src/api/app.js";
import { json, type Route, route } from "../../src/api/route.js";
import { systemRoutes } from "../../src/api/system.js";
import { ANYONE } from "../../src/core/caller.js";
import { conflict, threadBusy } from "../../src/core/errors.js";
import { createMetrics } from "../../src/core/metrics.js";
import { storageFailure } from "../../src/storage/failure.js";

const BUSY = threadBusy("busy", { runId: "r", status: "running", createdAt: 0 });

function appOf(routes: readonly Route[], lines: Record<string, unknown>[] = [], isDraining = false) {
  return createApp({
    authenticate: async () => ANYONE,
    explain: storageFailure,
    isDraining: () => isDraining,
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

/** What cuts an answer that said so looks like its end to clients (W2). */
it("while the gateway stops, an answer says that it closes its connection, but for one that may be cut", async () => {
  const answering = (path: string, headers: Record<string, string>): Route =>
    route({
      method: "get",
      path,
      summary: "s",
      tag: "t",
      responses: { 200: z.object({}) },
      handle: async () => json({}, { headers }),
    });
  const app = appOf([answering("/short", {}), answering("/long", { "x-accel-buffering": "no" })], [], true);
  const sent: string[] = [];
  const outgoing = {
    destroy() {},
    setHeader: (name: string, value: string) => sent.push(`${name}: ${value}`),
  };
  await app.request("/long", {}, { outgoing });
  expect(sent).not.toContain("connection: close");
  await app.request("/short", {}, { outgoing });
  expect(sent).toContain("connection: close");
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

  it("tells clients to come back when the disk is full, and logs why", async () => {
    const lines: Record<string, unknown>[] = [];
    const full = Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
    const app = appOf([throwing("/full", "threads", new Error("not written", { cause: full }))], lines);
    const answer = await app.request("/full");
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await answer.json()).toEqual({ detail: expect.stringContaining("disk is full"), code: "unavailable" });
    expect(lines).toContainEqual(expect.objectContaining({ msg: "a request failed", level: 50 }));
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
      readiness: { reason: async () => null },
      metrics: createMetrics(),
      replica: { id: "r", role: "all", leases: () => 0 },
      routes: [],
      hasLangsmith: false,
      bridgeState: () => ({ type: "memory", state: "up" }),
      disabled: {
        assistants: false,
        crons: false,
        eventStreaming: false,
        webhooks: false,
        openai: false,
        mcp: false,
        a2a: false,
        meta,
      },
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
