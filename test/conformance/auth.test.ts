/** Callers and what becomes of them: in runs, over sockets, in streams that outlive rows, in metadata. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import {
  type AuthGateway,
  type AuthUser,
  createUser,
  NO_PERMISSIONS,
  saying,
  startAuthGateway,
} from "../support/auth-world.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { openSse } from "../support/sse-client.js";

let gateway: AuthGateway;
let ada: AuthUser;
let mallory: AuthUser;

beforeAll(async () => {
  gateway = await startAuthGateway("an Auth object");
  [ada, mallory] = await Promise.all([createUser(gateway, "ada"), createUser(gateway, "mallory")]);
});

afterAll(() => gateway.stop());

describe("what a caller makes", () => {
  it("bears the mark that the application's handler gives it, whatever the client says", async () => {
    const { metadata } = await ada.client.threads.create({ metadata: { owner: "mallory", mine: true } });
    expect(metadata).toEqual({ owner: "ada", mine: true });
    const run = await ada.client.runs.create(null, "echo", { input: {}, metadata: { owner: "mallory" } });
    expect(run.metadata).toMatchObject({ owner: "ada" });
  });

  it("stays theirs: nobody gives it away, or takes it", async () => {
    await ada.client.threads.update(ada.thread_id, { metadata: { owner: "mallory", seen: 1 } });
    expect((await ada.client.threads.get(ada.thread_id)).metadata).toMatchObject({ owner: "ada", seen: 1 });
    await ada.client.assistants.update(ada.assistant_id, { metadata: { owner: "mallory" } });
    expect((await ada.client.assistants.get(ada.assistant_id)).metadata).toMatchObject({ owner: "ada" });
  });

  it("is not made twice under one id, nor told of to others", async () => {
    const again = mallory.client.threads.create({ threadId: ada.thread_id, ifExists: "do_nothing" });
    await expect(again).rejects.toThrow(/409/);
    const assistantId = ada.assistant_id;
    const assistant = mallory.client.assistants.create({ graphId: "echo", assistantId, ifExists: "do_nothing" });
    await expect(assistant).rejects.toThrow(/409/);
    const run = mallory.client.runs.create(ada.thread_id, "echo", { input: {}, ifNotExists: "create" });
    await expect(run).rejects.toThrow(/404/);
  });

  it("is copied only by who may see it, and the copy is theirs", async () => {
    const copy = (await ada.client.threads.copy(ada.thread_id)) as unknown as { metadata: object };
    expect(copy.metadata).toMatchObject({ owner: "ada" });
    await expect(mallory.client.threads.copy(ada.thread_id)).rejects.toThrow(/409/);
  });
});

describe("a run", () => {
  it("knows who asked for it, and shows that to no client", async () => {
    const { thread_id: threadId } = await ada.client.threads.create();
    const asked = { config: { configurable: { langgraph_auth_user_id: "mallory", shown: 1 } }, input: {} };
    const run = await ada.client.runs.create(threadId, "counter", asked);
    const { seen } = (await ada.client.runs.join(threadId, run.run_id)) as { seen: { configurable: object } };
    expect(seen.configurable).toMatchObject({
      shown: 1,
      langgraph_auth_user: {
        identity: "ada",
        display_name: "ada",
        is_authenticated: true,
        permissions: ["*"],
        team: "loom",
      },
      langgraph_auth_user_id: "ada",
      langgraph_auth_permissions: ["*"],
    });
    expect(JSON.stringify(await ada.client.runs.get(threadId, run.run_id))).not.toContain("langgraph_auth");
  });

  it("on a graph's own assistant needs no right to read assistants; on somebody's it does", async () => {
    const headers = { authorization: "Bearer ada:threads:create_run" };
    const runOn = async (assistant_id: string) =>
      (await ada.send("POST", "/runs/wait", { assistant_id, input: saying("x") }, headers)).status;
    expect(await runOn("echo")).toBe(200);
    expect(await runOn(ada.assistant_id)).toBe(403);
    expect((await mallory.send("POST", "/runs/wait", { assistant_id: ada.assistant_id, input: {} })).status).toBe(404);
  });

  it("that is made again under another's Idempotency-Key is another run", async () => {
    const key = { "idempotency-key": randomUUID() };
    const make = async (user: AuthUser) =>
      (await user.send("POST", "/runs", { assistant_id: "echo", input: saying("x"), on_completion: "keep" }, key)).body;
    const [first, again, others] = [await make(ada), await make(ada), await make(mallory)] as { run_id: string }[];
    expect(again?.run_id).toBe(first?.run_id);
    expect(others?.run_id).not.toBe(first?.run_id);
  });

  it("that is gone but for its log is read from there by its owner only", async () => {
    const run = await ada.client.runs.create(null, "echo", { input: saying(ada.secret) });
    const path = `/runs/${run.run_id}`;
    expect((await ada.send("GET", `${path}/join`)).body).toBeDefined();
    await expect.poll(async () => (await ada.send("GET", `/threads/${run.thread_id}`)).status).toBe(404);
    const told = await ada.send("GET", `${path}/stream`);
    expect(told.status).toBe(200);
    expect(told.body).toContain(ada.secret);
    expect(told.body).not.toContain("#access");
    expect((await mallory.send("GET", `${path}/stream`)).status).toBe(404);
    expect((await mallory.send("GET", `${path}/join`)).status).toBe(404);
  });
});

describe("a stream", () => {
  it("of a thread that is another's, or that another makes later, tells nothing", async () => {
    const threadId = randomUUID();
    const gate = randomUUID();
    const open = (user: AuthUser) =>
      openSse(`${gateway.url}/threads/${threadId}/stream/events`, {
        method: "POST",
        body: JSON.stringify({ channels: ["lifecycle", "values"] }),
        headers: user.headers,
      });
    const [mine, foreign] = [await open(ada), await open(mallory)];
    const heard = foreign.next().catch(() => undefined);
    const run = await ada.client.runs.create(threadId, "gated", {
      input: { input: 1 },
      config: { configurable: { gate } },
      ifNotExists: "create",
    });
    await arrivedAt(gate);
    openGate(gate);
    await ada.client.runs.join(threadId, run.run_id);
    await mine.until(({ data }) => JSON.stringify(data).includes("completed"));
    await Promise.all([mine.close(), foreign.close()]);
    expect(await heard).toBeUndefined();
    expect(foreign.raw()).not.toContain("event:");
  });
});

describe("a WebSocket", () => {
  async function connect(headers: Record<string, string>, threadId: string) {
    const url = `${gateway.url.replace("http", "ws")}/threads/${threadId}/stream/events`;
    const socket = new WebSocket(url, { headers });
    const refused = once(socket, "unexpected-response").then(
      ([, response]) => (response as { statusCode: number }).statusCode,
    );
    return Promise.race([once(socket, "open").then(() => socket), refused]);
  }

  async function ask(socket: WebSocket, method: string): Promise<unknown> {
    socket.send(JSON.stringify({ id: 1, method }));
    const [data] = (await once(socket, "message")) as [Buffer];
    return JSON.parse(data.toString());
  }

  it("is opened to those who are known, in whose name it does what it is told", async () => {
    expect(await connect({}, ada.thread_id)).toBe(401);
    const mine = await connect(ada.headers, ada.thread_id);
    const foreign = await connect(mallory.headers, ada.thread_id);
    const unpermitted = await connect(gateway.headers("mallory", NO_PERMISSIONS), mallory.thread_id);
    if (typeof mine === "number" || typeof foreign === "number" || typeof unpermitted === "number")
      throw new Error("refused");
    expect(await ask(mine, "state.get")).toMatchObject({ type: "success" });
    expect(await ask(foreign, "state.get")).toMatchObject({
      type: "error",
      message: expect.stringMatching(/not found/),
    });
    expect(await ask(unpermitted, "state.get")).toMatchObject({ type: "error", error: "permission_denied" });
    for (const socket of [mine, foreign, unpermitted]) socket.close();
  });
});

describe("limits", () => {
  it("are each caller's own, and answer 429 with when to come back", async () => {
    const limits = { requests_per_minute: 100, open_streams: 1, runs_in_flight: 2, pending_runs: 1 };
    const limited = await startAuthGateway("an Auth object", { limits });
    try {
      const [first, second] = [await createUser(limited, "ada"), await createUser(limited, "mallory")];
      const gates = [randomUUID(), randomUUID()];
      const start = (user: AuthUser, gate: string, threadId?: string) =>
        user.send("POST", threadId === undefined ? "/runs" : `/threads/${threadId}/runs`, {
          assistant_id: "gated",
          input: { input: 1 },
          config: { configurable: { gate } },
        });
      const [one = "", two = ""] = gates;
      expect((await start(first, one)).status).toBe(200);
      await arrivedAt(one);
      expect((await start(first, two)).status).toBe(200);
      await arrivedAt(two);
      const refused = await start(first, two);
      expect(refused).toMatchObject({ status: 429, body: { detail: expect.stringMatching(/2 runs in flight/) } });
      expect(refused.headers.get("retry-after")).toBe("1");
      expect((await start(second, one)).status).toBe(200);
      for (const gate of gates) openGate(gate);

      const open = (user: AuthUser) =>
        openSse(`${limited.url}/threads/${user.thread_id}/stream`, { headers: user.headers });
      const stream = await open(first);
      expect([stream.status, (await open(first)).status, (await open(second)).status]).toEqual([200, 429, 200]);
      await stream.close();
      await expect.poll(async () => (await open(first)).status).toBe(200);
      const chat = { model: "echo", messages: [{ role: "user", content: "hi" }], stream: true };
      expect(await first.send("POST", "/v1/chat/completions", chat)).toMatchObject({
        status: 429,
        body: { error: { type: "rate_limit_error" } },
      });

      let answer = await first.send("GET", "/metrics");
      while (answer.status === 200) answer = await first.send("GET", "/metrics");
      expect(answer.status).toBe(429);
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
      expect((await second.send("GET", "/metrics")).status).toBe(200);
    } finally {
      await limited.stop();
    }
  });
});
