/** Graphs in worker threads: whatever one does to its thread, the gateway answers, and the others are not harmed. */
import type { Run } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { runProgram } from "../support/process.js";

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startThreads({ threads: 1, thread_memory_mb: 128 });
});

afterAll(() => gateway.stop());

/** A thread is given up after two seconds. */
function startThreads(host: Record<string, unknown>): Promise<TestGateway> {
  const file = "./test/support/thread-graphs.ts";
  return startTestGateway({
    storage: "sqlite",
    config: {
      graphs: {
        deeds: `${file}:deeds`,
        endlessFactory: `${file}:endlessFactory`,
        ownSaver: "./test/support/graphs.ts:ownSaver",
        isolation: "thread",
        stuck_after_seconds: 2,
        ...host,
      },
    },
  });
}

/** Starts a run that waits at the gate, and resolves when it is there. */
async function startAt(gate: string, deed: string): Promise<Run> {
  const { thread_id: threadId } = await gateway.client.threads.create();
  const run = await gateway.client.runs.create(threadId, "deeds", { input: { gate, deed } });
  await arrivedAt(gate);
  return run;
}

async function endOf(run: Run) {
  const result = (await gateway.client.runs.join(run.thread_id, run.run_id)) as Record<string, unknown>;
  const { status } = await gateway.client.runs.get(run.thread_id, run.run_id);
  const thread = await gateway.client.threads.get(run.thread_id);
  return { result, status, thread };
}

/** What the run's stream says at the start of each of its executions. */
async function attemptsOf(run: Run): Promise<unknown[]> {
  const attempts: unknown[] = [];
  for await (const { event, data } of gateway.client.runs.joinStream(run.thread_id, run.run_id)) {
    if (event === "metadata") attempts.push((data as { attempt: unknown }).attempt);
  }
  return attempts;
}

const FATAL = {
  "loop for ever": { error: "EventLoopBlocked", message: expect.stringMatching(/busy for \d+ s without a pause/) },
  "match for ever": { error: "EventLoopBlocked", message: expect.any(String) },
  exit: { error: "ProcessExit", message: expect.stringContaining("process.exit") },
  "throw late": { error: "RangeError", message: "nobody awaits me" },
  "throw in a timer": { error: "RangeError", message: "nobody catches me" },
};

describe.each(Object.entries(FATAL))("a run that would %s", (deed, error) => {
  it("ends as error, the run beside it succeeds without having spent an attempt, and so does the next", async () => {
    const bad = await startAt(`${deed} bad`, deed);
    const good = await startAt(`${deed} good`, "nothing");
    openGate(`${deed} bad`);

    const ended = await endOf(bad);
    openGate(`${deed} good`);
    expect(ended.status).toBe("error");
    expect(ended.result).toEqual({ __error__: error });
    expect(ended.thread.values).toMatchObject({ log: ["first"] });

    const other = await endOf(good);
    expect(other).toMatchObject({ status: "success", result: { log: ["first", "second"] } });
    expect(new Set(await attemptsOf(good))).toEqual(new Set([1]));

    const next = await gateway.client.runs.wait(null, "deeds", { input: { deed: "nothing" } });
    expect(next).toMatchObject({ log: ["first", "second"] });
  });
});

it("a run that fills the memory of its thread ends as error, alone, and the one beside it succeeds", async () => {
  const good = await startAt("memory good", "nothing");
  const bad = await startAt("memory bad", "fill the memory");
  openGate("memory bad");
  const ended = await endOf(bad);
  expect(ended.result).toEqual({ __error__: { error: "OutOfMemoryError", message: expect.any(String) } });
  openGate("memory good");
  expect(await endOf(good)).toMatchObject({ status: "success", result: { log: ["first", "second"] } });
});

it("a run that was cancelled and does not react ends as interrupted", async () => {
  const run = await startAt("deaf", "loop for ever");
  openGate("deaf");
  await gateway.client.runs.cancel(run.thread_id, run.run_id, true);
  expect((await endOf(run)).status).toBe("interrupted");
});

it("the server answers while a graph keeps its thread busy", async () => {
  const run = await startAt("busy", "loop for ever");
  openGate("busy");
  const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${gateway.url}/ok`)));
  expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
  expect((await endOf(run)).status).toBe("error");
});

it("a description that never comes is refused, and the run beside it is not harmed", async () => {
  const good = await startAt("described", "nothing");
  const { assistant_id: assistantId } = await gateway.client.assistants.create({
    graphId: "endlessFactory",
    config: { configurable: { endless: true } },
  });
  const schemas = gateway.client.assistants.getSchemas(assistantId);
  await expect(schemas).rejects.toThrow(/422.*the graph could not answer: .*busy/);
  openGate("described");
  expect((await endOf(good)).status).toBe("success");
});

it("a flood of events arrives whole and in order", async () => {
  const { thread_id: threadId } = await gateway.client.threads.create();
  const seen: string[] = [];
  const stream = gateway.client.runs.stream(threadId, "deeds", { input: { deed: "flood" }, streamMode: ["custom"] });
  for await (const { event, data } of stream) if (event === "custom") seen.push(String(data).split(" ")[0] ?? "");
  expect(seen).toEqual(Array.from({ length: 5_000 }, (_, index) => String(index)));
});

it("nodes reach the long-term memory", async () => {
  const result = await gateway.client.runs.wait(null, "deeds", { input: { deed: "remember" } });
  expect(result).toMatchObject({ log: ["first", '{"value":1}'] });
  expect(await gateway.client.store.getItem(["thread"], "key")).toMatchObject({ value: { value: 1 } });
});

it("what a thread may not do is the error of the run that tried", async () => {
  const run = gateway.client.runs.wait(null, "deeds", { input: { deed: "change directory" } });
  await expect(run).rejects.toThrow("process.chdir()");
});

it("a graph with a checkpointer of its own finds its state again, however many threads there are", async () => {
  const other = await startThreads({ threads: 3 });
  try {
    const { thread_id: threadId } = await other.client.threads.create();
    for (let turn = 1; turn <= 4; turn++) {
      await other.client.runs.wait(threadId, "ownSaver", { input: {} });
      const state = await other.client.threads.getState<{ steps: unknown[] }>(threadId);
      expect(state.values.steps).toHaveLength(turn);
    }
  } finally {
    await other.stop();
  }
});

it("whoever ends a thread hears of its end, even when the thread became ready at that moment", async () => {
  const { stdout, code } = await runProgram(process.execPath, ["--input-type=module", "--eval", END_WHEN_READY]);
  expect({ stdout, code }).toEqual({ stdout: ["it ended"], code: 0 });
});

/** Nothing but the thread keeps this program alive, and that it is ready waits to be heard when it is ended. */
const END_WHEN_READY = `
  import { GraphThread } from ${JSON.stringify(new URL("../../dist/graphs/graph-thread.js", import.meta.url).href)};
  const code = ${JSON.stringify(`
    import { parentPort, workerData } from "node:worker_threads";
    Atomics.store(workerData, 0, 1);
    Atomics.wait(workerData, 0, 1);
    parentPort.postMessage({ type: "ready", graphs: [] });
    Atomics.store(workerData, 0, 3);
    Atomics.notify(workerData, 0);
    parentPort.on("message", () => {});
  `)};
  const step = new Int32Array(new SharedArrayBuffer(4));
  const thread = new GraphThread({
    entry: new URL("data:text/javascript," + encodeURIComponent(code)),
    worker: { workerData: step },
    serve() {},
    log: console,
  });
  while (Atomics.load(step, 0) === 0) await new Promise(setImmediate); // its start needs this thread
  Atomics.store(step, 0, 2);
  Atomics.notify(step, 0);
  Atomics.wait(step, 0, 2);
  await thread.terminate({ culprit: null, error: { error: "Closed", message: "it is over" } });
  console.log("it ended");
`;
