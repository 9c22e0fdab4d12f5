/** The SDK's queue on the server (`queue: "server"`), as the hooks that have the option use it, over both transports. */
import { randomUUID } from "node:crypto";
import { StreamController } from "@langchain/langgraph-sdk/stream";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { TRANSPORTS, type Transport } from "../support/protocol-client.js";

type Steps = { input?: unknown; steps?: string[] };

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.stop());

describe.each(TRANSPORTS)("over %s", (transport: Transport) => {
  /** What `useStream` is made of, as one tab has it. */
  function openTab(threadId: string): StreamController<Steps> {
    const tab = new StreamController<Steps>({
      assistantId: "gated",
      client: gateway.client as never, // of states of any shape
      threadId,
      transport,
      queue: "server",
      webSocketFactory: (url) => new WebSocket(url) as unknown as globalThis.WebSocket,
    });
    onTestFinished(() => tab.dispose());
    return tab;
  }

  const withGate = (gate: string) => ({ config: { configurable: { gate } } });
  const queuedIn = (tab: StreamController<Steps>) => tab.queueStore.getSnapshot().map(({ values }) => values);

  it("lists what waits, in every tab, and runs it in turn", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const [first, second] = [randomUUID(), randomUUID()];
    const tab = openTab(threadId);
    await tab.hydrationPromise;
    const running = tab.submit({ input: 1 }, withGate(first));
    await arrivedAt(first);
    await tab.submit({ input: 2 }, { ...withGate(second), multitaskStrategy: "enqueue" });
    await tab.submit({ input: 3 }, { ...withGate(second), multitaskStrategy: "enqueue" });
    expect(queuedIn(tab)).toEqual([{ input: 2 }, { input: 3 }]);
    const pending = await gateway.client.runs.list(threadId, { status: "pending" });
    expect(pending.map(({ run_id: id }) => id).sort()).toEqual(
      tab.queueStore
        .getSnapshot()
        .map(({ runId }) => runId)
        .sort(),
    );

    const other = openTab(threadId);
    await expect.poll(() => queuedIn(other)).toHaveLength(2);
    const [, last] = tab.queueStore.getSnapshot();
    expect(await tab.cancelQueued(last?.id ?? "")).toBe(true);

    openGate(first);
    await running;
    await arrivedAt(second);
    await expect.poll(() => [...queuedIn(tab), ...queuedIn(other)]).toEqual([]);
    openGate(second);
    const done = { input: 2, steps: ["before", "gate", "after", "before", "gate", "after"] };
    for (const each of [tab, other]) {
      await expect.poll(() => each.rootStore.getSnapshot()).toMatchObject({ values: done, isLoading: false });
    }
    expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
  });
});
