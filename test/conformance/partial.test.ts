/** What becomes of an answer that was stopped (`runs.keep_partial_on_cancel`, clients.md). */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { names, openSse } from "../support/sse-client.js";

interface WireMessage {
  readonly id: string;
  readonly type: string;
  readonly content: string;
  readonly tool_calls?: unknown[];
  readonly response_metadata: Record<string, unknown>;
}

const human = (content: string) => ({ messages: [{ type: "human", content }] });

/** Runs `graph` until it holds its words back, and stops it then. */
async function stopTalk(
  gateway: TestGateway,
  options: {
    readonly graph?: string;
    readonly configurable?: Record<string, unknown>;
    readonly action?: "interrupt" | "rollback";
  } = {},
) {
  const { graph = "talk", configurable = {}, action = "interrupt" } = options;
  const { client } = gateway;
  const { thread_id: threadId } = await client.threads.create();
  const gate = randomUUID();
  const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, {
    json: {
      assistant_id: graph,
      input: human("one two three four"),
      config: { configurable: { gate, hold_at: 2, ...configurable } },
      stream_mode: ["messages-tuple", "values"],
      stream_subgraphs: true,
    },
  });
  const runId = stream.headers.get("content-location")?.split("/").at(-1) ?? "";
  await arrivedAt(gate);
  await client.runs.cancel(threadId, runId, true, action);
  const parts = await stream.rest();
  openGate(gate);
  const state = await client.threads.getState<{ messages: WireMessage[] }>(threadId);
  return { threadId, runId, parts, state, messages: state.values.messages ?? [] };
}

describe("by default", () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway();
  });
  afterAll(() => gateway.stop());

  it("it is dropped, as the Platform does", async () => {
    const { messages, state, threadId } = await stopTalk(gateway);
    expect(messages.map(({ type }) => type)).toEqual(["human"]);
    expect(state.next).toEqual(["llm"]);
    expect((await gateway.client.threads.get(threadId)).status).toBe("interrupted");
  });
});

describe("with keep_partial_on_cancel", () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ config: { runs: { keep_partial_on_cancel: true } } });
  });
  afterAll(() => gateway.stop());

  it("it becomes the node's answer, under the id that was streamed", async () => {
    const { messages, state, parts, threadId, runId } = await stopTalk(gateway);
    const streamed = parts
      .filter(({ event }) => event.startsWith("messages|llm:"))
      .map(({ data }) => (data as WireMessage[])[0]);
    expect(streamed.map((message) => message?.content)).toEqual(["one", " two"]);
    expect(messages).toHaveLength(2);
    expect(messages[1]).toMatchObject({
      type: "ai",
      content: "one two",
      id: streamed[0]?.id,
      response_metadata: { finish_reason: "cancelled" },
    });
    expect(state.next).toEqual(["after"]);
    expect(names(parts).at(-1)).toBe("end");
    const thread = await gateway.client.threads.get(threadId);
    expect(thread).toMatchObject({ status: "interrupted", values: state.values, interrupts: {}, error: null });
    expect(await gateway.client.runs.join(threadId, runId)).toEqual(state.values);
    expect((await gateway.client.runs.get(threadId, runId)).status).toBe("interrupted");
  });

  it("the next message follows it", async () => {
    const { threadId } = await stopTalk(gateway);
    const values = await gateway.client.runs.wait(threadId, "talk", { input: human("go on") });
    expect((values as { messages: WireMessage[] }).messages.map(({ type, content }) => [type, content])).toEqual([
      ["human", "one two three four"],
      ["ai", "one two"],
      ["human", "go on"],
      ["ai", "go on"],
    ]);
  });

  it("the thread can go on from it", async () => {
    const { threadId } = await stopTalk(gateway);
    const values = await gateway.client.runs.wait(threadId, "talk", { input: null });
    expect((values as { messages: WireMessage[] }).messages.map(({ content }) => content)).toEqual([
      "one two three four",
      "one two",
    ]);
    expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
  });

  it("its unfinished tool calls go", async () => {
    const { messages } = await stopTalk(gateway, { configurable: { calls_tool: true } });
    expect(messages[1]).toMatchObject({ content: "one two", tool_calls: [] });
    expect(JSON.stringify(messages)).not.toContain("search");
  });

  it("two that were streamed at once are both dropped", async () => {
    const { messages, state } = await stopTalk(gateway, { graph: "duet" });
    expect(messages.map(({ type }) => type)).toEqual(["human"]);
    expect([...state.next].sort()).toEqual(["alto", "bass"]);
  });

  it("one inside a subgraph is dropped", async () => {
    const { messages, state } = await stopTalk(gateway, { graph: "choir" });
    expect(messages.map(({ type }) => type)).toEqual(["human"]);
    expect(state.next).toEqual(["sub"]);
  });

  it("one without a word is dropped", async () => {
    const { messages } = await stopTalk(gateway, { configurable: { hold_at: 0 } });
    expect(messages.map(({ type }) => type)).toEqual(["human"]);
  });

  it("a rollback keeps nothing", async () => {
    const { state, threadId } = await stopTalk(gateway, { action: "rollback" });
    expect(state.values).toEqual({});
    expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
  });

  it("an answer that was whole already stays as it is", async () => {
    const { client } = gateway;
    const { thread_id: threadId } = await client.threads.create();
    const values = await client.runs.wait(threadId, "talk", { input: human("done"), config: { configurable: {} } });
    expect((values as { messages: WireMessage[] }).messages[1]?.response_metadata).toEqual({});
  });
});
