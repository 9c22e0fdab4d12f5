/** A clock that is set back changes nothing that clients can rely on (I6). */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";

const realNow = Date.now;
const TWO_HOURS_MS = 7_200_000;

let gateway: TestGateway;

beforeEach(async () => {
  const runs = { concurrency: 1, shutdown_grace_seconds: 0 };
  gateway = await startTestGateway({ storage: "sqlite", config: { runs } });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await gateway.stop();
});

async function newThread(): Promise<string> {
  return (await gateway.client.threads.create()).thread_id;
}

function setClockBack(): void {
  vi.spyOn(Date, "now").mockImplementation(() => realNow() - TWO_HOURS_MS);
}

/** Occupies the only slot until its gate opens. */
async function occupy(): Promise<string> {
  const gate = randomUUID();
  const options = { input: { input: 1 }, config: { configurable: { gate } } };
  await gateway.client.runs.create(await newThread(), "gated", options);
  await arrivedAt(gate);
  return gate;
}

describe("after the clock was set back", () => {
  it("every turn builds upon the one before it", async () => {
    const threadId = await newThread();
    const counts: unknown[] = [];
    const count = async () => {
      counts.push(((await gateway.client.runs.wait(threadId, "counter", { input: {} })) as { count: number }).count);
    };
    await count();
    setClockBack();
    await count();
    await count();
    expect(counts).toEqual([1, 2, 3]);
    expect((await gateway.client.threads.getState(threadId)).values).toMatchObject({ count: 3 });
    expect((await gateway.client.threads.get(threadId)).values).toMatchObject({ count: 3 });
    const history = await gateway.client.threads.getHistory(threadId);
    expect(history.map(({ values }) => (values as { count?: number }).count ?? 0)).toEqual([3, 2, 2, 2, 1, 1, 1, 0, 0]);
  });

  it("an edit of the state is what the next run sees", async () => {
    const threadId = await newThread();
    await gateway.client.runs.wait(threadId, "counter", { input: {} });
    setClockBack();
    await gateway.client.threads.updateState(threadId, { values: { count: 10 } });
    expect(await gateway.client.runs.wait(threadId, "counter", { input: {} })).toMatchObject({ count: 12 });
  });

  it("what waits for a slot starts when there is one, in order", async () => {
    const gate = await occupy();
    const threadId = await newThread();
    const first = await gateway.client.runs.create(threadId, "counter", { input: {} });
    setClockBack();
    const second = await gateway.client.runs.create(threadId, "counter", { input: {} });
    openGate(gate);
    expect(await gateway.client.runs.join(threadId, second.run_id)).toMatchObject({ count: 2 });
    expect(await gateway.client.runs.join(threadId, first.run_id)).toMatchObject({ count: 1 });
  });

  it("what waited when the gateway stopped starts when it is back", async () => {
    const gate = await occupy();
    const threadId = await newThread();
    const run = await gateway.client.runs.create(threadId, "counter", { input: {} });
    setClockBack();
    openGate(gate);
    gateway = await gateway.restart();
    expect(await gateway.client.runs.join(threadId, run.run_id)).toMatchObject({ count: 1 });
  });

  it("a delayed run waits for as long as was asked, before a restart and after it", async () => {
    const threadId = await newThread();
    const asked = { input: {}, afterSeconds: 1 };
    const run = await gateway.client.runs.create(threadId, "counter", asked);
    setClockBack();
    expect(await gateway.client.runs.join(threadId, run.run_id)).toMatchObject({ count: 1 });
    vi.restoreAllMocks();
    const next = await gateway.client.runs.create(threadId, "counter", asked);
    setClockBack();
    gateway = await gateway.restart();
    expect(await gateway.client.runs.join(threadId, next.run_id)).toMatchObject({ count: 2 });
  });
});
