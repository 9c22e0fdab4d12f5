/** Graphs that do not answer when they are not run: nobody waits for them for ever, and what they do later is lost. */
import { randomUUID } from "node:crypto";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { server: { answer_timeout_seconds: 0.5 } } });
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

async function threadAfter(assistantId: string): Promise<string> {
  const { thread_id: threadId } = await client.threads.create();
  await client.runs.wait(threadId, assistantId, { input: { input: "" } });
  return threadId;
}

const LATE = {
  status: 422,
  body: expect.objectContaining({ detail: expect.stringMatching(/did not answer within 0\.5 s/) }),
};

describe("a graph that does not come to the end of a state update", () => {
  async function updateLate(threadId: string) {
    const gate = randomUUID();
    const answer = await send("POST", `/threads/${threadId}/state`, { values: { input: gate }, as_node: "work" });
    await arrivedAt(gate);
    return { gate, answer };
  }

  it("is given up, and the thread goes on", async () => {
    const threadId = await threadAfter("undecided");
    const { answer } = await updateLate(threadId);
    expect(answer).toMatchObject(LATE);
    const next = { input: { input: "" } };
    expect(await client.runs.wait(threadId, "undecided", next)).toMatchObject({ steps: ["worked", "worked"] });
    await client.threads.updateState(threadId, { values: { steps: ["mine"] }, asNode: "work" });
    expect((await client.threads.get(threadId)).values).toMatchObject({ steps: ["worked", "worked", "mine"] });
  });

  it("writes nothing when it does at last", async () => {
    const threadId = await threadAfter("undecided");
    const before = await client.threads.getHistory(threadId);
    const { gate } = await updateLate(threadId);
    openGate(gate);
    // On the same thread as the late one, which has all it needs to go on.
    for (let turn = 0; turn < 5; turn++) expect(await client.threads.getHistory(threadId)).toEqual(before);
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("leaves nothing of the thread that was to be made with it", async () => {
    const threadId = randomUUID();
    const updates = [{ values: { input: randomUUID() }, as_node: "work" }];
    const created = await send("POST", "/threads", {
      thread_id: threadId,
      metadata: { graph_id: "undecided" },
      supersteps: [{ updates }],
    });
    expect(created).toMatchObject(LATE);
    expect((await send("GET", `/threads/${threadId}`)).status).toBe(404);
  });
});

describe("a factory that never returns", () => {
  let assistantId: string;
  let threadId: string;

  beforeAll(async () => {
    const config = { configurable: { gate: randomUUID() } };
    assistantId = (await client.assistants.create({ graphId: "reluctantFactory", config })).assistant_id;
    threadId = await threadAfter(assistantId);
  });

  it.each([
    ["the state", "GET", "/threads/T/state", undefined],
    ["the state of subgraphs", "GET", "/threads/T/state?subgraphs=true", undefined],
    ["the history", "POST", "/threads/T/history", {}],
    ["an update", "POST", "/threads/T/state", { values: { steps: ["mine"] }, as_node: "work" }],
    ["a copy", "POST", "/threads/T/copy", {}],
    ["schemas", "GET", "/assistants/A/schemas", undefined],
    ["a drawing", "GET", "/assistants/A/graph", undefined],
    ["subgraphs", "GET", "/assistants/A/subgraphs", undefined],
  ] as const)("is given up when asked for %s", async (_what, method, path, body) => {
    const asked = path.replace("T", threadId).replace("A", assistantId);
    expect(await send(method, asked, body)).toMatchObject(LATE);
  });

  it("keeps no run of its threads waiting", async () => {
    const run = await client.runs.wait(threadId, assistantId, { input: { input: "" } });
    expect(run).toMatchObject({ steps: ["worked", "worked"] });
  });
});
