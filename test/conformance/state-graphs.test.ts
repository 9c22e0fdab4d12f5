/** The state of threads whose graphs are built per use, keep their own checkpointer, or have subgraphs. */
import type { Checkpoint, Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NEEDS_ONE_MEMORY, ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  const graphs = {
    shaped: "./test/support/described-graphs.ts:shaped",
    nested: "./test/support/graphs.ts:nested",
    ownSaver: "./test/support/graphs.ts:ownSaver",
  };
  gateway = await startTestGateway({ config: { graphs } });
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway?.stop());

describe("a graph that its assistant's configuration shapes", () => {
  it("is read and written in that shape", async () => {
    const { assistant_id: assistantId } = await client.assistants.create({
      graphId: "shaped",
      config: { configurable: { node: "special" } },
    });
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, assistantId, { input: {}, interruptBefore: ["special"] });
    expect(await client.threads.getState(threadId)).toMatchObject({ next: ["special"], tasks: [{ name: "special" }] });
    await client.threads.updateState(threadId, { values: { steps: ["by hand"] }, asNode: "special" });
    expect(await client.threads.get(threadId)).toMatchObject({ status: "idle", values: { steps: ["by hand"] } });
    expect((await client.threads.getHistory(threadId))[1]).toMatchObject({ tasks: [{ name: "special" }] });
    await client.assistants.delete(assistantId);
    expect(await client.threads.getState(threadId)).toMatchObject({ values: { steps: ["by hand"] } });
  });
});

describe("a graph with a checkpointer of its own", () => {
  it.skipIf(ON_CLUSTER)("is read and written through it", NEEDS_ONE_MEMORY, async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "ownSaver", { input: {} });
    await client.threads.updateState(threadId, { values: { steps: ["two"] }, asNode: "one" });
    expect(await client.threads.getState(threadId)).toMatchObject({ values: { steps: ["one", "two"] } });
  });

  it("cannot be copied", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "ownSaver", { input: {} });
    const count = await client.threads.count();
    expect(await send("POST", `/threads/${threadId}/copy`)).toMatchObject({
      status: 422,
      body: { code: "unsupported", option: "copy" },
    });
    expect(await client.threads.count()).toBe(count);
  });
});

describe("a subgraph", () => {
  it("takes updates of its own state while it waits", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "nested", { input: { input: "ask" } });
    const { tasks } = await client.threads.getState(threadId);
    const sub = tasks[0]?.checkpoint as Checkpoint;
    const answer = await client.threads.updateState(threadId, {
      values: { steps: ["by hand"] },
      checkpoint: sub,
      asNode: "middle",
    });
    expect(answer).toMatchObject({ checkpoint: { thread_id: threadId, checkpoint_ns: sub.checkpoint_ns } });
    const inSub = await client.threads.getState<{ steps: string[] }>(threadId, { ...sub, checkpoint_id: null });
    expect(inSub.values.steps).toContain("by hand");
    expect(inSub.next).toEqual([]);
    const row = await client.threads.get(threadId);
    expect(row).toMatchObject({ status: "interrupted", values: { steps: ["outer"] } });
  });
});
