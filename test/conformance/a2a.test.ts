/** A2A, spoken to by the official clients of both versions. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type A2aTestClient, CLIENTS, type SeenEvent, type Sent } from "../support/a2a-clients.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let send: Send;

beforeAll(async () => {
  const from = (file: string, names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, `./test/support/${file}.ts:${name}`]));
  gateway = await startTestGateway({
    config: {
      graphs: {
        ...from("graphs", ["echo"]),
        ...from("run-graphs", ["talk", "duet"]),
        ...from("chat-graphs", ["mirror", "panel", "greeter", "faulty", "patient", "weather"]),
      },
    },
  });
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

const text = (words: string): Sent => ({ parts: [{ text: words }] });

async function all(events: AsyncGenerator<SeenEvent>): Promise<SeenEvent[]> {
  const seen: SeenEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

const outline = (events: readonly SeenEvent[]) =>
  events.map((event) => {
    if (event.kind === "task") return `task ${event.task.state}`;
    return event.kind === "status" ? event.state : `${event.append ? "+" : "="}${event.parts.join("")}`;
  });

describe.each(CLIENTS)("a client of version %s", (version, connect) => {
  const agent = (assistantId: string): Promise<A2aTestClient> => connect(`${gateway.url}/a2a/${assistantId}/`);
  /** An assistant whose runs wait at a gate of their own. */
  const gated = async (graphId: string, gate: string, more: object = {}): Promise<A2aTestClient> => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId,
      config: { configurable: { gate: `${gate} ${version}`, ...more } },
    });
    return agent(id);
  };
  const arrived = (gate: string) => arrivedAt(`${gate} ${version}`);
  const open = (gate: string) => openGate(`${gate} ${version}`);

  it("finds the agent by either address of its card", async () => {
    for (const client of [
      await agent("echo"),
      await connect(gateway.url, "/.well-known/agent-card.json?assistant_id=echo"),
    ]) {
      expect((await client.send(text("hi"))).answer).toEqual(["echo: hi"]);
    }
  });

  it("sends a message, and gets the task when it is done", async () => {
    const client = await agent("echo");
    const task = await client.send({ ...text("hi"), messageId: "mine" });
    expect(task).toMatchObject({ state: "completed", says: [], answer: ["echo: hi"] });
    expect(task.history).toEqual([
      { role: "user", messageId: "mine", text: "hi" },
      { role: "agent", messageId: expect.any(String), text: "echo: hi" },
    ]);
    const run = await gateway.client.runs.get(task.contextId, task.id);
    expect(run.status).toBe("success");
  });

  it("goes on with a context, and looks back", async () => {
    const client = await agent("echo");
    const first = await client.send(text("one"));
    const second = await client.send({ ...text("two"), contextId: first.contextId });
    expect(second.contextId).toBe(first.contextId);
    expect(second.id).not.toBe(first.id);
    const texts = async (id: string, length?: number) =>
      (await client.get(id, length)).history.map((each) => each.text);
    expect(await texts(second.id)).toEqual(["one", "echo: one", "two", "echo: two"]);
    expect(await texts(second.id, 1)).toEqual(["echo: two"]);
    expect(await texts(second.id, 0)).toEqual([]);
    expect((await client.get(first.id)).answer).toEqual(["echo: one"]);
    expect((await client.get(second.id)).answer).toEqual(["echo: two"]);
  });

  it("may name a context that is not there yet", async () => {
    const contextId = `context-${version}`;
    expect(await (await agent("echo")).send({ ...text("hi"), contextId })).toMatchObject({ contextId });
    expect(await gateway.client.threads.get(contextId)).toMatchObject({ status: "idle" });
  });

  it("sees the answer grow", async () => {
    const events = await all((await agent("talk")).stream(text("one two")));
    expect(outline(events)).toEqual(["task submitted", "working", "=one", "+ two", "completed"]);
    const ids = events.flatMap((event) => (event.kind === "task" ? [event.task.id] : []));
    expect((await (await agent("talk")).get(ids[0] ?? "")).answer).toEqual(["one two"]);
  });

  it("does not wait when it does not want to", async () => {
    const client = await gated("patient", "at-once");
    const task = await client.send({ ...text("hi"), returnsAtOnce: true });
    expect(["submitted", "working"]).toContain(task.state);
    await arrived("at-once");
    expect(await client.get(task.id)).toMatchObject({ state: "working", answer: [] });
    const following = client.subscribe(task.id);
    expect(await following.next()).toMatchObject({ value: { kind: "task", task: { id: task.id } } });
    open("at-once");
    expect(outline(await all(following))).toEqual(["working", "=At last", "completed"]);
    expect(await client.get(task.id)).toMatchObject({ state: "completed", answer: ["At last"] });
    await expect(all(client.subscribe(task.id))).rejects.toThrow(/settled/);
  });

  it("cancels a task, and only one that runs", async () => {
    const client = await gated("patient", "cancel");
    const streamed = client.stream(text("hi"));
    const first = await streamed.next();
    const id = first.value?.kind === "task" ? first.value.task.id : "";
    await arrived("cancel");
    expect(await client.cancel(id)).toMatchObject({ id, state: "canceled" });
    expect(outline(await all(streamed)).at(-1)).toBe("canceled");
    expect(await client.get(id)).toMatchObject({ state: "canceled" });
    await expect(client.cancel(id)).rejects.toThrow(/cannot be canceled|cancelable/i);
  });

  it("whose connection ends finds the task later", async () => {
    const client = await gated("patient", "left");
    const streamed = client.stream(text("hi"));
    const first = await streamed.next();
    const id = first.value?.kind === "task" ? first.value.task.id : "";
    await arrived("left");
    await streamed.return(undefined);
    open("left");
    await expect.poll(async () => (await client.get(id)).state).toBe("completed");
  });

  it("answers a question in words, in the same task", async () => {
    const client = await agent("greeter");
    const asked = await client.send(text("hi"));
    const [words, data] = asked.says as [string, { interrupts: { id: string; value: unknown }[] }];
    expect(asked.state).toBe("input-required");
    expect(words).toBe('{"question":"Your name?"}');
    expect(data.interrupts).toEqual([{ id: expect.any(String), value: { question: "Your name?" } }]);
    expect(await client.get(asked.id)).toMatchObject({ state: "input-required", says: asked.says });
    const { id: taskId, contextId } = asked;
    const done = await client.send({ ...text("Ada"), taskId, contextId });
    expect(done).toMatchObject({ id: taskId, contextId, state: "completed", answer: ["Hello Ada!"] });
    expect(await client.get(taskId)).toMatchObject({ id: taskId, state: "completed", answer: ["Hello Ada!"] });
    await expect(client.send({ ...text("Bob"), taskId, contextId })).rejects.toThrow(
      /takes no more messages|not supported/,
    );
  });

  it("finds its tasks after a restart, and goes on with them", async () => {
    const graphs = { greeter: "./test/support/chat-graphs.ts:greeter" };
    let own = await startTestGateway({ storage: "sqlite", config: { graphs } });
    const asked = await (await connect(`${own.url}/a2a/greeter/`)).send(text("hi"));
    own = await own.restart();
    const client = await connect(`${own.url}/a2a/greeter/`);
    const { id: taskId, contextId } = asked;
    expect(await client.get(taskId)).toMatchObject({ state: "input-required", says: asked.says });
    await client.send({ ...text("Ada"), taskId, contextId });
    own = await own.restart();
    expect(await (await connect(`${own.url}/a2a/greeter/`)).get(taskId)).toMatchObject({
      state: "completed",
      answer: ["Hello Ada!"],
      history: [{ text: "hi" }, { text: "Hello Ada!" }],
    });
    await own.stop();
  });

  it("answers questions by their ids, one after the other, and sees it", async () => {
    const client = await agent("panel");
    const asked = await client.send(text("hi"));
    const { id: taskId, contextId } = asked;
    const { interrupts } = asked.says.at(-1) as { interrupts: { id: string; value: unknown }[] };
    expect(interrupts).toHaveLength(2);
    await expect(client.send({ ...text("both"), taskId, contextId })).rejects.toThrow(/2 answers/);
    const answer = ({ id, value }: { id: string; value: unknown }) => ({
      parts: [{ data: { resume: [{ id, value: value === "Your name?" ? "Ada" : 36 }] } }],
      taskId,
      contextId,
    });
    const [one, other] = interrupts.map(answer);
    expect(await client.send(one ?? text(""))).toMatchObject({ id: taskId, state: "input-required" });
    const events = await all(client.stream(other ?? text("")));
    expect(outline(events).at(-1)).toBe("completed");
    const said = events.flatMap((event) => (event.kind === "answer" ? event.parts : [])).join("");
    expect(JSON.parse(said)).toEqual(expect.arrayContaining([{ name: "Ada" }, { age: 36 }]));
  });

  it("sends files and data as parts of the message", async () => {
    const { answer } = await (await agent("mirror")).send({
      parts: [
        { text: "Look" },
        { data: { a: 1 } },
        { bytes: "QUJD", mimeType: "image/png", name: "a.png" },
        { bytes: "QUJD", mimeType: "application/pdf", name: "a.pdf" },
      ],
    });
    expect(JSON.parse(String(answer[0])).seen[0].content).toEqual([
      { type: "text", text: "Look" },
      { type: "text", text: '{"a":1}' },
      { type: "image_url", image_url: { url: "data:image/png;base64,QUJD" } },
      { type: "file", mimeType: "application/pdf", data: "QUJD", metadata: { filename: "a.pdf" } },
    ]);
  });

  it("sends data to a graph that takes no messages, and gets data", async () => {
    const client = await agent("weather");
    const task = await client.send({ parts: [{ data: { city: "Paris" } }] });
    expect(task).toMatchObject({ state: "completed", answer: [{ city: "Paris", report: "sunny in Paris" }] });
    expect(await client.get(task.id)).toMatchObject({ answer: task.answer });
    await expect(client.send(text("Paris"))).rejects.toThrow(/takes no messages|content types/);
  });

  it("hears of failures", async () => {
    const task = await (await agent("faulty")).send(text("hi"));
    expect(task).toMatchObject({ state: "failed", says: ["RangeError: out of range"], answer: ["Well"] });
    expect(outline(await all((await agent("faulty")).stream(text("hi")))).at(-1)).toBe("failed");
  });

  it("finds no task that is not the agent's", async () => {
    const { id } = await (await agent("echo")).send(text("hi"));
    for (const taskId of [id, "nowhere"]) {
      await expect((await agent("talk")).get(taskId)).rejects.toThrow(/not found/i);
      await expect((await agent("talk")).send({ ...text("hi"), taskId })).rejects.toThrow(/not found/i);
      await expect(all((await agent("talk")).subscribe(taskId))).rejects.toThrow(/not found/i);
    }
  });
});

describe("an agent card", () => {
  it("says where the agent is, in the words of both versions", async () => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "echo",
      name: "Parrot",
      description: "Says it again",
      metadata: { a2a: { input_modes: ["text/plain", "image/*"] } },
    });
    const url = `${gateway.url}/a2a/${id}`;
    const card = {
      name: "Parrot",
      description: "Says it again",
      version: "1",
      protocolVersion: "0.3.0",
      url,
      preferredTransport: "JSONRPC",
      supportedInterfaces: [
        { url, protocolBinding: "JSONRPC", protocolVersion: "1.0" },
        { url, protocolBinding: "JSONRPC", protocolVersion: "0.3" },
      ],
      capabilities: { streaming: true, pushNotifications: false },
      defaultInputModes: ["text/plain", "image/*"],
      skills: [{ id, name: "Parrot", tags: ["echo"] }],
    };
    for (const path of [`/a2a/${id}/.well-known/agent-card.json`, `/.well-known/agent-card.json?assistant_id=${id}`]) {
      expect(await send("GET", path)).toMatchObject({ status: 200, body: card });
      const behind = await send("GET", `/api${path}`, undefined, { "x-forwarded-proto": "https" });
      expect(behind.body).toMatchObject({ url: `${gateway.url.replace("http:", "https:")}/api/a2a/${id}` });
    }
    expect((await rpc("GetExtendedAgentCard", {}, id)).body).toMatchObject({ result: card });
    expect((await rpc("agent/getAuthenticatedExtendedCard", {}, id)).body).toMatchObject({ result: card });
    const [file] = [{ kind: "file", file: { bytes: "QUJD", mimeType: "audio/wav" } }];
    expect((await rpc("message/send", { message: message([file]) }, id)).body).toMatchObject({
      error: { code: -32005, message: expect.stringContaining("audio/wav") },
    });
  });

  it("has the address that the configuration says", async () => {
    const other = await startTestGateway({
      config: {
        graphs: { echo: "./test/support/graphs.ts:echo" },
        server: { public_url: "https://agents.example.com/api/" },
      },
    });
    const { body } = await sender(other.url)("GET", "/.well-known/agent-card.json?assistant_id=echo");
    expect(body).toMatchObject({ url: expect.stringMatching(/^https:\/\/agents\.example\.com\/api\/a2a\/[\w-]+$/) });
    await other.stop();
  });

  it("is one of an assistant", async () => {
    expect(await send("GET", "/.well-known/agent-card.json")).toMatchObject({ status: 422 });
    expect(await send("GET", "/a2a/nobody/.well-known/agent-card.json")).toMatchObject({ status: 404 });
  });
});

const message = (parts: readonly unknown[], more: object = {}) => ({ messageId: "m", role: "user", parts, ...more });
const HI = message([{ kind: "text", text: "hi" }]);

function rpc(method: string, params: object, assistant = "echo", headers: Record<string, string> = {}) {
  return send("POST", `/a2a/${assistant}`, { jsonrpc: "2.0", id: 1, method, params }, headers);
}

describe("on the wire", () => {
  it("answers in the words of the method's version", async () => {
    const old = (await rpc("message/send", { message: HI })).body as { result: { id: string; contextId: string } };
    expect(old).toMatchObject({
      jsonrpc: "2.0",
      id: 1,
      result: {
        kind: "task",
        status: { state: "completed", timestamp: expect.stringMatching(/^\d{4}-.*Z$/) },
        artifacts: [{ artifactId: "answer", name: "answer", parts: [{ kind: "text", text: "echo: hi" }] }],
        history: [{ kind: "message", role: "user", taskId: old.result.id, contextId: old.result.contextId }, {}],
      },
    });
    const modern = message([{ text: "hi" }], { role: "ROLE_USER" });
    expect((await rpc("SendMessage", { message: modern })).body).toMatchObject({
      result: {
        task: {
          status: { state: "TASK_STATE_COMPLETED" },
          artifacts: [{ parts: [{ text: "echo: hi" }] }],
          history: [{ role: "ROLE_USER", parts: [{ text: "hi" }] }, { role: "ROLE_AGENT" }],
        },
      },
    });
  });

  it("streams frames that say when it is over", async () => {
    const response = await fetch(`${gateway.url}/a2a/talk`, {
      method: "POST",
      headers: { accept: "text/event-stream" },
      body: JSON.stringify({ jsonrpc: "2.0", id: "s", method: "message/stream", params: { message: HI } }),
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const frames = (await response.text()).trimEnd().split("\n\n");
    const told = frames.map((frame) => JSON.parse(frame.replace(/^data: /, "")));
    for (const each of told) expect(each).toMatchObject({ jsonrpc: "2.0", id: "s" });
    expect(told.map(({ result }) => [result.kind, result.final])).toEqual([
      ["task", undefined],
      ["status-update", false],
      ["artifact-update", undefined],
      ["status-update", true],
    ]);
  });

  it("begins a task once for a request that is repeated with its key", async () => {
    const key = { "idempotency-key": "a2a-once" };
    const first = (await rpc("message/send", { message: HI }, "echo", key)).body as { result: { id: string } };
    expect((await rpc("message/send", { message: HI }, "echo", key)).body).toMatchObject({
      result: { id: first.result.id },
    });
  });

  it("shows the history of a task alone when it is asked to", async () => {
    const first = (await rpc("message/send", { message: HI })).body as { result: { id: string; contextId: string } };
    const { contextId, id } = first.result;
    await rpc("message/send", { message: { ...HI, contextId, messageId: "n" } });
    const count = async (params: object, headers = {}) => {
      const { body } = await rpc("tasks/get", { id, ...params }, "echo", headers);
      return (body as { result: { history: unknown[] } }).result.history.length;
    };
    expect(await count({})).toBe(4);
    expect(await count({ historyScope: "task" })).toBe(2);
    expect(await count({}, { "LangGraph-A2A-History-Scope": "task" })).toBe(2);
    expect((await rpc("tasks/get", { id, historyScope: "all" })).body).toMatchObject({ error: { code: -32602 } });
  });

  it("lists the tasks of a context", async () => {
    const ids: string[] = [];
    let contextId: string | undefined;
    for (const words of ["one", "two", "three"]) {
      const { body } = await rpc("message/send", { message: message([{ kind: "text", text: words }], { contextId }) });
      const { result } = body as { result: { id: string; contextId: string } };
      ids.unshift(result.id);
      contextId = result.contextId;
    }
    const first = (await rpc("ListTasks", { contextId, pageSize: 2, includeArtifacts: true })).body;
    expect(first).toMatchObject({
      result: {
        tasks: [
          { id: ids[0], artifacts: [{ parts: [{ text: "echo: three" }] }] },
          { id: ids[1], artifacts: [{ parts: [{ text: "echo: two" }] }] },
        ],
        nextPageToken: ids[1],
        pageSize: 2,
        totalSize: 3,
      },
    });
    expect((await rpc("ListTasks", { contextId, pageToken: ids[1] })).body).toMatchObject({
      result: { tasks: [{ id: ids[2] }], nextPageToken: "" },
    });
    expect((await rpc("ListTasks", { contextId, status: "TASK_STATE_FAILED" })).body).toMatchObject({
      result: { tasks: [], totalSize: 0 },
    });
    expect((await rpc("ListTasks", { contextId, status: "TASK_STATE_COMPLETED", pageSize: 1 })).body).toMatchObject({
      result: { tasks: [{ id: ids[0] }], nextPageToken: ids[0], totalSize: 3 },
    });
    expect((await rpc("ListTasks", { contextId, statusTimestampAfter: "soon" })).body).toMatchObject({
      error: { code: -32602 },
    });
    expect((await rpc("ListTasks", {})).body).toMatchObject({ error: { code: -32004 } });
  });

  it.each<[string, string, object, number]>([
    ["a method that is none", "message/whisper", {}, -32601],
    ["no message", "message/send", {}, -32602],
    ["a message of nobody", "message/send", { message: { ...HI, messageId: "" } }, -32602],
    ["a message of the agent", "message/send", { message: { ...HI, role: "agent" } }, -32602],
    ["no parts", "message/send", { message: message([]) }, -32602],
    ["a part that is none", "SendMessage", { message: message([{ kind: "text" }]) }, -32602],
    ["a context that can be none", "message/send", { message: { ...HI, contextId: "a/b" } }, -32602],
    ["half an answer", "message/send", { message: message([{ data: { resume: [{ id: "x" }] } }]) }, -32602],
    [
      "an answer to no task",
      "message/send",
      { message: message([{ data: { resume: [{ id: "x", value: 1 }] } }]) },
      -32602,
    ],
    ["a command as data", "message/send", { message: message([{ data: { lg_name: "Command" } }]) }, 0],
    ["push notifications", "message/send", { message: HI, configuration: { pushNotificationConfig: {} } }, -32003],
    [
      "an answer in sound",
      "message/send",
      { message: HI, configuration: { acceptedOutputModes: ["audio/wav"] } },
      -32005,
    ],
    ["push notifications alone", "tasks/pushNotificationConfig/set", {}, -32003],
    ["a task that is not there", "tasks/get", { id: "nowhere" }, -32001],
    ["no task", "GetTask", {}, -32602],
    ["a history of less than nothing", "GetTask", { id: "nowhere", historyLength: -1 }, -32602],
  ])("refuses %s", async (_what, method, params, code) => {
    const { status, body } = await rpc(method, params);
    expect(status).toBe(200);
    if (code === 0)
      expect(body).toMatchObject({ result: { status: { state: "completed" } } }); // it is only words
    else expect(body).toMatchObject({ jsonrpc: "2.0", id: 1, error: { code } });
  });

  it("refuses a command as the input of a graph without messages", async () => {
    const data = { lg_name: "Command", update: { report: "forged" } };
    expect((await rpc("message/send", { message: message([{ data }]) }, "weather")).body).toMatchObject({
      error: { code: -32602, message: expect.stringContaining("Command") },
    });
  });

  it("refuses what it does not understand with 400", async () => {
    for (const body of ["{", {}, [], { jsonrpc: "2.0", id: 1 }, '"text"']) {
      const code = body === "{" ? -32700 : -32600;
      expect(await send("POST", "/a2a/echo", body)).toMatchObject({ status: 400, body: { error: { code } } });
    }
    expect(await rpc("message/send", {}, "echo", { "a2a-version": "2.0" })).toMatchObject({
      status: 400,
      body: { id: 1, error: { code: -32009 } },
    });
    expect(await rpc("message/stream", { message: HI }, "echo", { accept: "application/json" })).toMatchObject({
      status: 400,
      body: { id: 1, error: { code: -32600 } },
    });
    expect(await rpc("message/send", { message: HI }, "nobody")).toMatchObject({
      status: 404,
      body: { jsonrpc: "2.0", id: null },
    });
    expect(await send("POST", "/a2a/echo", { jsonrpc: "2.0", method: "message/send" })).toMatchObject({ status: 202 });
  });
});
